"""Load the settings of a program: defaults, then a file, then the environment, then flags.

The settings of a program are a frozen struct whose fields are declared with `core.setting`. Of
several sources of a setting, the later one in this order takes precedence. Values are text until
they are converted to the declared type, so a number has one meaning in a file, in
`TRADER__ACCOUNT__CASH=500` and after `--cash`.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from onetape.cli.setting_sources import (
    TABLE,
    SettingSource,
    build_environment_tree,
    collect_given_settings,
)
from onetape.cli.setting_values import convert_ages, convert_setting_value
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.folders import CONFIG_FOLDER, USER_FOLDER
from onetape.core.message_text import format_os_error
from onetape.core.setting import DeclaredSetting, SettingsTree, collect_settings

S = TypeVar("S", bound=msgspec.Struct)
#: Errors that an invalid setting raises.
_SETTING_ERRORS: Final = (UsageError, ConfigurationError)


class SettingPlaces:
    """The place where each setting was given (flag, variable, line of a file), for errors."""

    def __init__(self, declared: Mapping[str, DeclaredSetting]) -> None:
        """Initialise without sources; `declared` has the program's settings by dotted key."""
        self._declared = declared
        self._sources: list[SettingSource] = []
        self._ranks: dict[str, int] = {}

    def add(self, source: SettingSource, keys: Sequence[str]) -> None:
        """Add the dotted keys that a source gives; it takes precedence over earlier sources."""
        self._sources.append(source)
        self._ranks.update(dict.fromkeys(keys, len(self._sources) - 1))

    def add_place(self, error: OnetapeError) -> OnetapeError:
        """Return an error of a setting with the place where the setting was given.

        The place is the line of a file, a variable or a flag. Of several settings that do not fit
        together, the one from the winning source is named. An error without a setting, or about a
        setting without a source, is returned unchanged.
        """
        given = [key for key in error.settings if key in self._ranks]
        if not given:
            return error
        key = max(given, key=self._ranks.__getitem__)
        source = self._sources[self._ranks[key]]
        declared_setting = self._declared.get(key)
        name = key.rpartition(".")[2] if declared_setting is None else declared_setting.name
        place, text = source.place(key), str(error)
        if source.is_flags:
            # --trading-rules is the name of its setting already; --fee is not that of fee_rate.
            is_name = place == f"--{name.replace('_', '-')}" and text.startswith(f"{name} ")
            text = f"{place}{text[len(name) :]}" if is_name else f"{place}: {text}"
        else:
            text = f"{place}: {text if name in text else f'{key}: {text}'}"
        return source.error_class(text)

    @contextmanager
    def add_places_to_errors(self) -> Generator[None]:
        """Add the place of the setting to an error about a setting that is raised in the block."""
        try:
            yield
        except _SETTING_ERRORS as error:
            placed = self.add_place(error)
            if placed is error:
                raise
            raise placed from error


class LoadedSettings(Generic[S]):
    """Loaded settings of a program, with the place where each was given."""

    def __init__(self, settings: S, places: SettingPlaces) -> None:
        """Initialise with the settings struct and the places of its settings."""
        self.settings = settings
        self.places = places
        self.run_text = ""
        """Text on strategy and parameters taken from a saved run; empty: no run was used."""


def find_settings_file(app: str, given: Path | None) -> Path | None:
    """Return the file to read: the given one, or else user/config/APP.yaml, or config/APP.yaml.

    Raises:
        ConfigurationError: the file given does not exist, or a folder may not be entered.
    """
    if given is not None:
        if not _is_file(given):
            raise ConfigurationError(f"{given} does not exist; --config names a YAML file")
        return given
    candidates = (find_own_settings_file(app), CONFIG_FOLDER / f"{app}.yaml")
    return next((path for path in candidates if _is_file(path)), None)


def find_own_settings_file(app: str) -> Path:
    """Return the path of the user's own settings file of a program; the file may be missing."""
    return USER_FOLDER / "config" / f"{app}.yaml"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ConfigurationError(
            f"{path} cannot be read: {format_os_error(error)}; make it readable, or name another "
            "file with --config"
        ) from error


def load_settings(
    model: type[S],
    app: str,
    file: Path | None,
    flags: SettingsTree,
    environment: Mapping[str, str] | None = None,
    *,
    reads_strategy: bool = True,
    run: tuple[SettingsTree, SettingSource] | None = None,
) -> LoadedSettings[S]:
    """Return the settings of a program: defaults, then file, then environment, then flags.

    The file of a freqtrade strategy may state settings too (strategy_settings.py). They replace
    defaults, also where the program's file repeats a default, and nothing else. So do the fees of a
    fee tier (fee_tier_setting.py); other fees next to a tier are refused.

    Args:
        model: Struct of the program's settings.
        app: Name of the program; `APP__SECTION__KEY` are its environment variables.
        file: File that `find_settings_file` returned.
        flags: Values by key, dotted or nested; None means not given.
        environment: Environment variables; by default those of the process.
        reads_strategy: Whether the strategy's file is read; a command that trades nothing does not
            need it, and works while the file is broken.
        run: Settings of a saved run (run_parameters.py), between environment and flags.

    Raises:
        ConfigurationError: the file or a variable cannot be used; names path and line, and the key.
        UsageError: a flag cannot be used.
    """
    declared = collect_settings(model)
    places = SettingPlaces(declared)
    values: SettingsTree = {}
    variables = os.environ if environment is None else environment
    is_fixed: set[str] = set()
    """Keys of settings that the strategy's file and a fee tier may not replace."""
    for tree, source in _iterate_sources(declared, app, file, variables, flags, run):
        keys: list[str] = []
        for declared_setting, value in collect_given_settings(declared, tree, source):
            found, entries, is_whole = convert_setting_value(declared_setting, value, source)
            old = values.get(declared_setting.key)
            is_added = isinstance(old, dict) and not (is_whole or source.replaces_tables)
            values[declared_setting.key] = (
                {**cast("SettingsTree", old), **found} if is_added else found
            )
            keys += [declared_setting.key, *entries]
            repeated = (declared_setting.default, declared_setting.file_value)
            if not source.is_file or found not in repeated:
                is_fixed.add(declared_setting.key)
        places.add(source, keys)
    name = values.get("strategy.name") if reads_strategy else None
    stated = _load_strategy_settings(name, declared)
    if stated is not None:
        tree, source = stated
        others = {key: value for key, value in tree.items() if key not in is_fixed}
        values.update(others)
        places.add(source, list(others))
    with places.add_places_to_errors():
        if stated is not None:
            _check_timeframe(values, *stated)
        _convert_ages_of_tables(values, declared)
        if values.get("account.fee_tier") is not None:
            # Few accounts name a fee tier.
            from onetape.cli.fee_tier_setting import collect_fee_rates

            values.update(collect_fee_rates(values, declared, is_fixed))
        return LoadedSettings(make_settings(model, values), places)


def _convert_ages_of_tables(values: SettingsTree, declared: Mapping[str, DeclaredSetting]) -> None:
    """Convert times such as `24h` in tables to numbers of candles of the program's timeframe.

    Raises:
        UsageError: a time is no whole number of candles, or the timeframe is invalid.
    """
    for key, value in values.items():
        if declared[key].kind == TABLE and any(isinstance(age, str) for age in value):
            timeframe = values.get("timeframe", declared["timeframe"].default)
            values[key] = convert_ages(value, timeframe)


def _load_strategy_settings(
    name: object, declared: Mapping[str, DeclaredSetting]
) -> tuple[SettingsTree, SettingSource] | None:
    """Return the settings that the file of the chosen strategy states; None: no settings."""
    path = name.rpartition(":")[0] or name if isinstance(name, str) else ""
    if not path.endswith(".py") and not (USER_FOLDER / "strategies" / f"{path}.py").is_file():
        return None
    # A built-in strategy costs no import.
    from onetape.cli.strategy_settings import load_strategy_source

    return load_strategy_source(str(name), declared)


def _check_timeframe(values: SettingsTree, tree: SettingsTree, source: SettingSource) -> None:
    """Refuse a timeframe that differs from the one that the strategy's file states.

    Raises:
        UsageError: the timeframes differ.
    """
    used, stated = values.get("timeframe"), tree.get("timeframe")
    if isinstance(used, str) and isinstance(stated, str):
        from onetape.strategies.freqtrade.stated_settings import check_timeframe

        check_timeframe(used, stated, source.place("timeframe"))


def _iterate_sources(
    declared: Mapping[str, DeclaredSetting],
    app: str,
    file: Path | None,
    environment: Mapping[str, str],
    flags: SettingsTree,
    run: tuple[SettingsTree, SettingSource] | None,
) -> Generator[tuple[SettingsTree, SettingSource]]:
    """Yield the settings of each source, with the source; a later one takes precedence."""
    if file is not None:
        # Only a file needs YAML, which takes 10 ms to import.
        from onetape.cli.settings_file import read_settings

        tree, lines = read_settings(file)

        def name_line(key: str) -> str:
            return f"{file}:{lines.get(key, 1)}"

        yield tree, SettingSource(name_line, ConfigurationError, is_file=True)

    def name_variable(key: str) -> str:
        return f"{app}__{key}".upper().replace(".", "__")

    yield build_environment_tree(app, environment), SettingSource(name_variable, ConfigurationError)

    if run is not None:
        yield run

    def name_flag(key: str) -> str:
        return get_flag(declared, key)

    yield flags, SettingSource(name_flag, UsageError)


def make_settings(model: type[S], values: Mapping[str, Any]) -> S:
    """Return the settings struct of a program with other values than the defaults.

    Args:
        model: Struct of the program's settings.
        values: Converted values by dotted key; settings without a value have their defaults.

    Raises:
        UsageError: a value is outside its declared bounds or choices; names the setting.
    """
    declared = collect_settings(model)
    return _replace_values(model(), {declared[key].path: value for key, value in values.items()})


def _replace_values(struct: S, values: Mapping[tuple[str, ...], Any]) -> S:
    """Return a struct with other values, by the names of the nested attributes."""
    changes = {path[0]: value for path, value in values.items() if len(path) == 1}
    for name in dict.fromkeys(path[0] for path in values if len(path) > 1):
        below = {path[1:]: value for path, value in values.items() if path[0] == name}
        changes[name] = _replace_values(getattr(struct, name), below)
    return msgspec.structs.replace(struct, **changes) if changes else struct


def get_flag(declared: Mapping[str, DeclaredSetting], key: str) -> str:
    """Return the flag of a dotted key: a setting, or an entry of one, as a strategy's parameter.

    A setting without a flag has the flag of the setting that it belongs to (`number_of`). Without
    that, the key itself is written as a flag.
    """
    name = key
    while name and name not in declared:
        name = name.rpartition(".")[0]
    if not name:
        return f"--{key.replace('_', '-')}"
    declared_setting = declared[name]
    if declared_setting.setting.number_of:
        declared_setting = declared[
            f"{name.rpartition('.')[0]}.{declared_setting.setting.number_of}"
        ]
    return declared_setting.flag or f"--{key.replace('_', '-')}"
