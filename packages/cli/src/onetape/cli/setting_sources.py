"""Collect the settings that a file, the environment or the flags give, before their conversion.

Unknown keys are refused here, with the most similar known key.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, cast

from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.message_text import suggest_name
from onetape.core.setting import DeclaredSetting, SettingsTree

#: Type of a setting that may be written as one text, such as `0=2%,24h=0.5%`. The text replaces the
#: whole table of an earlier source; entries that are given one by one are merged with it.
TABLE: Final = dict[int, float]
#: NUL, which ends a text in C; surrogates, which stand for bytes of an argument that is no UTF-8.
_FORBIDDEN: Final = "[\0\ud800-\udfff]"


class SettingSource(NamedTuple):
    """A source of settings: a file, the environment, a saved run, or the command line."""

    place: Callable[[str], str]
    """Function that returns the place of a dotted key as text: a flag, a variable, `FILE:LINE`."""
    error_class: type[OnetapeError]
    """Class of the error about an invalid value from this source."""
    is_file: bool = False
    """Whether the source is the program's settings file, which may repeat the defaults."""
    replaces_tables: bool = False
    """Whether a table of this source replaces that of earlier sources instead of adding entries."""

    @property
    def is_flags(self) -> bool:
        """Return whether the source is the command line."""
        return self.error_class is UsageError

    def make_error(self, key: str, text: str) -> OnetapeError:
        """Return the error about a key, whose text names the place of the setting."""
        return self.error_class(f"{self.place(key)}: {text}", setting=key)


def collect_given_settings(
    declared: Mapping[str, DeclaredSetting],
    tree: SettingsTree,
    source: SettingSource,
    prefix: str = "",
) -> list[tuple[DeclaredSetting, object]]:
    """Return each setting that a source gives, with its value before conversion.

    Args:
        declared: Declared settings of the program.
        tree: Values by key, dotted or nested; None: not given.
        source: Source of the settings.
        prefix: Dotted key of the section that `tree` is, with a dot at its end; empty: no section.

    Raises:
        ConfigurationError: the program has no such key, or a text is not UTF-8.
        UsageError: a flag has an invalid value.
    """
    found: list[tuple[DeclaredSetting, object]] = []
    for name, value in tree.items():
        key = prefix + name
        _check_text(name, key, source)
        if value is None or (source.is_flags and value == []):
            continue
        if key in declared:
            _check_text(value, key, source)
            found.append((declared[key], value))
        elif not any(setting_key.startswith(f"{key}.") for setting_key in declared):
            below = (
                setting_key.removeprefix(prefix)
                for setting_key in declared
                if setting_key.startswith(prefix)
            )
            hint = suggest_name(
                name, dict.fromkeys(setting_key.partition(".")[0] for setting_key in below)
            )
            raise source.make_error(key, f"unknown key {key!r}{hint}")
        elif isinstance(value, dict):
            found += collect_given_settings(
                declared, cast("SettingsTree", value), source, f"{key}."
            )
        else:
            raise source.make_error(key, f"{key}: expected object, found {value!r}")
    return found


def _check_text(value: object, key: str, source: SettingSource) -> None:
    """Refuse a text that is not UTF-8 or has a NUL character, and an empty flag."""
    if isinstance(value, Mapping):
        for name, below in cast("Mapping[str, object]", value).items():
            _check_text(name, key, source)
            _check_text(below, f"{key}.{name}", source)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _check_text(item, key, source)
    elif source.is_flags and isinstance(value, str) and not value.strip():
        raise UsageError(
            f"{source.place(key)} is empty; give it a value, or leave it out", setting=key
        )
    elif isinstance(value, str | Path) and _is_no_text(str(value)):
        raise source.make_error(key, f"{key}: {str(value)!r} is not UTF-8 text; write it again")


def _is_no_text(text: str) -> bool:
    # A printable text is always allowed, so most values do not need the slower pattern.
    return not text.isprintable() and re.search(_FORBIDDEN, text) is not None


def build_environment_tree(app: str, environment: Mapping[str, str]) -> SettingsTree:
    """Return the environment variables of a program as settings, nested by section.

    `TRADER__ACCOUNT__CASH=500` is `{"account": {"cash": "500"}}`. Empty variables are left out.

    Raises:
        ConfigurationError: one name is used both for a value and for a section.
    """
    tree: SettingsTree = {}
    start = f"{app.upper()}__"
    # An empty variable counts as not given, as in the file: compose files set empty variables.
    given = [name for name, value in environment.items() if name.startswith(start) and value]
    for name in sorted(given):
        *sections, key = name.removeprefix(start).lower().split("__")
        at = tree
        for section in sections:
            below: object = at.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigurationError(
                    f"{start}{section.upper()} is one value, so {name} has no place; unset one"
                )
            at = cast("SettingsTree", below)
        at[key] = environment[name]
    return tree
