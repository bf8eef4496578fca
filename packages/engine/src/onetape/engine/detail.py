"""Ask finer candles how a bar met stop and target: which was first, and at what price.

The levels are the bar's own (see exits.py): they move from bar to bar and not within one. What the
rule for one bar says of the first finer candle that reaches a level holds. So a finer candle that
opens beyond a level fills it at its open, and one that reaches both levels tells nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, IntArray
from onetape.core.holes import holes_between
from onetape.core.timeframes import Timeframe
from onetape.core.untraded import untraded_rows
from onetape.engine.exits import BarExit, Levels, exit_in_bar

#: Why finer candles tell nothing: one is missing before a level is reached; the first that reaches
#: a level reaches both; or they are not what the bar is made of: none reaches a level, or one opens
#: where the bar never was.
Silence = Literal["missing", "both", "unlike"]


class Detail(Struct, frozen=True):
    """Finer candles of the same market, read when they are needed."""

    timeframe: Timeframe
    """Of the bars that are traded."""
    finer: Timeframe
    """Of the candles that tell."""
    read: Callable[[int, int], Candles]
    """Returns the closed finer candles of a half-open range, epoch seconds."""
    absent: Sequence[tuple[int, int]] = ()
    """Half-open ranges in which the exchange has no finer candle, oldest first: nobody traded."""


class Told(NamedTuple):
    """What finer candles say of an exit inside a bar."""

    found: BarExit | None
    """Price and kind; None: they tell nothing, and the rule for one bar holds."""
    opened: int
    """Open of the finer candle that ended the position, epoch seconds; 0 where none did."""
    silence: Silence | None
    """Why they tell nothing; None where they do."""


_MISSING: Final = Told(None, 0, "missing")
_BOTH: Final = Told(None, 0, "both")
_UNLIKE: Final = Told(None, 0, "unlike")


def exit_told(detail: Detail, timestamp: int, levels: Levels, low: float, high: float) -> Told:
    """Return what finer candles say of a bar that reaches a level and opens beyond none.

    A finer candle in which nothing was traded only repeats the last price, and reaches nothing.

    Args:
        detail: Where to look.
        timestamp: Open of the bar, epoch seconds.
        levels: Its levels; infinite where it does not reach one.
        low: Of the bar.
        high: Of the bar.
    """
    end = detail.timeframe.next(timestamp)
    candles = detail.read(timestamp, end)
    reached = (candles.low <= levels.stop) | (candles.high >= levels.target)
    reached &= ~untraded_rows(candles)
    first = int(reached.argmax()) if reached.any() else len(candles)
    opened = int(candles.timestamp[first]) if first < len(candles) else end
    if _lacks_any(detail, candles.timestamp[:first], timestamp, opened):
        return _MISSING
    if opened == end:
        return _UNLIKE
    found = exit_in_bar(
        float(candles.open[first]), float(candles.high[first]), float(candles.low[first]), levels
    )
    if found is None or not low <= found.price <= high:
        return _UNLIKE
    return _BOTH if found.is_ambiguous else Told(found, opened, None)


def _lacks_any(detail: Detail, timestamp: IntArray, start: int, end: int) -> bool:
    """Return whether a finer candle of `[start, end)` is missing that may have been traded in."""
    for low, high in holes_between(timestamp, detail.finer, start, end):
        row = max(0, bisect_right(detail.absent, low, key=lambda absent: absent[0]) - 1)
        for first, after in detail.absent[row:]:
            if not first <= low < after:
                break
            low = after
        if low < high:
            return True
    return False


def reader_of(candles: Candles) -> Callable[[int, int], Candles]:
    """Return a reader of candles that are in memory."""

    def read(start: int, end: int) -> Candles:
        first, last = np.searchsorted(candles.timestamp, (start, end)).tolist()
        return candles[first:last]

    return read
