"""The warm-up after an unexplained hole: which candles of a run are decided on, and since when."""

from collections.abc import Sequence

from msgspec import Struct

from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.core.clock import utc_text
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.strategies import Strategy, higher_lookback_of
from onetape.strategies.segments import Holes, Segment, segment_at, segment_ends, segments_of
from onetape.strategies.window import window_size


class Pause(Struct, frozen=True):
    """A part of the range that is not traded, because a warm-up after a hole is not full."""

    hole_from: int
    """Open of the first missing candle, epoch seconds."""
    hole_to: int
    """Open of the first candle after the hole, epoch seconds."""
    timeframe: str
    """Timeframe of the missing candles."""
    trading_since: int | None
    """Close of the first candle that is decided on again, epoch seconds; None: the range, or a
    further hole, comes first."""


def run_segments(
    window: CandleWindow, higher: HigherTimeframes, strategy: Strategy
) -> tuple[Segment, ...]:
    """Return the segments of a run's candles, each with the candle from which on it is traded."""
    return segments_of(
        window.candles,
        Timeframe.parse(window.key.timeframe),
        Holes(window.holes, higher.holes),
        window.wanted_warm_up,
        window_size(higher_lookback_of(strategy)),
    )


def pauses_of(window: CandleWindow, segments: Sequence[Segment]) -> list[Pause]:
    """Return the parts of the range that are not traded because of holes, oldest first."""
    found: list[Pause] = []
    timeframe = Timeframe.parse(window.key.timeframe)
    for segment, end in _paused(window, segments):
        since = None
        if segment.ready < end:
            since = timeframe.next(int(window.candles.timestamp[segment.ready]))
        found.append(Pause(*(segment.hole or (0, 0)), segment.timeframe, since))
    return found


def _paused(window: CandleWindow, segments: Sequence[Segment]) -> list[tuple[Segment, int]]:
    """Return the segments of the range that begin with a warm-up after a hole, with their ends."""
    return [
        (segment, end)
        for segment, end in _with_ends(window, segments)
        if segment.hole is not None and segment.ready > window.warm_up and end > window.warm_up
    ]


def _with_ends(window: CandleWindow, segments: Sequence[Segment]) -> list[tuple[Segment, int]]:
    return [*zip(segments, segment_ends(segments, len(window.candles)), strict=True)]


def _is_traded_before(window: CandleWindow, segments: Sequence[Segment], index: int) -> bool:
    """Return whether a candle of the range is decided on before a segment that starts there."""
    return any(
        max(segment.ready, window.warm_up) < end
        for segment, end in _with_ends(window, segments)
        if segment.start < index
    )


def pause_notes(window: CandleWindow, segments: Sequence[Segment], who_asks: str = "") -> list[str]:
    """Return the line that says since when a run trades, where a hole delays that; else none.

    Args:
        window: The candles.
        segments: The segments of these candles.
        who_asks: Whose warm-up it is, such as `, the longest of all combinations,`.
    """
    pauses = pauses_of(window, segments)
    if not pauses:
        return []
    last = pauses[-1]
    hole = f"{utc_text(last.hole_from)} to {utc_text(last.hole_to)} UTC"
    if last.timeframe != window.key.timeframe:
        hole = f"of {last.timeframe} candles {hole}"
    warm_up = f"warm-up of {counted(window.wanted_warm_up, 'candle')}{who_asks}"
    if last.trading_since is None:
        text = f"no trading after the unexplained hole {hole}: the range ends before a {warm_up}"
    else:
        start = _paused(window, segments)[-1][0].start
        again = " again" if _is_traded_before(window, segments, start) else ""
        text = (
            f"trading starts{again} {utc_text(last.trading_since)} UTC, after a {warm_up} behind "
            f"the unexplained hole {hole}"
        )
    others = len(pauses) - 1
    if others:
        text += f"; {counted(others, 'earlier hole')} paused it likewise"
    return [text]


def waiting_for(segments: Sequence[Segment], index: int) -> Segment | None:
    """Return the segment whose warm-up holds a candle; None where the candle is decided on."""
    segment = segment_at(segments, index)
    return segment if index < segment.ready else None
