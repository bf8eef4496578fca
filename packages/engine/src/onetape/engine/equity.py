"""Equity of an account at each close."""

import numpy as np

from onetape.core.candles import Candles, FloatArray
from onetape.engine.fill_log import FillLog


def compute_equity_parts(
    candles: Candles, fill_log: FillLog, cash: float, base: float
) -> tuple[FloatArray, FloatArray]:
    """Return cash and value of the coins at each close, shape (n,).

    Args:
        candles: Traded candles.
        fill_log: Fills of the run.
        cash: Cash before the first candle, quote currency.
        base: Coins held before the first candle, base currency.
    """
    lengths = np.diff(np.concatenate(([0], fill_log.get_index_column(), [len(candles)])))
    # A running sum adds in the order of the account's bookings, so results equal to the last bit.
    columns = fill_log.get_fill_values()
    money = np.cumsum(np.concatenate(([cash], columns[:, 4])))
    coins = np.cumsum(np.concatenate(([base], columns[:, 5])))
    value = np.repeat(coins, lengths)
    value *= candles.close
    return np.repeat(money, lengths), value
