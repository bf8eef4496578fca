"""Saving of the chosen parameters of an optimization or walk-forward, next to its results."""

from collections.abc import Sequence
from pathlib import Path

from onetape.backtest.config import BacktestConfig
from onetape.backtest.storage.choices import Choice, save_choice
from onetape.core.folders import USER_FOLDER
from onetape.optimization.account_parameters import (
    collect_setting_texts,
    select_strategy_parameters,
)
from onetape.optimization.evaluate import SearchContext
from onetape.optimization.ranking import TrialResult
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.space import ParameterSet, format_parameter_value
from onetape.optimization.walk_forward import WindowChoice
from onetape.strategies.registry import compute_strategy_file_digest


def save_best(
    folder: Path,
    config: BacktestConfig,
    options: SearchOptions,
    context: SearchContext,
    best: TrialResult | None,
) -> None:
    """Save the best ranked combination of an optimization.

    Args:
        folder: Folder of the optimization.
        config: Configuration of the backtests.
        options: Options of the optimization.
        context: Candles and rules of the optimization.
        best: Best combination; None: none is ranked, which is saved too.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    choice = Choice(
        kind="optimization",
        strategy=config.strategy.name,
        strategy_digest=compute_strategy_file_digest(config.strategy.name, USER_FOLDER),
        exchange=config.key.exchange,
        symbol=config.key.symbol,
        timeframe=config.key.timeframe,
        rank=list(options.metrics),
        min_trades=options.min_trades,
        start=context.window.start,
        end=context.split,
        parameters=None if best is None else _format_parameters(best["parameters"]),
        settings={} if best is None else collect_setting_texts(best["parameters"]),
    )
    save_choice(folder, choice)


def save_newest(
    folder: Path, config: BacktestConfig, options: SearchOptions, windows: Sequence[WindowChoice]
) -> None:
    """Save the choice of the newest window of a walk-forward.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    newest = windows[-1]
    choice = Choice(
        kind="walk-forward",
        strategy=config.strategy.name,
        strategy_digest=compute_strategy_file_digest(config.strategy.name, USER_FOLDER),
        exchange=config.key.exchange,
        symbol=config.key.symbol,
        timeframe=config.key.timeframe,
        rank=list(options.metrics),
        min_trades=options.min_trades,
        start=newest.train_start,
        end=newest.test_start,
        windows=len(windows),
        parameters=None if newest.parameters is None else _format_parameters(newest.parameters),
    )
    save_choice(folder, choice)


def _format_parameters(parameters: ParameterSet) -> dict[str, str]:
    """Return the values of a combination that the strategy takes, as `--param` takes them."""
    values = select_strategy_parameters(parameters)
    return {name: format_parameter_value(value) for name, value in values.items()}
