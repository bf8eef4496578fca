"""Run a backtest: read the candles, evaluate the strategy, simulate the account, measure."""

import time

from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.bias_check import check_run
from onetape.backtest.common_range import CommonRange, common_range
from onetape.backtest.config import BacktestConfig
from onetape.backtest.data import load_window, open_run_database, series_has_volume
from onetape.backtest.higher_timeframe import load_higher
from onetape.backtest.models import Backtest, CandleWindow, HigherTimeframes, SymbolRun
from onetape.backtest.trading_rules import market_rules
from onetape.backtest.warm_up import run_segments
from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.core.market_digits import market_digits
from onetape.core.steps import MarketSteps
from onetape.core.symbols import base_and_quote
from onetape.engine import (
    Detail,
    Portfolio,
    Result,
    Series,
    metrics_of,
    simulate,
    simulate_together,
)
from onetape.store.database import Store
from onetape.strategies import Signals, Strategy, lookback_of
from onetape.strategies.segments import (
    Holes,
    Segment,
    signals_by_segment,
    without_entries_before_holes,
)


class SymbolInput(Struct, frozen=True):
    """One symbol, read and evaluated, before the account trades it."""

    config: BacktestConfig
    """Configuration of this symbol alone."""
    window: CandleWindow
    higher: HigherTimeframes
    segments: tuple[Segment, ...]
    """Parts of the candles without an unexplained hole."""
    signals: Signals
    seconds: float
    """Duration of the evaluation, seconds."""
    steps: MarketSteps
    """Price and amount rules of the market."""
    market: str
    """Description of the price and amount rounding, for output."""
    detail: Detail | None
    """Reader of finer candles; None: none are used."""
    has_volume: bool
    """Whether any stored candle of the series has volume."""


def run_backtest(config: BacktestConfig, *, with_indicators: bool = True) -> Backtest:
    """Return the finished backtest of a configuration; reads the database only.

    Args:
        config: Configuration of the run.
        with_indicators: Whether the signals keep the strategy's indicators, which only a report and
            `explain` show; those of two columns take a third of the memory of the candles.

    Raises:
        OnetapeError: as the class of the error says.
    """
    began = time.monotonic()
    strategy = config.strategy.load()
    with open_run_database(config) as store:
        common = common_range(store, config) if len(config.symbols) > 1 else None
        inputs: list[SymbolInput] = []
        for key in config.keys:
            read = _read_symbol(store, config, key, strategy, common)
            inputs.append(read if with_indicators else _without_indicators(read))
        portfolio = _simulate(inputs, config)
    metrics = metrics_of(portfolio if len(inputs) > 1 else portfolio.parts[0])
    return Backtest(
        config=config,
        strategy=strategy,
        runs=tuple(
            _symbol_run(one, part) for one, part in zip(inputs, portfolio.parts, strict=True)
        ),
        portfolio=portfolio,
        metrics=metrics,
        range_notes=() if common is None else common.notes,
        seconds=round(time.monotonic() - began, 3),
    )


def _read_symbol(
    store: Store,
    config: BacktestConfig,
    key: SeriesKey,
    strategy: Strategy,
    common: CommonRange | None,
) -> SymbolInput:
    """Return one symbol, read and evaluated.

    Args:
        store: The open database.
        config: Configuration of the run.
        key: Series of the symbol.
        strategy: The strategy.
        common: The range of all symbols; None: there is one symbol.

    Raises:
        DataError: no closed candle lies in the range, or nothing is stored.
        OnetapeError: as `load_window` and `signals_by_segment` say.
    """
    own = config.of_symbol(key.symbol)
    if common is not None:
        own = replace(own, start=common.start, end=common.end)
    window = load_window(store, key, own, lookback=lookback_of(strategy))
    if common is not None:
        left_out = common.left_out.get(key.symbol, window.left_out)
        window = replace(window, left_out=left_out)
    if not len(window.candles) - window.warm_up:
        raise DataError(f"{key} has no closed candle in the range; choose a longer one")
    higher = load_higher(store, window, strategy, own)
    steps, market = market_rules(store, key, own, window.candles)
    segments = run_segments(window, higher, strategy)
    began = time.monotonic()
    signals = signals_by_segment(strategy, window.candles, higher.candles, segments)
    return SymbolInput(
        config=own,
        window=window,
        higher=higher,
        segments=segments,
        signals=signals,
        seconds=time.monotonic() - began,
        steps=steps,
        market=market,
        detail=_intrabar_reader(store, window, own),
        has_volume=series_has_volume(store, window),
    )


def _without_indicators(source: SymbolInput) -> SymbolInput:
    return replace(source, signals=replace(source.signals, indicators={}, overlays=frozenset()))


def _intrabar_reader(store: Store, window: CandleWindow, config: BacktestConfig) -> Detail | None:
    """Return the reader of finer candles, or None where none are wanted or needed.

    Raises:
        DataError: none is stored in the range.
    """
    if config.detail_timeframe is None:
        return None
    # Most runs use no finer candles: the import would cost each of them a millisecond.
    from onetape.backtest.intrabar import detail_from

    return detail_from(store, window, config)


def _simulate(inputs: list[SymbolInput], config: BacktestConfig) -> Portfolio:
    """Return the result of the account; one symbol takes the fast path of the engine."""
    series = [
        Series(
            symbol=one.window.key.symbol,
            candles=one.window.candles,
            # A BUY right before an unexplained hole is not traded: the next open is unknown.
            signal=without_entries_before_holes(one.signals.signal, Holes(one.window.holes)),
            start_index=one.window.warm_up,
            steps=one.steps,
            detail=one.detail,
            has_volume=one.has_volume,
        )
        for one in inputs
    ]
    if len(series) > 1:
        return simulate_together(series, config.account, config.max_open_trades)
    only, rules = series[0], replace(config.account, steps=series[0].steps)
    result = simulate(
        only.candles,
        only.signal,
        rules,
        start_index=only.start_index,
        detail=only.detail,
        has_volume=only.has_volume,
    )
    return Portfolio(
        rules=rules,
        max_open_trades=config.max_open_trades,
        parts=(result,),
        timestamp=result.candles.timestamp,
        equity=result.equity,
        cash=result.cash,
        skipped_entries=0,
    )


def _symbol_run(source: SymbolInput, result: Result) -> SymbolRun:
    """Return the finished run of one symbol, with its bias check."""
    rules, window = result.rules, source.window
    return SymbolRun(
        window=window,
        higher=source.higher,
        signals=source.signals,
        segments=source.segments,
        result=result,
        market=source.market,
        digits=market_digits(
            rules.steps, result.candles, base_and_quote(window.key.symbol)[1], rules.cash
        ),
        check=check_run(
            source.config,
            window,
            source.higher.candles,
            source.segments,
            source.signals,
            source.seconds,
        ),
    )
