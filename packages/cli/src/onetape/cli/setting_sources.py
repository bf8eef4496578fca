"""Settings from a file, the environment or flags, before conversion."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, cast

from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.message_text import suggest_name
from onetape.core.setting import Declared, Tree

#: Types that may be written as one text, which then replaces an earlier value, without a merge.
TABLE: Final = dict[int, float]
#: Ends a text in C; half a character, or a byte of an argument that is no UTF-8.
_FORBIDDEN: Final = "[\0\ud800-\udfff]"


class Source(NamedTuple):
    """A source of settings."""

    place: Callable[[str], str]
    """Function that returns where a dotted key is given, as a text."""
    error_class: type[OnetapeError]
    """Error class of an invalid value from this source."""
    is_file: bool = False
    """Whether it is the settings file of the program, which may repeat the defaults."""
    replaces_tables: bool = False
    """Whether its tables replace those of earlier sources, rather than add entries to them."""

    @property
    def is_flags(self) -> bool:
        """Return whether the source is the command line."""
        return self.error_class is UsageError

    def make_error(self, key: str, text: str) -> OnetapeError:
        """Return the error about a key, whose text names the place of the setting."""
        return self.error_class(f"{self.place(key)}: {text}", setting=key)


def collect_given_settings(
    declared: Mapping[str, Declared], tree: Tree, source: Source, prefix: str = ""
) -> list[tuple[Declared, object]]:
    """Return the settings of a source, with unconverted values.

    Args:
        declared: Declared settings of the program.
        tree: Values by key, dotted or nested; None: not given.
        source: Source of the settings.
        prefix: The section that they are in, with a dot at its end.

    Raises:
        ConfigurationError: a key that the program has not, or a text that nothing can hold.
        UsageError: a flag has an invalid value.
    """
    found: list[tuple[Declared, object]] = []
    for name, value in tree.items():
        key = prefix + name
        _check_text(name, key, source)
        if value is None or (source.is_flags and value == []):
            continue
        if key in declared:
            _check_text(value, key, source)
            found.append((declared[key], value))
        elif not any(one.startswith(f"{key}.") for one in declared):
            below = (one.removeprefix(prefix) for one in declared if one.startswith(prefix))
            hint = suggest_name(name, dict.fromkeys(one.partition(".")[0] for one in below))
            raise source.make_error(key, f"unknown key {key!r}{hint}")
        elif isinstance(value, dict):
            found += collect_given_settings(declared, cast("Tree", value), source, f"{key}.")
        else:
            raise source.make_error(key, f"{key}: expected object, found {value!r}")
    return found


def _check_text(value: object, key: str, source: Source) -> None:
    """Refuse characters that neither a file's name nor the database can hold, and empty flags."""
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
    # Every printable character is allowed, so that most values need no pattern.
    return not text.isprintable() and re.search(_FORBIDDEN, text) is not None


def build_environment_tree(app: str, environment: Mapping[str, str]) -> Tree:
    """Return the variables of a program, nested by their keys.

    Raises:
        ConfigurationError: a name is both a value and a section.
    """
    tree: Tree = {}
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
            at = cast("Tree", below)
        at[key] = environment[name]
    return tree
