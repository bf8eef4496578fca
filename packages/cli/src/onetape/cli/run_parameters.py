"""Settings with strategy and parameters of a saved run: `--params-from RUN`.

The run comes after the file and the environment, and before the flags: its parameters replace all
parameters of the file and of the environment, and `--param` replaces single values of the run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from onetape.cli.loading import Loaded, load_settings
from onetape.cli.setting_sources import Source
from onetape.core.errors import UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import Tree, collect_settings, get_setting_value
from onetape.strategies.registry import find_strategy_file

S = TypeVar("S", bound=msgspec.Struct)
_STRATEGY, _PARAMETERS = "strategy.name", "strategy.parameters"


class RunParameters(msgspec.Struct, frozen=True):
    """Strategy and parameters that a saved run has chosen."""

    run: str
    """Name of the run."""
    strategy: str
    """Strategy as `--strategy` takes it."""
    parameters: Mapping[str, str]
    """Values as `--param` takes them."""
    origin: str
    """Run, window and candles that the parameters come from, in words."""


def load_settings_with_run(
    model: type[S], app: str, file: Path | None, flags: Tree, run: RunParameters
) -> Loaded[S]:
    """Return the settings of a program, with strategy and parameters of a saved run.

    Args:
        model: See `load_settings`; with the settings of a strategy.
        app: See `load_settings`.
        file: See `load_settings`.
        flags: See `load_settings`; dotted keys.
        run: The saved run.

    Raises:
        UsageError: flags, environment or file name another strategy; or as `load_settings`.
        ConfigurationError: as `load_settings`.
    """
    setting = collect_settings(model)[_STRATEGY]
    own = load_settings(model, app, file, flags, reads_strategy=False).settings
    named = str(get_setting_value(own, setting))
    # A file that repeats the defaults names no strategy.
    is_named = flags.get(_STRATEGY) is not None or named != setting.default
    if is_named and not _is_same_strategy(named, run.strategy):
        raise UsageError(
            f"--params-from {run.run}: its parameters are those of strategy {run.strategy}, and "
            f"the settings name {named}; give --strategy {run.strategy}, or name a run of {named}"
        )
    tree: Tree = {_STRATEGY: run.strategy, _PARAMETERS: dict(run.parameters)}

    def place(key: str) -> str:
        del key
        return f"--params-from {run.run}"

    source = Source(place, UsageError, replaces_tables=True)
    loaded = load_settings(model, app, file, flags, run=(tree, source))
    given = cast("Mapping[str, str]", flags.get(_PARAMETERS) or {})
    loaded.run_text = _text(run, given)
    return loaded


def _text(run: RunParameters, given: Mapping[str, str]) -> str:
    """Return which parameters a run has given, from where, and which ones flags give instead."""
    values = ", ".join(f"{name}={value}" for name, value in run.parameters.items())
    own = ", ".join(f"{name}={value}" for name, value in given.items())
    return (
        f"parameters of {run.strategy}: {values} from {run.origin}"
        f"{f'; by --param instead: {own}' if own else ''}"
    )


def _is_same_strategy(first: str, second: str) -> bool:
    """Return whether two texts that `--strategy` takes name one strategy."""
    if first == second:
        return True
    files = [find_strategy_file(name, USER_FOLDER) for name in (first, second)]
    paths = [None if file is None else file.resolve() for file in files]
    classes = {name.rpartition(":")[2] for name in (first, second) if ".py:" in name}
    return paths[0] is not None and paths[0] == paths[1] and len(classes) <= 1
