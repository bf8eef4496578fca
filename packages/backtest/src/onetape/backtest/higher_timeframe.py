"""Higher-timeframe candles of a run: stored ones, or candles built from the traded ones."""

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.backtest.repair_commands import format_repair_command
from onetape.core.clock import format_utc
from onetape.core.errors import CandleGapError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.store.database import Store
from onetape.store.higher_candles import HigherTimeframeCandles, read_higher_candles
from onetape.strategies import (
    HigherCandles,
    Strategy,
    align_higher_candles,
    collect_higher_timeframes,
    get_higher_lookback,
)
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import Range


def load_higher(
    store: Store, window: CandleWindow, strategy: Strategy, config: BacktestConfig
) -> HigherTimeframes:
    """Return the higher-timeframe candles that a strategy needs, in addition to the window.

    Raises:
        UsageError: a higher timeframe is no multiple of the traded one.
        CandleGapError: higher-timeframe candles of the range are missing for an unknown reason.
    """
    timeframe = Timeframe.parse(window.key.timeframe)
    candles: dict[str, HigherCandles] = {}
    origins: dict[str, str] = {}
    notes: list[str] = []
    gaps: dict[str, tuple[Range, ...]] = {}
    for higher_timeframe in collect_higher_timeframes(strategy, timeframe):
        found = _read_candles(store, window, strategy, higher_timeframe)
        # A gap that began before the first candle lies in the warm-up, and only delays trading.
        first = int(window.candles.timestamp[0])
        inside = [gap for gap in found.missing if gap[0] >= first and gap[1] > window.start]
        if inside and not config.allow_gaps:
            raise CandleGapError(_describe_gap(found, higher_timeframe, inside, config, window))
        candles[higher_timeframe.name] = align_higher_candles(
            window.candles, timeframe, found.candles, higher_timeframe
        )
        origins[f"{higher_timeframe.name} candles"] = (
            f"{found.origin_text}; each is used once it has closed"
        )
        gaps[higher_timeframe.name] = tuple(found.gaps)
        if found.begins_inside:
            start, end = found.missing[0]
            missing = format_count(
                higher_timeframe.count_between(start, end), f"{higher_timeframe.name} candle"
            )
            notes.append(
                f"{missing} missing, "
                f"first from {format_utc(start)} UTC, where nothing is stored yet: signals that "
                "need them may differ from a longer run's"
            )
    return HigherTimeframes(candles, origins, tuple(notes), gaps)


def _read_candles(
    store: Store, window: CandleWindow, strategy: Strategy, higher_timeframe: Timeframe
) -> HigherTimeframeCandles:
    count = compute_window_size(get_higher_lookback(strategy))
    opens = window.candles.timestamp
    start = max(0, higher_timeframe.shift(int(opens[0]), -count))
    end = Timeframe.parse(window.key.timeframe).next(int(opens[-1]))
    return read_higher_candles(store, window.key, higher_timeframe, start, end)


def _describe_gap(
    found: HigherTimeframeCandles,
    higher_timeframe: Timeframe,
    missing: list[tuple[int, int]],
    config: BacktestConfig,
    window: CandleWindow,
) -> str:
    count = sum(higher_timeframe.count_between(*gap) for gap in missing)
    repair = format_repair_command(found.key, config, missing[0][0], window.end)
    return (
        f"{found.key} has {format_count(count, 'candle')} missing from {format_utc(missing[0][0])} "
        f"UTC, neither stored nor to be built from {window.key.timeframe} candles; "
        f"run: {repair} (or go on without them: --allow-gaps)"
    )
