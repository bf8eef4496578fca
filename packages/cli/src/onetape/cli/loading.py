"""Load the settings of a program: defaults, then a file, then the environment, then flags.

The settings of a program are a frozen struct whose fields are declared with `core.setting`.
Values travel as text until they are converted to the declared type, so a number means the same in
a file, in `TRADER__ACCOUNT__CASH=500` and after `--cash`.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from onetape.cli.setting_sources import Source, build_environment_tree, collect_given_settings
from onetape.cli.setting_values import convert_setting_value
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.folders import CONFIG_FOLDER, USER_FOLDER
from onetape.core.message_text import format_os_error
from onetape.core.setting import Declared, Tree, collect_settings

S = TypeVar("S", bound=msgspec.Struct)
#: Errors that a wrong setting may end with.
_FAULTS: Final = (UsageError, ConfigurationError)


class SettingPlaces:
    """Source that gave each setting: flag, variable, file or default."""

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        """Initialise with the program's declared settings and their defaults."""
        self._declared = declared
        self._sources: list[Source] = []
        self._ranks: dict[str, int] = {}

    def add(self, source: Source, keys: Sequence[str]) -> None:
        """Add the keys of a source, which takes precedence over all earlier sources."""
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
        one = self._declared.get(key)
        name = key.rpartition(".")[2] if one is None else one.name
        place, text = source.place(key), str(error)
        if source.is_flags:
            # --trading-rules names its setting itself; --fee does not name fee_rate.
            is_name = place == f"--{name.replace('_', '-')}" and text.startswith(f"{name} ")
            text = f"{place}{text[len(name) :]}" if is_name else f"{place}: {text}"
        else:
            text = f"{place}: {text if name in text else f'{key}: {text}'}"
        return source.error_class(text)

    @contextmanager
    def adding_places_to_errors(self) -> Generator[None]:
        """Add the place of a setting to an error about it that is raised in the block."""
        try:
            yield
        except _FAULTS as error:
            placed = self.add_place(error)
            if placed is error:
                raise
            raise placed from error


class Loaded(Generic[S]):
    """Settings of a program, with the source of each."""

    def __init__(self, settings: S, places: SettingPlaces) -> None:
        """Take the settings and their sources."""
        self.settings = settings
        self.places = places
        self.run_text = ""
        """Strategy and parameters that a saved run gave, in words; empty: no run gave any."""


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
    """Return the path of the user's own settings file of a program; it may be missing."""
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
    flags: Tree,
    environment: Mapping[str, str] | None = None,
    *,
    reads_strategy: bool = True,
    run: tuple[Tree, Source] | None = None,
) -> Loaded[S]:
    """Return the settings of a program: defaults, then file, then environment, then flags.

    Values from the file of a freqtrade strategy come before variables and flags, and before values
    of the program's file that are the defaults (strategy_settings.py).

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
    values: Tree = {}
    variables = os.environ if environment is None else environment
    is_fixed: set[str] = set()
    """Settings that a strategy's file does not change."""
    for tree, source in _iterate_sources(declared, app, file, variables, flags, run):
        keys: list[str] = []
        for one, value in collect_given_settings(declared, tree, source):
            found, entries, is_whole = convert_setting_value(one, value, source)
            old = values.get(one.key)
            is_added = isinstance(old, dict) and not (is_whole or source.replaces_tables)
            values[one.key] = {**cast("Tree", old), **found} if is_added else found
            keys += [one.key, *entries]
            if not source.is_file or found != one.default:
                is_fixed.add(one.key)
        places.add(source, keys)
    name = values.get("strategy.name") if reads_strategy else None
    stated = _load_strategy_settings(name, declared)
    if stated is not None:
        tree, source = stated
        own = {key: value for key, value in tree.items() if key not in is_fixed}
        values.update(own)
        places.add(source, list(own))
    with places.adding_places_to_errors():
        if stated is not None:
            _check_timeframe(values, *stated)
        return Loaded(make_settings(model, values), places)


def _load_strategy_settings(
    name: object, declared: Mapping[str, Declared]
) -> tuple[Tree, Source] | None:
    """Return the settings that the file of the chosen strategy states; None: no settings."""
    path = name.rpartition(":")[0] or name if isinstance(name, str) else ""
    if not path.endswith(".py") and not (USER_FOLDER / "strategies" / f"{path}.py").is_file():
        return None
    # A built-in strategy costs no import.
    from onetape.cli.strategy_settings import load_strategy_source

    return load_strategy_source(str(name), declared)


def _check_timeframe(values: Tree, tree: Tree, source: Source) -> None:
    """Refuse another timeframe than the one that the file of the strategy states."""
    used, own = values.get("timeframe"), tree.get("timeframe")
    if isinstance(used, str) and isinstance(own, str):
        from onetape.strategies.freqtrade.stated_settings import check_timeframe

        check_timeframe(used, own, source.place("timeframe"))


def _iterate_sources(
    declared: Mapping[str, Declared],
    app: str,
    file: Path | None,
    environment: Mapping[str, str],
    flags: Tree,
    run: tuple[Tree, Source] | None,
) -> Generator[tuple[Tree, Source]]:
    """Yield the settings of each source, with the source; a later one takes precedence."""
    if file is not None:
        # Only a file needs YAML, which takes 10 ms to import.
        from onetape.cli.settings_file import read_settings

        tree, lines = read_settings(file)

        def name_line(key: str) -> str:
            return f"{file}:{lines.get(key, 1)}"

        yield tree, Source(name_line, ConfigurationError, is_file=True)

    def name_variable(key: str) -> str:
        return f"{app}__{key}".upper().replace(".", "__")

    yield build_environment_tree(app, environment), Source(name_variable, ConfigurationError)

    if run is not None:
        yield run

    def name_flag(key: str) -> str:
        return get_flag(declared, key)

    yield flags, Source(name_flag, UsageError)


def make_settings(model: type[S], values: Mapping[str, Any]) -> S:
    """Return the settings of a program with these values, by dotted key; others keep defaults.

    Raises:
        UsageError: a value that its struct refuses; names the setting.
    """
    declared = collect_settings(model)
    return _replace_values(model(), {declared[key].path: value for key, value in values.items()})


def _replace_values(struct: S, values: Mapping[tuple[str, ...], Any]) -> S:
    """Return a struct with other values, by the attributes that lead to them."""
    own = {path[0]: value for path, value in values.items() if len(path) == 1}
    for name in dict.fromkeys(path[0] for path in values if len(path) > 1):
        below = {path[1:]: value for path, value in values.items() if path[0] == name}
        own[name] = _replace_values(getattr(struct, name), below)
    return msgspec.structs.replace(struct, **own) if own else struct


def get_flag(declared: Mapping[str, Declared], key: str) -> str:
    """Return the flag of a setting, or of an entry of it, such as a strategy's parameter."""
    name = key
    while name and name not in declared:
        name = name.rpartition(".")[0]
    if not name:
        return f"--{key.replace('_', '-')}"
    one = declared[name]
    if one.setting.number_of:
        one = declared[f"{name.rpartition('.')[0]}.{one.setting.number_of}"]
    return one.flag or f"--{key.replace('_', '-')}"
