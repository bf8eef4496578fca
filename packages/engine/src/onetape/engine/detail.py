"""Ask finer candles which of two levels came first in a bar that reached both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onetape.core.candles import Candles
from onetape.core.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class Detail:
    """Finer candles of the same market, read when they are needed."""

    timeframe: Timeframe
    """Of the bars that are traded."""
    finer: Timeframe
    """Of the candles that tell."""
    read: Callable[[int, int], Candles]
    """Returns the closed finer candles of a half-open range, epoch seconds."""


def decided(detail: Detail, timestamp: int, stop: float, target: float) -> bool | None:
    """Return whether a bar reached its target before its stop, or None where nothing tells.

    Nothing tells where a finer candle is missing before the first that reaches a level, where that
    one reaches both, or where none does.

    Args:
        detail: Where to look.
        timestamp: Open of the bar, epoch seconds.
        stop: Level below the open.
        target: Level above the open.
    """
    end = detail.timeframe.next(timestamp)
    candles = detail.read(timestamp, end)
    reached = (candles.low <= stop) | (candles.high >= target)
    first = int(reached.argmax()) if len(reached) else 0
    if not len(reached) or not reached[first]:
        return None
    due = timestamp
    for found in candles.timestamp[: first + 1].tolist():
        if found != due:
            return None
        due = detail.finer.next(due)
    open_, low, high = (
        float(column[first]) for column in (candles.open, candles.low, candles.high)
    )
    if open_ <= stop or open_ >= target:
        return bool(open_ >= target)
    return None if low <= stop and high >= target else bool(high >= target)


def reader_of(candles: Candles) -> Callable[[int, int], Candles]:
    """Return a reader of candles that are in memory."""

    def read(start: int, end: int) -> Candles:
        first, last = np.searchsorted(candles.timestamp, (start, end)).tolist()
        return candles[first:last]

    return read
