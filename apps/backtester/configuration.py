"""From flags, environment and settings file to the checked configuration of a backtest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backtester.settings import (
    BacktesterSettings,
    parse_benchmark,
    parse_symbols,
    parse_timeframe,
)
from onetape.backtest.config import BacktestConfig, StrategyChoice
from onetape.cli.dates import parse_range_flags
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.loading import LoadedSettings, SettingPlaces, find_settings_file, load_settings
from onetape.cli.stdout import claim_stdout
from onetape.core.dates import parse_moment
from onetape.core.errors import UsageError
from onetape.core.folders import USER_FOLDER, choose_database_path
from onetape.strategies.registry import check_choice


class ChosenBacktest(NamedTuple):
    """The backtest that flags, environment and file describe."""

    config: BacktestConfig
    """Configuration of the backtest."""
    report: Path | None
    """Path of the report; None: in the folder of the run."""
    places: SettingPlaces
    """Source of each setting (flag, variable or file), for later error messages."""


def load_chosen_backtest(given: Mapping[str, Any], command: str = "") -> ChosenBacktest:
    """Return the configuration of a backtest.

    Args:
        given: Values of the flags by parameter name, as Typer reads them; None: not given.
        command: Name of the subcommand; for `optimize` strategy parameters are ranges of values.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the file or the environment cannot be used.
    """
    if command == "optimize" and given["params_from"] is not None:
        raise UsageError(
            "--params-from is for a backtest; optimize takes the values to try with --param"
        )
    if command == "optimize" and given["benchmark"] is not None:
        raise UsageError(
            "--benchmark is for a backtest; optimize compares with buy and hold of its own symbol"
        )
    loaded = load_backtest_settings(given)
    settings = loaded.settings
    with loaded.places.add_places_to_errors():
        config = make_backtest_config(settings)
        parameters = None if command == "optimize" else settings.strategy.parameters
        check_choice(settings.strategy.name, parameters, USER_FOLDER)
    if loaded.run_text:
        from onetape.cli.output import note

        note(loaded.run_text)
    return ChosenBacktest(config, settings.report, loaded.places)


def load_backtest_settings(given: Mapping[str, Any]) -> LoadedSettings[BacktesterSettings]:
    """Return the unparsed settings of a backtest; arguments as in `load_chosen_backtest`."""
    # Called first by every command that runs a strategy's code, but not for `--help`.
    claim_stdout()
    from_, to = parse_range_flags(given["from_"], given["to"], given["timerange"])
    flags = collect_flag_values(BacktesterSettings, {**given, "from_": from_, "to": to})
    # A path may still be text, because Typer converts it only if it calls the function.
    config = None if given["config"] is None else Path(given["config"])
    file = find_settings_file("backtester", config)
    if given["params_from"] is not None:
        # Imported here, because few backtests need it.
        from backtester.run_parameters import load_with_run

        return load_with_run(file, flags, given["params_from"])
    return load_settings(BacktesterSettings, "backtester", file, flags)


def make_backtest_config(settings: BacktesterSettings) -> BacktestConfig:
    """Return the configuration of the run that the settings describe.

    Raises:
        UsageError: a setting cannot be used; names the setting.
    """
    return BacktestConfig(
        exchange=settings.exchange,
        symbols=parse_symbols(settings),
        timeframe=parse_timeframe(settings),
        start=None if settings.from_ is None else parse_moment(settings.from_, "from"),
        end=None if settings.to is None else parse_moment(settings.to, "to"),
        strategy=StrategyChoice(settings.strategy.name, settings.strategy.parameters, USER_FOLDER),
        account=settings.account,
        max_open_trades=settings.max_open_trades,
        timeframe_detail=settings.timeframe_detail,
        trading_rules=settings.trading_rules,
        risk_free_rate=settings.risk_free_rate,
        benchmark=parse_benchmark(settings),
        allow_gaps=settings.allow_gaps,
        check=settings.check,
        database=choose_database_path(settings.db, settings.exchange),
        db_flag=settings.db,
    )
