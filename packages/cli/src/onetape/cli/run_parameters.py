"""Load settings whose strategy and parameters come from a saved run: `--params-from RUN`.

The parameters of the run replace all parameters of the settings file and of the environment;
`--param` replaces single values of the run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from onetape.cli.loading import LoadedSettings, load_settings
from onetape.cli.setting_sources import SettingSource
from onetape.core.errors import UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import SettingsTree, collect_settings, get_setting_value
from onetape.strategies.registry import compute_strategy_file_digest, find_strategy_file

S = TypeVar("S", bound=msgspec.Struct)
_STRATEGY, _PARAMETERS = "strategy.name", "strategy.parameters"


class RunParameters(msgspec.Struct, frozen=True):
    """Strategy and parameters that a saved optimization or walk-forward has chosen."""

    run: str
    """Name of the run."""
    strategy: str
    """Strategy as `--strategy` takes it."""
    parameters: Mapping[str, str]
    """Value of each parameter by name, as `--param` takes it."""
    settings: Mapping[str, str]
    """Value of each other setting by its dotted key, such as `exits.stop_loss`."""
    origin: str
    """Text that names the run, the window and the candles that the parameters come from."""
    strategy_digest: str | None
    """SHA-256 of the strategy's file when the run was saved, empty for a built-in strategy; None:
    the run has not stored it."""


def load_settings_with_run(
    model: type[S], app: str, file: Path | None, flags: SettingsTree, run: RunParameters
) -> LoadedSettings[S]:
    """Return the settings of a program, with strategy and parameters of a saved run.

    Args:
        model: Struct of the program's settings, with a section `strategy`.
        app: Name of the program; `APP__SECTION__KEY` are its environment variables.
        file: File that `find_settings_file` returned.
        flags: Values of flags by dotted key; None means not given.
        run: Strategy and parameters of the saved run.

    Raises:
        UsageError: flags, environment or file name another strategy, or a flag cannot be used.
        ConfigurationError: the file or a variable cannot be used; names path and line, and the key.
    """
    setting = collect_settings(model)[_STRATEGY]
    without_run = load_settings(model, app, file, flags, reads_strategy=False).settings
    named = str(get_setting_value(without_run, setting))
    # A file that repeats the defaults names no strategy.
    is_named = flags.get(_STRATEGY) is not None or named != setting.default
    if is_named and not _is_same_strategy(named, run.strategy):
        raise UsageError(
            f"--params-from {run.run}: its parameters are those of strategy {run.strategy}, and "
            f"the settings name {named}; give --strategy {run.strategy}, or name a run of {named}"
        )
    used = {key: text for key, text in run.settings.items() if not _is_given(model, key, flags)}
    tree: SettingsTree = {_STRATEGY: run.strategy, _PARAMETERS: dict(run.parameters), **used}

    def place(key: str) -> str:
        del key
        return f"--params-from {run.run}"

    source = SettingSource(place, UsageError, replaces_tables=True)
    loaded = load_settings(model, app, file, flags, run=(tree, source))
    given = cast("Mapping[str, str]", flags.get(_PARAMETERS) or {})
    loaded.run_text = _describe_run_parameters(run, given, used)
    return loaded


def _is_given(model: type[msgspec.Struct], key: str, flags: SettingsTree) -> bool:
    """Return whether the flags set a setting, or the setting to whose kind its number belongs.

    A run's `equity_share`, for example, is not used if `--sizing` chooses another kind.
    """
    declared = collect_settings(model).get(key)
    kind = "" if declared is None else declared.setting.number_of
    keys = (key, f"{key.rpartition('.')[0]}.{kind}") if kind else (key,)
    return any(flags.get(given_key) is not None for given_key in keys)


def _describe_run_parameters(
    run: RunParameters, given: Mapping[str, str], used: Mapping[str, str]
) -> str:
    """Return which parameters a run has given, from where, and which ones flags give instead."""
    chosen = {**run.parameters, **used}
    values = ", ".join(f"{name}={value}" for name, value in chosen.items())
    by_flags = ", ".join(f"{name}={value}" for name, value in given.items())
    replaced = ", ".join(key for key in run.settings if key not in used)
    return (
        f"parameters of {run.strategy}: {values} from {run.origin}"
        f"{f'; by --param instead: {by_flags}' if by_flags else ''}"
        f"{f'; by flags instead: {replaced}' if replaced else ''}"
        f"{'; the strategy file has changed since: optimize again' if _has_changed(run) else ''}"
    )


def _has_changed(run: RunParameters) -> bool:
    """Return whether the strategy's file differs from the one that the run was made with."""
    if run.strategy_digest is None:
        return False
    return run.strategy_digest != compute_strategy_file_digest(run.strategy, USER_FOLDER)


def _is_same_strategy(first: str, second: str) -> bool:
    """Return whether two values of `--strategy` name the same strategy."""
    if first == second:
        return True
    files = [find_strategy_file(name, USER_FOLDER) for name in (first, second)]
    paths = [None if file is None else file.resolve() for file in files]
    classes = {name.rpartition(":")[2] for name in (first, second) if ".py:" in name}
    return paths[0] is not None and paths[0] == paths[1] and len(classes) <= 1
