"""Settings of a trader with strategy and parameters of a saved run: `--params-from RUN`."""

from pathlib import Path

from msgspec import structs

from onetape.backtest.storage.choices import load_choice
from onetape.cli.loading import LoadedSettings, load_settings
from onetape.cli.run_parameters import RunParameters, load_settings_with_run
from onetape.core.setting import SettingsTree
from trader.settings import TraderSettings
from trader.traded_symbols import parse_traded_symbols


def load_trader_settings(
    file: Path | None, flags: SettingsTree, name: str | None
) -> LoadedSettings[TraderSettings]:
    """Read the settings of a trader, with strategy and parameters of a saved run if one is named.

    Args:
        file: Settings file; None: there is none.
        flags: Values of the flags by dotted key.
        name: Saved run whose strategy and parameters are taken, named as for `load_choice`; None:
            strategy and parameters are those of the settings.

    Raises:
        UsageError: no such run, a run without a choice, or one of another strategy, symbol or
            timeframe; or a flag cannot be used.
        ConfigurationError: the choice, the file or the environment cannot be used.
    """
    if name is None:
        return load_settings(TraderSettings, "trader", file, flags)
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
    loaded = load_settings_with_run(TraderSettings, "trader", file, flags, run)
    settings = loaded.settings
    with loaded.places.add_places_to_errors():
        symbols = parse_traded_symbols(settings)
    shared = [one.key.symbol for one in symbols if one.strategy == settings.strategy]
    saved.check_series(shared, symbols[0].key.timeframe)
    loaded.settings = structs.replace(settings, params_from=saved.origin)
    return loaded
