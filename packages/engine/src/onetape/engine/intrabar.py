"""Exits decided by intrabar candles: which of stop and target was reached first, at what price.

Stop loss and target have one level for the whole bar (exits.py). A trailing stop follows the
intrabar candles one by one; if the bar's low came before its high, the position may stay open. The
first intrabar candle that reaches a level ends the position by the rule for one bar: at its open if
it opens beyond the level; if it allows several exits, at the worst of them, and the bar stays
ambiguous.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles, IntArray
from onetape.core.timeframes import Timeframe
from onetape.core.untraded import find_untraded_rows
from onetape.engine.exit_search import compute_trailing_stops
from onetape.engine.exits import BarExit, Levels, find_exit_in_bar

#: Reasons why intrabar candles do not decide: one is missing before a level; the first that
#: reaches a level is ambiguous itself; or they contradict the bar: none reaches a level that the
#: bar reached, or one opens outside the bar.
UndecidedReason = Literal["missing", "both", "unlike"]


class IntrabarSource(Struct, frozen=True):
    """Intrabar candles of one symbol, read when they are needed."""

    timeframe: Timeframe
    """Timeframe of the traded bars."""
    intrabar_timeframe: Timeframe
    """Timeframe of the intrabar candles."""
    read: Callable[[int, int], Candles]
    """Function that returns the closed intrabar candles of a half-open range, epoch seconds."""
    absent: Sequence[tuple[int, int]] = ()
    """Half-open ranges, epoch seconds, oldest first, without a candle at the exchange, in which
    nothing was traded."""
    has_volume: bool | None = None
    """Whether any candle of the stored intrabar series has volume; None: only those read for a bar
    are examined."""


class IntrabarExit(NamedTuple):
    """Exit of a position by the intrabar candles of one bar, or the reason why there is none."""

    exit: BarExit | None
    """Price and kind of the exit; None: the position goes on, or `undecided` has the reason why the
    intrabar candles do not decide, and the rule for one bar holds."""
    timestamp: int
    """Open of the intrabar candle that ended the position, epoch seconds; 0: none did."""
    undecided: UndecidedReason | None
    """Reason why the intrabar candles do not decide; None: the intrabar candles decide."""

    @property
    def is_position_open(self) -> bool:
        """Whether the position is still open after the bar."""
        return self.exit is None and self.undecided is None


_NO_EXIT: Final = IntrabarExit(None, 0, None)
_MISSING: Final = IntrabarExit(None, 0, "missing")
_UNLIKE: Final = IntrabarExit(None, 0, "unlike")


def find_intrabar_exit(
    intrabar: IntrabarSource, timestamp: int, levels: Levels, low: float, high: float
) -> IntrabarExit:
    """Return the exit by the intrabar candles of a bar that opens beyond no level.

    An intrabar candle without a trade repeats the last price, and reaches no level.

    Args:
        intrabar: Source of the intrabar candles.
        timestamp: Open of the bar, epoch seconds.
        levels: Stop, target and trailing stop of the position in the bar.
        low: Lowest price of the bar.
        high: Highest price of the bar.
    """
    end = intrabar.timeframe.next(timestamp)
    # A level that the bar did not reach cannot end the position.
    levels = levels._replace(
        stop=levels.stop if low <= levels.stop else -math.inf,
        target=levels.target if high >= levels.target else math.inf,
    )
    candles = intrabar.read(timestamp, end)
    traded = ~find_untraded_rows(candles, has_volume=intrabar.has_volume)
    highest = np.maximum.accumulate(np.where(traded, candles.high, 0.0))
    trailing = compute_trailing_stops(levels, highest)
    reached = (candles.low <= np.maximum(trailing, levels.stop)) & traded
    reached |= (candles.high >= levels.target) & traded
    first = int(reached.argmax()) if reached.any() else len(candles)
    opened = int(candles.timestamp[first]) if first < len(candles) else end
    if _has_missing_candle(intrabar, candles.timestamp[:first], timestamp, opened):
        return _MISSING
    if opened == end:
        return _NO_EXIT if _can_make_up_bar(candles, traded, levels, low, high) else _UNLIKE
    before = float(highest[first - 1]) if first else 0.0
    found = find_exit_in_bar(
        float(candles.open[first]),
        float(candles.high[first]),
        float(candles.low[first]),
        levels.follow_price(before),
    )
    if found is None or not low <= found.price <= high:
        return _UNLIKE
    return IntrabarExit(found, opened, "both" if found.is_ambiguous else None)


def _can_make_up_bar(
    candles: Candles, traded: NDArray[np.bool_], levels: Levels, low: float, high: float
) -> bool:
    """Return whether intrabar candles that reach no level agree with their bar.

    Intrabar candles agree if they have the high and the low of the bar, and the bar reaches no
    level except a trailing stop that its own high has moved.
    """
    if math.isfinite(levels.stop) or math.isfinite(levels.target) or not traded.any():
        return False
    return bool(candles.high[traded].max() >= high and candles.low[traded].min() <= low)


def _has_missing_candle(
    intrabar: IntrabarSource, timestamp: IntArray, start: int, end: int
) -> bool:
    """Return whether an intrabar candle of `[start, end)` is missing that may have had trades."""
    for low, high in find_gaps(timestamp, intrabar.intrabar_timeframe, start, end):
        row = max(0, bisect_right(intrabar.absent, low, key=lambda absent: absent[0]) - 1)
        for first, after in intrabar.absent[row:]:
            if not first <= low < after:
                break
            low = after
        if low < high:
            return True
    return False


def make_candle_reader(candles: Candles) -> Callable[[int, int], Candles]:
    """Return a reader of candles that are in memory."""

    def read(start: int, end: int) -> Candles:
        first, last = np.searchsorted(candles.timestamp, (start, end)).tolist()
        return candles[first:last]

    return read
