"""The warm-up after an unexplained hole: which candles of a run are decided on, and since when."""

from collections.abc import Sequence

from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.core.timeframes import Timeframe
from onetape.strategies import Strategy, higher_lookback_of
from onetape.strategies.lookback_window import window_size
from onetape.strategies.segments import Holes, Segment, segment_at, segments_of


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


def waiting_for(segments: Sequence[Segment], index: int) -> Segment | None:
    """Return the segment whose warm-up holds a candle; None where the candle is decided on."""
    segment = segment_at(segments, index)
    return segment if index < segment.ready else None
