"""A backtest from its configuration to the result: read candles, evaluate, simulate, measure."""

import time
from typing import Any

from msgspec.structs import replace

from onetape.backtest.bias_check import check_run
from onetape.backtest.candle_windows import open_run_database
from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import Backtest, BenchmarkMarket, SymbolInput, SymbolRun
from onetape.backtest.symbol_inputs import read_symbols
from onetape.core.market_digits import choose_market_digits
from onetape.core.symbols import split_symbol
from onetape.engine import (
    PortfolioResult,
    SimulationResult,
    SymbolSeries,
    compute_metrics,
    simulate,
    simulate_portfolio,
)
from onetape.engine.cost_free import compute_cost_free_equity, remove_costs
from onetape.store.database import Store
from onetape.strategies import Strategy, collect_parameters
from onetape.strategies.segments import (
    UnexplainedGaps,
    drop_entries_before_gaps,
    end_limits_at_gaps,
)


def run_backtest(config: BacktestConfig, *, with_indicators: bool = True) -> Backtest:
    """Return the finished backtest of a configuration; reads the database only.

    Args:
        config: Configuration of the run.
        with_indicators: Whether the result has the strategy's indicators, which only a report and
            `explain` show; two columns take a third of the memory of the candles.

    Raises:
        OnetapeError: see the class of the error.
    """
    began = time.monotonic()
    strategy = config.strategy.load()
    with open_run_database(config) as store:
        inputs, notes = read_symbols(store, config, strategy, with_indicators=with_indicators)
        portfolio = _simulate_account(inputs, config)
        without_costs = _compute_return_without_costs(inputs, config, portfolio)
        benchmark = _read_benchmark(store, config, inputs)
    backtest = _make_backtest(config, strategy, inputs, portfolio, notes, began, benchmark)
    return replace(backtest, return_without_costs=without_costs)


def run_inputs(
    config: BacktestConfig,
    strategy: Strategy,
    inputs: list[SymbolInput],
    began: float,
    range_notes: tuple[str, ...] = (),
) -> Backtest:
    """Return the finished backtest of symbols that are read and evaluated already.

    Args:
        config: Configuration of the run.
        strategy: The strategy that made the signals.
        inputs: The symbols.
        began: Time at which the run began, by `time.monotonic`.
        range_notes: Sentences on ranges of symbols that are not traded.
    """
    portfolio = _simulate_account(inputs, config)
    without_costs = _compute_return_without_costs(inputs, config, portfolio)
    backtest = _make_backtest(config, strategy, inputs, portfolio, range_notes, began)
    return replace(backtest, return_without_costs=without_costs)


def _read_benchmark(
    store: Store, config: BacktestConfig, inputs: list[SymbolInput]
) -> BenchmarkMarket | None:
    """Return the market that buy and hold holds; None: the traded symbols.

    Raises:
        DataError: the candles of the benchmark are not stored.
    """
    if config.benchmark is None:
        return None
    # Most runs have no other benchmark: the import would cost each of them a millisecond.
    from onetape.backtest.benchmark_market import load_benchmark

    return load_benchmark(store, config, config.benchmark, inputs[0].window)


def _make_backtest(
    config: BacktestConfig,
    strategy: Strategy,
    inputs: list[SymbolInput],
    portfolio: PortfolioResult,
    range_notes: tuple[str, ...],
    began: float,
    benchmark: BenchmarkMarket | None = None,
) -> Backtest:
    """Return the record of a finished run, with its metrics."""
    metrics = compute_metrics(
        portfolio if len(inputs) > 1 else portfolio.parts[0],
        risk_free_rate=config.risk_free_rate,
        benchmark=None if benchmark is None else (benchmark.candles, benchmark.rules),
    )
    return Backtest(
        config=config,
        strategy=strategy,
        strategy_name=strategy.name
        if not config.own_strategies
        else _format_strategy_names(config),
        parameters=_collect_parameters(config, strategy),
        runs=tuple(
            _make_symbol_run(one, part) for one, part in zip(inputs, portfolio.parts, strict=True)
        ),
        portfolio=portfolio,
        metrics=metrics,
        range_notes=range_notes,
        strategy_note=_get_strategy_note(strategy),
        seconds=round(time.monotonic() - began, 3),
        benchmark=benchmark,
    )


def _format_strategy_names(config: BacktestConfig) -> str:
    """Return the names of the strategies of all symbols."""
    chosen = [config.own_strategies.get(one, config.strategy) for one in config.symbols]
    return ", ".join(dict.fromkeys(one.load().name for one in chosen))


def _collect_parameters(config: BacktestConfig, strategy: Strategy) -> dict[str, Any]:
    """Return the parameters of the strategy; of several, the strategy of each symbol as text."""
    if not config.own_strategies:
        return {info.name: getattr(strategy, info.name) for info in collect_parameters(strategy)}
    loaded = {one: config.own_strategies.get(one, config.strategy).load() for one in config.symbols}
    return {
        symbol: " ".join(
            [
                symbol_strategy.name,
                *(
                    f"{info.name}={getattr(symbol_strategy, info.name)}"
                    for info in collect_parameters(symbol_strategy)
                ),
            ]
        )
        for symbol, symbol_strategy in loaded.items()
    }


def _get_strategy_note(strategy: Strategy) -> str:
    """Return the note for users about the strategy's own code; empty: no note."""
    if not hasattr(type(strategy), "function"):
        # The strategy is one of a freqtrade file; importing its class here would load pandas.
        return getattr(type(strategy), "without_effect", "")
    # Imported here, because the import takes a millisecond and most strategies are classes.
    from onetape.strategies.functions import format_capture_warning

    return format_capture_warning(strategy)


def _simulate_account(inputs: list[SymbolInput], config: BacktestConfig) -> PortfolioResult:
    """Return the result of the account; one symbol takes the fast path of the engine."""
    series = [
        SymbolSeries(
            symbol=run.window.key.symbol,
            candles=run.window.candles,
            # A BUY right before an unexplained gap is not traded: the next open is unknown.
            signal=drop_entries_before_gaps(run.signals.signal, UnexplainedGaps(run.window.gaps)),
            start_index=run.window.warm_up,
            trading_rules=run.trading_rules,
            intrabar=run.intrabar,
            has_volume=run.has_volume,
            levels=end_limits_at_gaps(run.signals.level_columns, UnexplainedGaps(run.window.gaps)),
        )
        for run in inputs
    ]
    if len(series) > 1:
        return simulate_portfolio(series, config.account, config.max_open_trades)
    only, rules = series[0], replace(config.account, trading_rules=series[0].trading_rules)
    result = simulate(
        only.candles,
        only.signal,
        rules,
        start_index=only.start_index,
        intrabar=only.intrabar,
        has_volume=only.has_volume,
        levels=only.levels,
    )
    return PortfolioResult(
        rules=rules,
        max_open_trades=config.max_open_trades,
        parts=(result,),
        timestamp=result.candles.timestamp,
        equity=result.equity,
        cash=result.cash,
        skipped_entries=0,
    )


def _compute_return_without_costs(
    inputs: list[SymbolInput], config: BacktestConfig, portfolio: PortfolioResult
) -> float | None:
    """Return the total return of the same run without costs, as a ratio.

    Args:
        inputs: The symbols of the run.
        config: Configuration of the run.
        portfolio: Result of the run.

    Returns:
        None for an account without costs.
    """
    free = remove_costs(config.account)
    if free == config.account:
        return None
    equity = compute_cost_free_equity(portfolio)
    if equity is None:
        equity = _simulate_account(inputs, replace(config, account=free)).final_equity
    return equity / free.cash - 1.0


def _make_symbol_run(source: SymbolInput, result: SimulationResult) -> SymbolRun:
    """Return the finished run of one symbol, with its bias check."""
    rules, window = result.rules, source.window
    return SymbolRun(
        window=window,
        higher=source.higher,
        signals=source.signals,
        segments=source.segments,
        result=result,
        trading_rules_text=source.trading_rules_text,
        digits=choose_market_digits(
            rules.trading_rules, result.candles, split_symbol(window.key.symbol)[1], rules.cash
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
