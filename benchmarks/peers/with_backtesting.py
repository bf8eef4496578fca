"""SMA 10/30 with backtesting.py, as a separate process: start, load, run, print.

    python with_backtesting.py FOLDER SIZE

FOLDER holds the columns as .npy files; SIZE is `all_in` or `one_coin`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

FAST, SLOW, CASH, FEE = 10, 30, 1e12, 0.001
NAMES = ("Open", "High", "Low", "Close", "Volume")


def compute_average(values: np.ndarray, window: int) -> pd.Series:
    """Return the simple moving average."""
    return pd.Series(values).rolling(window).mean()


class Cross(Strategy):
    """Buys on a cross up, sells on a cross down; orders are filled at the next open."""

    size = None

    def init(self) -> None:
        """Compute both averages."""
        self.fast = self.I(compute_average, self.data.Close, FAST)
        self.slow = self.I(compute_average, self.data.Close, SLOW)

    def next(self) -> None:
        """Trade on one bar."""
        if crossover(self.fast, self.slow):
            if not self.position:
                if self.size is None:
                    self.buy()
                else:
                    self.buy(size=self.size)
        elif crossover(self.slow, self.fast):
            self.position.close()


def main() -> None:
    """Run and print final equity and closed trades."""
    folder, size = Path(sys.argv[1]), sys.argv[2]
    columns = {name: np.load(folder / f"{name.lower()}.npy") for name in NAMES}
    times = pd.to_datetime(np.load(folder / "timestamp.npy"), unit="s")
    frame = pd.DataFrame(columns, index=times)
    backtest = Backtest(frame, Cross, cash=CASH, commission=FEE, finalize_trades=False)
    result = backtest.run(size=None if size == "all_in" else 1)
    print(json.dumps({"equity": result["Equity Final [$]"], "trades": int(result["# Trades"])}))  # noqa: T201 - read by the parent


if __name__ == "__main__":
    main()
