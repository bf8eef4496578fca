"""The symbols of a run: their candles, read from the store, and the strategy's signals on them."""

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from onetape.backtest.candle_windows import has_stored_volume, load_window
from onetape.backtest.config import BacktestConfig
from onetape.backtest.higher_timeframe import load_higher
from onetape.backtest.models import CandleWindow, HigherTimeframes, SymbolInput
from onetape.backtest.trading_rules import load_trading_rules
from onetape.backtest.warm_up import find_run_segments, skip_startup_candles
from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.engine import IntrabarSource
from onetape.store.database import Store
from onetape.strategies import Signals, Strategy, get_lookback
from onetape.strategies.segments import Segment, evaluate_by_segment

if TYPE_CHECKING:
    from onetape.backtest.common_range import CommonRange


def read_symbols(
    store: Store, config: BacktestConfig, strategy: Strategy, *, with_indicators: bool = True
) -> tuple[list[SymbolInput], tuple[str, ...]]:
    """Return all symbols, read and evaluated, and the notes on those that decided the range.

    Args:
        store: The open database.
        config: Configuration of the run.
        strategy: The strategy of symbols without a strategy in `own_strategies`.
        with_indicators: Whether the result has the strategy's indicators.

    Raises:
        OnetapeError: see the class of the error.
    """
    common = None
    if len(config.symbols) > 1:
        from onetape.backtest.common_range import find_common_range

        common = find_common_range(store, config)
    inputs: list[SymbolInput] = []
    for key in config.keys:
        own_strategy = config.own_strategies.get(key.symbol)
        read = _read_symbol(
            store, config, key, strategy if own_strategy is None else own_strategy.load(), common
        )
        inputs.append(read if with_indicators else _drop_indicators(read))
    return inputs, () if common is None else common.notes


def read_candles(
    store: Store,
    key: SeriesKey,
    config: BacktestConfig,
    strategy: Strategy,
    *,
    is_alone: bool = True,
) -> tuple[CandleWindow, HigherTimeframes, tuple[Segment, ...]]:
    """Return the candles of one symbol, the higher-timeframe candles, and the segments of both.

    Args:
        store: The open database.
        key: The series.
        config: Configuration of the symbol.
        strategy: The strategy.
        is_alone: Whether the run has this symbol only; then the range may start later, after the
            strategy's startup candles.

    Raises:
        DataError: no closed candle lies in the range, or nothing is stored.
        OnetapeError: see `load_window` and `load_higher`.
    """
    window = load_window(store, key, config, lookback=get_lookback(strategy))
    if not len(window.candles) - window.warm_up:
        raise DataError(f"{key} has no closed candle in the range; choose a longer one")
    if is_alone:
        window = skip_startup_candles(window, strategy)
    higher = load_higher(store, window, strategy, config)
    return window, higher, find_run_segments(window, higher, strategy)


def _read_symbol(
    store: Store,
    config: BacktestConfig,
    key: SeriesKey,
    strategy: Strategy,
    common: "CommonRange | None",
) -> SymbolInput:
    """Return one symbol, read and evaluated; `common` is the range of all, where there are several.

    Raises:
        OnetapeError: see `read_candles` and `evaluate_by_segment`.
    """
    symbol_config = config.select_symbol(key.symbol)
    if common is not None:
        symbol_config = replace(symbol_config, start=common.start, end=common.end)
    window, higher, segments = read_candles(
        store, key, symbol_config, strategy, is_alone=common is None
    )
    if common is not None:
        left_out = common.left_out.get(key.symbol, window.left_out)
        window = replace(window, left_out=left_out)
    trading_rules, trading_rules_text = load_trading_rules(
        store, key, symbol_config, window.candles
    )
    began = time.monotonic()
    signals = evaluate_by_segment(strategy, window.candles, higher.candles, segments)
    return SymbolInput(
        config=symbol_config,
        window=window,
        higher=higher,
        segments=segments,
        signals=signals,
        seconds=time.monotonic() - began,
        trading_rules=trading_rules,
        trading_rules_text=trading_rules_text,
        intrabar=_make_intrabar_source(store, window, symbol_config, signals),
        has_volume=has_stored_volume(store, window),
    )


def _drop_indicators(source: SymbolInput) -> SymbolInput:
    return replace(source, signals=replace(source.signals, indicators={}, overlays=frozenset()))


def _make_intrabar_source(
    store: Store, window: CandleWindow, config: BacktestConfig, signals: Signals
) -> IntrabarSource | None:
    """Return the source of intrabar candles, or None where none are needed.

    Raises:
        DataError: no intrabar candle is stored in the range.
    """
    if config.timeframe_detail is None:
        return None
    # Imported here, because the import takes a millisecond and most runs need none of it.
    from onetape.backtest.intrabar_candles import load_intrabar

    levels = signals.level_columns
    has_levels = config.account.exits.has_levels or (levels is not None and levels.has_exits)
    return load_intrabar(store, window, config, has_levels=has_levels)
