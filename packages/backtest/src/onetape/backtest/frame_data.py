"""Conversion of a DataFrame of candles to the input of a backtest without a store."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onetape.backtest.candle_windows import locate_gaps
from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow, HigherTimeframes, SymbolInput
from onetape.backtest.warm_up import find_run_segments, skip_startup_candles
from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import Candles, find_first_fault
from onetape.core.clock import format_utc
from onetape.core.errors import CandleGapError, DataError, UsageError
from onetape.core.message_text import format_count, format_error
from onetape.core.resample import find_incomplete_windows, resample
from onetape.core.timeframes import Timeframe
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.strategies import (
    HigherCandles,
    InputSeries,
    Signals,
    Strategy,
    align_higher_candles,
    collect_inputs,
    get_lookback,
)
from onetape.strategies.lookback_window import compute_window_size
from onetape.strategies.segments import InputGaps, evaluate_by_segment

if TYPE_CHECKING:
    import pandas as pd

#: Symbol of a DataFrame that names none.
FRAME_SYMBOL: Final = "ASSET/CASH"
#: Database of a run that reads none.
NO_DATABASE: Final = Path("none, the candles are a DataFrame")
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
_TIMEFRAMES: Final = (
    *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"),
    "1M",
)


def convert_frame_to_candles(frame: "pd.DataFrame") -> Candles:
    """Return the candles of a DataFrame.

    Args:
        frame: Columns open, high, low, close and volume (any case), indexed by the open of each
            candle as UTC datetimes, ascending.

    Raises:
        UsageError: a column is missing, or the index is no UTC time, or not ascending.
        DataError: a candle has impossible values; the text names the first.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):  # pyright: ignore[reportUnnecessaryIsInstance] - of notebooks
        raise UsageError(
            "candles must be those of load_candles or a DataFrame (of several symbols a dict by "
            f"symbol), found {type(frame).__name__}"
        )
    columns: list[Any] = [*frame.columns]
    names = {str(name).lower(): name for name in columns}
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise UsageError(
            f"the DataFrame lacks the column {missing[0]!r} (it has: "
            f"{', '.join(map(str, columns)) or 'none'}); rename yours"
        )
    index: Any = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise UsageError(
            f"the index of the DataFrame must be the UTC open of each candle, found "
            f"{type(index).__name__}; set it: df.set_index(pd.to_datetime(df['time'], utc=True))"
        )
    if index.tz is None:
        raise UsageError(
            "the index of the DataFrame has no time zone; name it: df.tz_localize('UTC')"
        )
    times: Any = index.tz_convert("UTC").as_unit("s").asi8
    if len(times) > 1 and not (np.diff(times) > 0).all():
        raise UsageError("the index of the DataFrame must ascend, each time once; df.sort_index()")
    table: Any = frame
    try:
        values = [table[names[name]].to_numpy(dtype=np.float64) for name in _COLUMNS]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the DataFrame has a value that is not a number: {format_error(error)}"
        ) from error
    candles = Candles(np.asarray(times, dtype=np.int64), *values)
    fault = find_first_fault(candles)
    if fault is not None:
        at, text = fault
        raise DataError(f"the candle {format_utc(int(times[at]))} UTC of the DataFrame: {text}")
    return candles


def infer_timeframe(candles: Candles) -> Timeframe:
    """Return the timeframe of candles: the smallest step between two of them.

    Raises:
        UsageError: there are fewer than two candles, or the step is no timeframe.
    """
    if len(candles) < 2:
        raise UsageError(f"a backtest needs two candles or more, found {len(candles)}")
    step = int(np.diff(candles.timestamp).min())
    first = int(candles.timestamp[0])
    for name in _TIMEFRAMES:
        timeframe = Timeframe.parse(name)
        if timeframe.is_month and step >= 28 * 86_400:
            return timeframe
        if timeframe.seconds == step and timeframe.floor(first) == first:
            return timeframe
    raise UsageError(
        f"the candles of the DataFrame are {step:,} s apart, which is not a timeframe that begins "
        f"at {format_utc(first)} UTC; use the UTC open of each candle"
    )


def read_frame(
    candles: Candles,
    config: BacktestConfig,
    strategy: Strategy,
    signals: Signals | None = None,
    *,
    is_alone: bool = True,
    frames: Mapping[str, Candles] | None = None,
) -> SymbolInput:
    """Return a DataFrame's candles, evaluated.

    Args:
        candles: All candles, those before the range included.
        config: Configuration of the run.
        strategy: The strategy.
        signals: Signals of all candles; None: the strategy makes them.
        is_alone: Whether the run has this symbol only; then the range may start later, after the
            strategy's startup candles.
        frames: Candles of all DataFrames of the run by symbol, for strategies that read other
            markets; None: `candles` alone.

    Raises:
        UsageError: the strategy reads a market that is no DataFrame of the run.
        DataError: no candle lies in the range.
        CandleGapError: candles are missing in the range, and gaps are not allowed.
        OnetapeError: the strategy fails.
    """
    window = _make_window(candles, config, get_lookback(strategy))
    if is_alone:
        window = skip_startup_candles(window, strategy)
    first = int(np.searchsorted(candles.timestamp, int(window.candles.timestamp[0])))
    given = frames or {window.key.symbol: candles}
    higher = _make_higher_timeframes(given, window, config, strategy)
    segments = find_run_segments(window, higher, strategy)
    began = time.monotonic()
    if signals is None:
        made = evaluate_by_segment(strategy, window.candles, higher.candles, segments)
    else:
        made = Signals(signals.signal[first : first + len(window.candles)])
    return SymbolInput(
        config=config,
        window=window,
        higher=higher,
        segments=segments,
        signals=made,
        seconds=time.monotonic() - began,
        trading_rules=NO_TRADING_RULES,
        trading_rules_text="none: a DataFrame has no trading rules, so nothing is rounded",
        intrabar=None,
        has_volume=bool(candles.volume.any()),
    )


def _make_window(candles: Candles, config: BacktestConfig, lookback: int) -> CandleWindow:
    """Return warm-up and range of a DataFrame's candles."""
    key, times = config.key, candles.timestamp
    timeframe = Timeframe.parse(key.timeframe)
    start = int(times[0]) if config.start is None else config.start
    end = timeframe.next(int(times[-1])) if config.end is None else config.end
    low, high = (int(at) for at in np.searchsorted(times, (start, end)))
    if low >= high:
        raise DataError(
            f"{key} has no candle in the range (the DataFrame has {format_utc(int(times[0]))} to "
            f"{format_utc(int(times[-1]))} UTC)"
        )
    gaps = find_gaps(times[low:high], timeframe, max(start, int(times[0])), end)
    gaps = [gap for gap in gaps if gap[0] <= int(times[-1])]
    missing = sum(timeframe.count_between(*gap) for gap in gaps)
    if gaps and not config.allow_gaps:
        raise CandleGapError(
            f"{key} has {format_count(missing, 'candle')} missing, "
            f"first from {format_utc(gaps[0][0])} UTC; add these candles, "
            "or go on without them: allow_gaps=True"
        )
    window_size = compute_window_size(lookback, config.account.closes_for_size)
    first, before = _find_warm_up(candles, timeframe, max(0, low - window_size), low)
    used = candles[first:high]
    return CandleWindow(
        key=key,
        candles=used,
        warm_up=low - first,
        required_warm_up=window_size,
        start=start,
        end=end,
        known_outages=0,
        unexplained=missing,
        left_out=None,
        gaps=locate_gaps(used, [*before, *gaps]),
    )


def _find_warm_up(
    candles: Candles, timeframe: Timeframe, first: int, low: int
) -> tuple[int, list[tuple[int, int]]]:
    """Return the first candle of the warm-up, and the gap right before it, if there is one.

    No window crosses a gap, so a gap in the warm-up delays trading.
    """
    times = candles.timestamp
    gaps = find_gaps(times[first : low + 1], timeframe, int(times[first]), int(times[low]))
    if not gaps:
        return first, []
    return int(np.searchsorted(times, gaps[-1][0])), [gaps[-1]]


def _make_higher_timeframes(
    frames: Mapping[str, Candles], window: CandleWindow, config: BacktestConfig, strategy: Strategy
) -> HigherTimeframes:
    """Return the candles of higher timeframes and other markets, from the DataFrames of a run.

    Candles of a higher timeframe are built where the candles of the DataFrame are complete.
    """
    timeframe = Timeframe.parse(config.timeframe)
    made: dict[str, HigherCandles] = {}
    origins: dict[str, str] = {}
    gaps: dict[str, InputGaps] = {}
    for series in collect_inputs(strategy, timeframe):
        key, label = series.make_key(window.key), series.make_label(window.key)
        source = frames.get(key.symbol)
        if source is None:
            raise UsageError(_describe_missing_frame(strategy, label, frames))
        whole, origin = source, "of"
        if series.timeframe != timeframe:
            built = resample(source, timeframe, series.timeframe)
            partial = find_incomplete_windows(source, timeframe, series.timeframe)
            whole = built.take(np.flatnonzero(~np.isin(built.timestamp, partial)))
            origin = "built from"
        if series.is_other_market:
            gaps[series.name] = _find_market_gaps(whole, series, label, window, config)
        made[series.name] = align_higher_candles(
            window.candles,
            timeframe,
            whole,
            series.timeframe,
            key.symbol if series.is_other_market else "",
        )
        origins[f"{label} candles"] = (
            f"{len(whole):,} {origin} the DataFrame; each is used once it has closed"
        )
    return HigherTimeframes(made, origins, gaps=gaps)


def _find_market_gaps(
    candles: Candles,
    series: InputSeries,
    label: str,
    window: CandleWindow,
    config: BacktestConfig,
) -> InputGaps:
    """Return the gaps of another market up to the end of the run.

    Raises:
        CandleGapError: candles are missing in the range, and gaps are not allowed.
    """
    # Candles that close after the last traded one are not used.
    traded = Timeframe.parse(config.timeframe)
    end = series.timeframe.floor(traded.next(int(window.candles.timestamp[-1])))
    first = int(candles.timestamp[0]) if len(candles) else end
    times = candles.timestamp[: int(np.searchsorted(candles.timestamp, end))]
    ranges = find_gaps(times, series.timeframe, min(first, end), end)
    inside = [gap for gap in ranges if gap[1] > window.start]
    if first > series.timeframe.ceil(window.start):
        inside.insert(0, (window.start, first))
    if inside and not config.allow_gaps:
        missing = sum(series.timeframe.count_between(*gap) for gap in inside)
        raise CandleGapError(
            f"{label} has {format_count(missing, 'candle')} missing, "
            f"first from {format_utc(inside[0][0])} UTC; add these candles, "
            "or go on without them: allow_gaps=True"
        )
    return InputGaps(series.timeframe, tuple(ranges), label)


def _describe_missing_frame(strategy: Strategy, label: str, frames: Mapping[str, Candles]) -> str:
    return (
        f"strategy {strategy.name} needs {label} candles, and there is no DataFrame of them (there "
        f"are: {', '.join(frames)}); add it under its symbol, or use load_candles, which reads "
        "them from the database"
    )
