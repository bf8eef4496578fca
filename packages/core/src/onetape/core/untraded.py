"""Decide which candles hold no trade: exchanges fill such candles with the last price."""

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candle, Candles


def is_untraded(candle: Candle) -> bool:
    """Return whether a candle of an exchange that reports volume holds no trade.

    Such a candle has volume 0 and a single price. A candle with volume 0 whose price moved was
    traded: its source does not report volume.
    """
    return candle.volume == 0 and candle.high == candle.low


def find_untraded_rows(candles: Candles, *, has_volume: bool | None = None) -> NDArray[np.bool_]:
    """Return a mask of the candles without a trade, shape (n,).

    The rule is `is_untraded`, with one exception: if no candle has any volume, the source does not
    report volume, and every candle counts as traded.

    Args:
        candles: Candles of one series, oldest first, shape (n,).
        has_volume: Whether the source reports volume; None: whether one of these candles has any.
            Pass a value if these candles are a small part of their series.
    """
    has_no_volume = candles.volume == 0
    if has_volume is None:
        has_volume = not has_no_volume.all()
    if not has_volume or not has_no_volume.any():
        return np.zeros(len(candles), dtype=np.bool_)
    return has_no_volume & (candles.high == candles.low)
