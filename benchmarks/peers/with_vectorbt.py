"""SMA crosses with vectorbt, as a separate process: start, load, run, print.

python with_vectorbt.py FOLDER SIZE      one run; SIZE is `all_in` or `one_coin`
python with_vectorbt.py FOLDER grid      100 pairs in one broadcast, cold and then warm
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

FAST, SLOW, CASH, FEE = 10, 30, 1e12, 0.001
GRID_FAST, GRID_SLOW = range(5, 51, 5), range(60, 241, 20)


def make_portfolio(close: pd.Series, fill: np.ndarray, fast: Any, slow: Any, size: float) -> Any:
    """Return the portfolio of a cross, filled at the next open."""
    first = vbt.MA.run(close, fast)
    second = vbt.MA.run(close, slow)
    up, down = first.ma_crossed_above(second), first.ma_crossed_below(second)
    return vbt.Portfolio.from_signals(
        close, up.vbt.fshift(1), down.vbt.fshift(1),
        price=fill, size=size, fees=FEE, init_cash=CASH, freq="1min",
    )  # fmt: skip


def main() -> None:
    """Run and print final equity and closed trades, or the seconds of the grid."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    times = pd.to_datetime(np.load(folder / "timestamp.npy"), unit="s")
    close = pd.Series(np.load(folder / "close.npy"), index=times)
    fill = np.load(folder / "open.npy")
    if kind != "grid":
        size = np.inf if kind == "all_in" else 1.0
        run = make_portfolio(close, fill, FAST, SLOW, size)
        trades = int(run.trades.closed.count())
        print(json.dumps({"equity": float(run.final_value()), "trades": trades}))  # noqa: T201 - read by the parent
        return
    pairs = [(fast, slow) for fast in GRID_FAST for slow in GRID_SLOW]
    fast, slow = ([pair[at] for pair in pairs] for at in (0, 1))
    returns_only, with_sharpe = [], []
    for _ in range(2):  # the first one compiles
        began = time.perf_counter()
        run = make_portfolio(close, fill[:, None], fast, slow, np.inf)
        returns = run.total_return().to_numpy()
        returns_only.append(time.perf_counter() - began)
        run.sharpe_ratio()
        with_sharpe.append(time.perf_counter() - began)
    best = pairs[int(np.argmax(returns))]
    document = {"returns": returns_only, "sharpe": with_sharpe}
    print(json.dumps({**document, "best": best, "best_return": float(returns.max())}))  # noqa: T201 - read by the parent


if __name__ == "__main__":
    main()
