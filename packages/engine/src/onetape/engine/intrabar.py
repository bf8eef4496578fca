"""Ask finer candles how a bar met stop and target: which was first, and at what price.

Stop loss and target are the bar's own (see exits.py): they move from bar to bar and not within one.
A trailing stop follows the finer candles one by one, so it may turn out that the bar's low came
before its high and the position goes on. What the rule for one bar says of the first finer candle
that ends a position holds: a finer candle that opens beyond a level fills it at its open, and one
that allows several exits gives the worst, as a bar does; the bar stays ambiguous then.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candles import Candles, IntArray
from onetape.core.holes import holes_between
from onetape.core.timeframes import Timeframe
from onetape.core.untraded import untraded_rows
from onetape.engine.exits import BarExit, Levels, exit_in_bar

#: Why finer candles do not decide: one is missing before a level is reached; the first that reaches
#: a level is ambiguous itself; or they are not what the bar is made of: none reaches a level that
#: the bar reached, or one opens where the bar never was.
Silence = Literal["missing", "both", "unlike"]


class Detail(Struct, frozen=True):
    """Finer candles of the same market, read when they are needed."""

    timeframe: Timeframe
    """Timeframe of the traded bars."""
    finer: Timeframe
    """Timeframe of the intrabar candles."""
    read: Callable[[int, int], Candles]
    """Returns the closed finer candles of a half-open range, epoch seconds."""
    absent: Sequence[tuple[int, int]] = ()
    """Half-open ranges in which the exchange has no finer candle, oldest first: nobody traded."""
    has_volume: bool | None = None
    """Whether any candle of the stored finer series has volume; None: whether one of those read
    for a bar has."""


class Told(NamedTuple):
    """What finer candles say of a bar that may end a position inside."""

    found: BarExit | None
    """Price and kind of the exit; None: the position goes on, or `silence` says why nothing is
    known and the rule for one bar holds."""
    opened: int
    """Open of the finer candle that ended the position, epoch seconds; 0 where none did."""
    silence: Silence | None
    """Why they do not decide; None where they do."""

    @property
    def goes_on(self) -> bool:
        """Return whether the position outlives the bar."""
        return self.found is None and self.silence is None


_GOES_ON: Final = Told(None, 0, None)
_MISSING: Final = Told(None, 0, "missing")
_UNLIKE: Final = Told(None, 0, "unlike")


def exit_told(detail: Detail, timestamp: int, levels: Levels, low: float, high: float) -> Told:
    """Return what finer candles say of a bar that may end a position and opens beyond no level.

    A finer candle in which nothing was traded only repeats the last price, and reaches nothing.

    Args:
        detail: Where to look.
        timestamp: Open of the bar, epoch seconds.
        levels: Its levels.
        low: Of the bar.
        high: Of the bar.
    """
    end = detail.timeframe.next(timestamp)
    # What the bar did not reach cannot have ended the position.
    levels = levels._replace(
        stop=levels.stop if low <= levels.stop else -math.inf,
        target=levels.target if high >= levels.target else math.inf,
    )
    candles = detail.read(timestamp, end)
    traded = ~untraded_rows(candles, has_volume=detail.has_volume)
    highest = np.maximum.accumulate(np.where(traded, candles.high, 0.0))
    reached = (candles.low <= np.maximum(highest * levels.trailing, levels.stop)) & traded
    reached |= (candles.high >= levels.target) & traded
    first = int(reached.argmax()) if reached.any() else len(candles)
    opened = int(candles.timestamp[first]) if first < len(candles) else end
    if _lacks_any(detail, candles.timestamp[:first], timestamp, opened):
        return _MISSING
    if opened == end:
        return _GOES_ON if _are_like(candles, traded, levels, low, high) else _UNLIKE
    before = float(highest[first - 1]) if first else 0.0
    found = exit_in_bar(
        float(candles.open[first]),
        float(candles.high[first]),
        float(candles.low[first]),
        levels.raised_to(before),
    )
    if found is None or not low <= found.price <= high:
        return _UNLIKE
    return Told(found, opened, "both" if found.is_ambiguous else None)


def _are_like(
    candles: Candles, traded: NDArray[np.bool_], levels: Levels, low: float, high: float
) -> bool:
    """Return whether candles that end no position can be what a bar is made of.

    The bar may have reached no stop but the one that followed its own high, and no target; and the
    candles have its high and its low.
    """
    if math.isfinite(levels.stop) or math.isfinite(levels.target) or not traded.any():
        return False
    return bool(candles.high[traded].max() >= high and candles.low[traded].min() <= low)


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
