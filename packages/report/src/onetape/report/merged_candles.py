"""Merging of candles to longer ones for drawing, if a browser would draw too many slowly."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, FloatArray, IntArray

#: Number of candles above which the chart draws longer candles, each made of several.
MAX_DRAWN_CANDLES: Final = 50_000
#: Number of candles (hours of a year) that are drawn of each market, however many there are.
_YEAR_OF_HOURS: Final = 366 * 24
_TIMEFRAME_SECONDS: Final = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600, "2h": 7_200,
    "4h": 14_400, "6h": 21_600, "12h": 43_200, "1d": 86_400, "3d": 259_200, "10d": 864_000,
}  # fmt: skip


class Grouping(Struct, frozen=True):
    """Groups of candles that are drawn as one."""

    name: str
    """Length of a drawn candle, such as `5m`; empty where candles are not grouped."""
    starts: IntArray
    """Index of the first candle of each group, strictly increasing, shape (groups,)."""
    timestamp: IntArray
    """Open of each drawn candle, epoch seconds UTC, shape (groups,)."""

    def take_last(self, column: FloatArray) -> FloatArray:
        """Return each group's last value, shape (groups,)."""
        return column if not self.name else column[np.append(self.starts[1:], len(column)) - 1]

    def take_lowest(self, column: FloatArray) -> FloatArray:
        """Return each group's lowest value, shape (groups,)."""
        return column if not self.name else np.fmin.reduceat(column, self.starts)

    def find_bars(self, timestamp: IntArray) -> IntArray:
        """Return the index of the drawn candle that holds each moment (epoch seconds)."""
        bars = np.searchsorted(self.timestamp, timestamp, side="right") - 1
        return np.clip(bars, 0, max(len(self.timestamp) - 1, 0))


def compute_drawn_limit(markets: int) -> int:
    """Return the number of candles to draw of each market, which limits the size of a page."""
    return max(MAX_DRAWN_CANDLES // markets, _YEAR_OF_HOURS)


def group_by_timeframe(candles: Candles, limit: int = MAX_DRAWN_CANDLES) -> Grouping:
    """Return the groups of the shortest usual timeframe with at most `limit` candles."""
    return group_times(candles.timestamp, limit)


def group_times(timestamp: IntArray, limit: int) -> Grouping:
    """Return the groups of the shortest usual timeframe with at most `limit` of these times.

    Args:
        timestamp: Epoch seconds UTC, strictly increasing, shape (n,).
        limit: Largest number of groups.
    """
    count = len(timestamp)
    if count <= limit:
        return Grouping("", np.arange(count), timestamp)
    for name, seconds in _TIMEFRAME_SECONDS.items():
        buckets = timestamp // seconds
        starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
        if len(starts) <= limit:
            return Grouping(name, starts, buckets[starts] * seconds)
    name, size = "merged", -(-count // limit)
    starts = np.arange(0, count, size)
    return Grouping(name, starts, timestamp[starts])


def group_candles(candles: Candles, groups: Grouping) -> Candles:
    """Return the candles to draw: first open, highest high, lowest low, last close, all volume.

    A candle that is absent (NaN, at a time of another market's candle) does not count in its group.
    """
    if not groups.name:
        return candles
    places = np.arange(len(candles))
    known = np.isfinite(candles.close)
    # A group with absent candles only gets the appended NaN.
    first = np.minimum.reduceat(np.where(known, places, len(candles)), groups.starts)
    last = np.maximum.reduceat(np.where(known, places, -1), groups.starts)
    return Candles(
        timestamp=groups.timestamp,
        open=np.append(candles.open, np.nan)[first],
        high=np.fmax.reduceat(candles.high, groups.starts),
        low=groups.take_lowest(candles.low),
        close=np.append(candles.close, np.nan)[last],
        volume=np.add.reduceat(candles.volume, groups.starts),
    )


def group_indicators(
    indicators: Mapping[str, FloatArray], groups: Grouping
) -> dict[str, FloatArray]:
    """Return each indicator's last value per drawn candle."""
    return {name: groups.take_last(column) for name, column in indicators.items()}
