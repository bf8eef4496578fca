"""SMA 10/30 of several symbols on one account with vectorbt, as a separate process.

    python portfolio_with_vectorbt.py FOLDER SYMBOLS SIZE RUNS

FOLDER holds the columns of symbol k as k/*.npy; SIZE is `all_in` or `one_coin`. The run is repeated
RUNS times; each time the seconds of the call count that trades and returns the result.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

FAST, SLOW, CASH, FEE = 10, 30, 1e12, 0.001


def main() -> None:
    """Run and print seconds, final equity and closed trades."""
    folder, symbols, size, runs = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    times = pd.to_datetime(np.load(folder / "0" / "timestamp.npy"), unit="s")
    close, fill = (
        pd.DataFrame(
            {number: np.load(folder / str(number) / f"{name}.npy") for number in range(symbols)},
            index=times,
        )
        for name in ("close", "open")
    )
    fast, slow = vbt.MA.run(close, FAST), vbt.MA.run(close, SLOW)
    up, down = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    up.columns = down.columns = close.columns
    up, down = up.vbt.fshift(1), down.vbt.fshift(1)
    seconds: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        run = vbt.Portfolio.from_signals(
            close, up, down, price=fill, size=np.inf if size == "all_in" else 1.0, fees=FEE,
            init_cash=CASH, freq="1min", group_by=True, cash_sharing=True,
        )  # fmt: skip
        equity, trades = float(run.final_value()), int(run.trades.closed.count())
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"equity": equity, "trades": trades, "seconds": seconds}))  # noqa: T201 - read by the parent


if __name__ == "__main__":
    main()
