"""Read the settings that a freqtrade strategy states in its own file: stops, targets, timeframe."""

from collections.abc import Mapping

from onetape.cli.setting_sources import SettingSource
from onetape.core.errors import ConfigurationError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import DeclaredSetting, SettingsTree
from onetape.strategies.registry import read_stated_settings


def load_strategy_source(
    name: str, declared: Mapping[str, DeclaredSetting]
) -> tuple[SettingsTree, SettingSource] | None:
    """Return the settings that a strategy's file states, by dotted key; None: none.

    Args:
        name: Strategy as `load_strategy` takes it.
        declared: Settings of the program by dotted key; other settings of the file are left out.

    Raises:
        UsageError: the file does not have the class that `name` names.
        ConfigurationError: a value of the file cannot be used.
    """
    found = read_stated_settings(name, USER_FOLDER)
    if found is None:
        return None
    tree = {key: value for key, value in found.values.items() if key in declared}
    return tree, SettingSource(found.place, ConfigurationError)
