"""The floor of benchmarks/backtest.py: start Python and NumPy, map the columns, one NumPy pass.

The pass is a backtest: signals, fills, fees, the equity at each close and its largest fall.

python floor.py FOLDER
"""

import json
import sys

import numpy as np

FAST, SLOW, FEE = 10, 30, 0.001


def compute_average(sums: np.ndarray, window: int, first: int) -> np.ndarray:
    """Return the means of the windows that end at `first` and later."""
    return (sums[first + 1 :] - sums[first + 1 - window : -window]) / window


def main() -> None:
    """Trade SMA 10/30 all in, and print the final equity."""
    columns = {name: np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r") for name in
               ("timestamp", "open", "high", "low", "close", "volume")}  # fmt: skip
    sums = np.concatenate(([0.0], np.cumsum(columns["close"])))
    above = compute_average(sums, FAST, SLOW - 1) > compute_average(sums, SLOW, SLOW - 1)
    crosses = np.flatnonzero(above[1:] != above[:-1]) + SLOW + 1
    crosses = crosses[crosses < len(columns["open"])]
    crosses = crosses[int(not above[crosses[0] - SLOW]) :] if len(crosses) else crosses
    fills = columns["open"][crosses[: len(crosses) // 2 * 2]]
    growth = fills[1::2] / fills[0::2] * (1 - FEE) / (1 + FEE)
    money = 1e12 * np.cumprod(np.concatenate(([1.0], growth)))
    equity = compute_held_equity(columns["close"], crosses[: len(fills)], fills[0::2], money)
    fall = float((equity / np.maximum.accumulate(equity)).min()) - 1
    print(json.dumps({"equity": float(money[-1]), "trades": len(growth), "max_drawdown": fall}))  # noqa: T201 - read by the parent


def compute_held_equity(
    close: np.ndarray, crosses: np.ndarray, bought: np.ndarray, money: np.ndarray
) -> np.ndarray:
    """Return cash or coins at each close; a buy and a sell in turn."""
    lengths = np.diff(np.concatenate(([0], crosses, [len(close)])))
    cash, coins = np.zeros(len(lengths)), np.zeros(len(lengths))
    cash[0::2], coins[1::2] = money, money[:-1] / (bought * (1 + FEE))
    return np.repeat(cash, lengths) + np.repeat(coins, lengths) * close


if __name__ == "__main__":
    main()
