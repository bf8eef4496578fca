"""The warm-up of a run: startup candles of the strategy, and segments after unexplained gaps."""

from collections.abc import Sequence

from msgspec.structs import replace

from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.strategies import Strategy, get_higher_lookback
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import Segment, UnexplainedGaps, find_segment, split_into_segments


def skip_startup_candles(window: CandleWindow, strategy: Strategy) -> CandleWindow:
    """Return the candles with the start of the range after the strategy's startup candles.

    The start moves if the series has fewer than the startup candles before the range.

    Raises:
        DataError: no candle of the range is left.
    """
    startup = strategy.startup_candle_count
    begins_after_gap = bool(window.gaps) and window.gaps[0].at == 0
    if window.warm_up >= startup or begins_after_gap:
        return window
    if startup >= len(window.candles):
        raise DataError(
            f"{window.key} has {format_count(len(window.candles), 'candle')} up to the end of the "
            f"range, and strategy {strategy.name} decides after the first {startup:,} "
            "(startup_candle_count); choose a longer range"
        )
    moved = startup - window.warm_up
    start = int(window.candles.timestamp[startup])
    return replace(window, warm_up=startup, start=start, startup_moved=moved)


def find_run_segments(
    window: CandleWindow, higher: HigherTimeframes, strategy: Strategy
) -> tuple[Segment, ...]:
    """Return the segments of a run's candles, each with the first candle that is traded."""
    return split_into_segments(
        window.candles,
        Timeframe.parse(window.key.timeframe),
        UnexplainedGaps(window.gaps, higher.gaps),
        window.required_warm_up,
        compute_window_size(get_higher_lookback(strategy)),
    )


def find_warm_up_segment(segments: Sequence[Segment], index: int) -> Segment | None:
    """Return the segment whose warm-up contains a candle; None: the candle is traded."""
    segment = find_segment(segments, index)
    return segment if index < segment.ready else None
