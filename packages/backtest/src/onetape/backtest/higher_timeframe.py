"""Candles that a run reads in addition to the traded ones: higher timeframes and other markets.

Those that are not stored are built from the stored candles of the traded timeframe.
"""

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.backtest.repair_commands import describe_nothing_stored, format_repair_command
from onetape.core.clock import format_utc
from onetape.core.errors import CandleGapError, DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.store.database import Store
from onetape.store.higher_candles import HigherTimeframeCandles, read_higher_candles
from onetape.strategies import (
    HigherCandles,
    InputSeries,
    Strategy,
    align_higher_candles,
    collect_inputs,
    get_higher_lookback,
)
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import InputGaps, Range


def load_higher(
    store: Store, window: CandleWindow, strategy: Strategy, config: BacktestConfig
) -> HigherTimeframes:
    """Return the candles of higher timeframes and other markets that a strategy reads.

    Raises:
        UsageError: a timeframe is no multiple of the traded one, or a symbol is invalid.
        DataError: nothing is stored of another market in the range.
        CandleGapError: candles of the range are missing for an unknown reason.
    """
    timeframe = Timeframe.parse(window.key.timeframe)
    candles: dict[str, HigherCandles] = {}
    origins: dict[str, str] = {}
    notes: list[str] = []
    gaps: dict[str, InputGaps] = {}
    for series in collect_inputs(strategy, timeframe):
        found = _read_candles(store, window, strategy, series, config)
        label = series.make_label(window.key)
        inside = _find_missing_in_range(found, series, window)
        if inside and not config.allow_gaps:
            raise CandleGapError(_describe_gap(found, strategy, series, inside, config, window))
        candles[series.name] = align_higher_candles(
            window.candles,
            timeframe,
            found.candles,
            series.timeframe,
            found.key.symbol if series.is_other_market else "",
        )
        origins[f"{label} candles"] = f"{found.origin_text}; each is used once it has closed"
        gaps[series.name] = InputGaps(series.timeframe, tuple(found.gaps), label)
        if found.begins_inside:
            start, end = found.missing[0]
            missing = format_count(series.timeframe.count_between(start, end), f"{label} candle")
            notes.append(
                f"{missing} missing, "
                f"first from {format_utc(start)} UTC, where nothing is stored yet: signals that "
                "need them may differ from a longer run's"
            )
    return HigherTimeframes(candles, origins, tuple(notes), gaps)


def _read_candles(
    store: Store,
    window: CandleWindow,
    strategy: Strategy,
    series: InputSeries,
    config: BacktestConfig,
) -> HigherTimeframeCandles:
    """Return the candles of one series, those before the first traded candle included.

    Raises:
        DataError: it is another market, and none of its candles is stored in the range.
    """
    count = compute_window_size(get_higher_lookback(strategy))
    opens = window.candles.timestamp
    start = max(0, series.timeframe.shift(int(opens[0]), -count))
    end = Timeframe.parse(window.key.timeframe).next(int(opens[-1]))
    base_key = series.make_base_key(window.key)
    found = read_higher_candles(store, base_key, series.timeframe, start, end)
    if series.is_other_market and found.missing and not len(found.candles):
        nothing = describe_nothing_stored(store, found.key, config, start, window.end)
        raise DataError(f"strategy {strategy.name} needs {found.key.symbol} candles: {nothing}")
    return found


def _find_missing_in_range(
    found: HigherTimeframeCandles, series: InputSeries, window: CandleWindow
) -> list[Range]:
    """Return the missing candles of a series without which the range is not traded.

    A gap that began before the first traded candle lies in the warm-up, and only delays trading.
    The time before the oldest candle of another market counts if it reaches into the range: its
    candles are probably not fetched.
    """
    first = int(window.candles.timestamp[0])
    inside = [gap for gap in found.missing if gap[0] >= first and gap[1] > window.start]
    before = found.missing[:1] if found.begins_inside and series.is_other_market else []
    return [gap for gap in before if gap not in inside and gap[1] > window.start] + inside


def _describe_gap(
    found: HigherTimeframeCandles,
    strategy: Strategy,
    series: InputSeries,
    missing: list[Range],
    config: BacktestConfig,
    window: CandleWindow,
) -> str:
    count = sum(series.timeframe.count_between(*gap) for gap in missing)
    repair = format_repair_command(found.key, config, missing[0][0], window.end)
    start = f"{format_utc(missing[0][0])} UTC"
    if not series.is_other_market:
        return (
            f"{found.key} has {format_count(count, 'candle')} missing from {start}, neither stored "
            f"nor to be built from {window.key.timeframe} candles; "
            f"run: {repair} (or go on without them: --allow-gaps)"
        )
    later = ""
    if missing[0] == found.missing[0] and found.begins_inside:
        later = f"start at {format_utc(missing[0][1]).replace(' ', 'T')}: --from, or "
    return (
        f"strategy {strategy.name} needs {found.key.symbol} candles: {found.key} has "
        f"{format_count(count, 'candle')} missing from {start}; "
        f"run: {repair} (or {later}go on without them: --allow-gaps)"
    )
