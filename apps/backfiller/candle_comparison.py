"""Comparison of candles with stored ones, for the results of imports and of resampling."""

import numpy as np

from onetape.core.candles import Candles


def count_different_candles(candles: Candles, stored: Candles) -> int:
    """Return the number of candles whose values differ from the stored candle of the same time.

    Times that only one of both has do not count.
    """
    _, rows, stored_rows = np.intersect1d(candles.timestamp, stored.timestamp, return_indices=True)
    is_equal = np.ones(len(rows), dtype=np.bool_)
    for name in ("open", "high", "low", "close", "volume"):
        is_equal &= getattr(candles, name)[rows] == getattr(stored, name)[stored_rows]
    return int(np.count_nonzero(~is_equal))
