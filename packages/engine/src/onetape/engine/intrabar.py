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
from onetape.engine.exit_config import NOISE
from onetape.engine.exit_search import compute_trailing_stops
from onetape.engine.exits import BarExit, Levels, find_exit_after_limit, find_exit_in_bar

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
    first = _find_first_reaching(candles, traded, levels, 0, 0.0)
    opened = int(candles.timestamp[first]) if first < len(candles) else end
    if _has_missing_candle(intrabar, candles.timestamp[:first], timestamp, opened):
        return _MISSING
    if opened == end:
        return _NO_EXIT if _can_make_up_bar(candles, traded, levels, low, high) else _UNLIKE
    before = _find_highest(candles, traded, 0, first, 0.0)
    return _find_exit_in_candle(candles, first, levels.follow_price(before), low, high)


def find_intrabar_exit_after_limit(
    intrabar: IntrabarSource,
    timestamp: int,
    levels: Levels,
    low: float,
    high: float,
    limit: float,
) -> tuple[IntrabarExit, float]:
    """Return the exit by the intrabar candles of a bar inside which a limit order was filled.

    The first intrabar candle with a low below the limit has filled the order; in that candle the
    rule for one bar holds (`find_exit_after_limit`), and after it every level.

    Args:
        intrabar: Source of the intrabar candles.
        timestamp: Open of the bar, epoch seconds.
        levels: Levels of a position that was entered at the limit.
        low: Lowest price of the bar.
        high: Highest price of the bar.
        limit: Price of the fill.

    Returns:
        The exit, and the highest price of the position in the bar, if it goes on.
    """
    end = intrabar.timeframe.next(timestamp)
    candles = intrabar.read(timestamp, end)
    traded = ~find_untraded_rows(candles, has_volume=intrabar.has_volume)
    is_below = traded & (candles.low < limit * (1 - NOISE))
    filled = int(is_below.argmax()) if is_below.any() else len(candles)
    opened = int(candles.timestamp[filled]) if filled < len(candles) else end
    if _has_missing_candle(intrabar, candles.timestamp[:filled], timestamp, opened):
        return _MISSING, limit
    if opened == end:
        return _UNLIKE, limit
    found = find_exit_after_limit(
        limit, float(candles.high[filled]), float(candles.low[filled]), levels
    )
    if found is not None:
        is_inside = low <= found.price <= high
        undecided = "both" if found.is_ambiguous else None
        return (IntrabarExit(found, opened, undecided) if is_inside else _UNLIKE), limit
    highest = max(limit, float(candles.close[filled]))
    first = _find_first_reaching(candles, traded, levels, filled + 1, highest)
    reached = int(candles.timestamp[first]) if first < len(candles) else end
    after = intrabar.intrabar_timeframe.next(opened)
    if _has_missing_candle(intrabar, candles.timestamp[filled + 1 : first], after, reached):
        return _MISSING, limit
    before = _find_highest(candles, traded, filled + 1, first, highest)
    if reached == end:
        is_whole = candles.high[traded].max() >= high and candles.low[traded].min() <= low
        return (_NO_EXIT if is_whole else _UNLIKE), before
    return _find_exit_in_candle(candles, first, levels.follow_price(before), low, high), before


def _find_first_reaching(
    candles: Candles, traded: NDArray[np.bool_], levels: Levels, start: int, highest: float
) -> int:
    """Return the first intrabar candle from one on that reaches a level; their number: none does.

    Args:
        candles: The intrabar candles.
        traded: Whether each of them has a trade.
        levels: Levels of the position in the bar.
        start: Index of the first candle to search.
        highest: Highest price of the position in the bar before that candle; 0: none.
    """
    highs = np.where(traded[start:], candles.high[start:], 0.0)
    highest_so_far = np.maximum(np.maximum.accumulate(highs), highest)
    trailing = compute_trailing_stops(levels, highest_so_far)
    reached = candles.low[start:] <= np.maximum(trailing, levels.stop)
    reached |= candles.high[start:] >= levels.target
    reached &= traded[start:]
    return start + int(reached.argmax()) if reached.any() else len(candles)


def _find_highest(
    candles: Candles, traded: NDArray[np.bool_], start: int, end: int, highest: float
) -> float:
    """Return the highest of a price and of the highs of some intrabar candles with a trade."""
    highs = candles.high[start:end][traded[start:end]]
    return max(highest, float(highs.max())) if len(highs) else highest


def _find_exit_in_candle(
    candles: Candles, number: int, levels: Levels, low: float, high: float
) -> IntrabarExit:
    """Return the exit in the first intrabar candle that reaches a level.

    Args:
        candles: The intrabar candles.
        number: Index of that candle.
        levels: Levels at its open.
        low: Lowest price of the bar.
        high: Highest price of the bar.
    """
    found = find_exit_in_bar(
        float(candles.open[number]),
        float(candles.high[number]),
        float(candles.low[number]),
        levels,
    )
    if found is None or not low <= found.price <= high:
        return _UNLIKE
    opened = int(candles.timestamp[number])
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
