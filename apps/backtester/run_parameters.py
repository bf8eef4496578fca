"""`--params-from RUN`: settings of a backtest with strategy and parameters of a saved choice."""

from pathlib import Path

from backtester.settings import BacktesterSettings, parse_symbols, parse_timeframe
from onetape.backtest.storage.choices import load_choice
from onetape.cli.loading import LoadedSettings
from onetape.cli.run_parameters import RunParameters, load_settings_with_run
from onetape.core.setting import SettingsTree


def load_with_run(
    file: Path | None, flags: SettingsTree, name: str
) -> LoadedSettings[BacktesterSettings]:
    """Return the settings of a backtest, with strategy and parameters of a saved run.

    Args:
        file: Settings file; None: the default files.
        flags: Values of the flags by dotted key.
        name: Name of the run, as `load_choice` takes it.

    Raises:
        UsageError: no such run, a run without a choice, or one of another strategy, symbol or
            timeframe; or a flag cannot be used.
        ConfigurationError: the choice, the file or the environment cannot be used.
    """
    saved = load_choice(name)
    choice = saved.choice
    run = RunParameters(
        run=saved.folder.name,
        strategy=choice.strategy,
        parameters=saved.parameters,
        settings=choice.settings,
        origin=saved.origin,
        strategy_digest=choice.strategy_digest,
    )
    loaded = load_settings_with_run(BacktesterSettings, "backtester", file, flags, run)
    with loaded.places.add_places_to_errors():
        symbols, timeframe = parse_symbols(loaded.settings), parse_timeframe(loaded.settings)
    saved.check_series(symbols, timeframe)
    return loaded
