"""Read a YAML file of settings: all values stay text, tags are refused, and sizes are limited.

The line of each setting is returned as well, for error messages.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import yaml

from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error
from onetape.core.setting import SettingsTree

#: Maximum number of sections inside each other.
MAX_SECTIONS: Final = 10
#: Maximum size of a settings file, bytes and values; an alias counts as often as it is used.
MAX_BYTES, MAX_VALUES = 100_000, 10_000

# The stub leaves the stream and the node untyped.
_compose = cast("Callable[..., yaml.Node | None]", yaml.compose)  # pyright: ignore[reportUnknownMemberType]


def load_yaml_nodes(file: Path, most_bytes: int = MAX_BYTES) -> yaml.Node | None:
    """Return a YAML file as nodes with their lines; None if the file is empty.

    Args:
        file: The file.
        most_bytes: Maximum size of the file.

    Raises:
        ConfigurationError: the file cannot be read, is too large or is no YAML; names path and
            line.
    """
    return parse_yaml_nodes(file, read_yaml_text(file, most_bytes))


def read_yaml_text(file: Path, most_bytes: int = MAX_BYTES) -> str:
    """Return the content of a file, with its line ends as they are.

    Args:
        file: The file.
        most_bytes: Maximum size of the file.

    Raises:
        ConfigurationError: the file cannot be read, is too large or no UTF-8; the text names it.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise ConfigurationError(f"{file} is larger than {most_bytes:,} bytes; shorten it")
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: no valid YAML: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read: {format_os_error(error)}; make it readable, "
            "or name another file"
        ) from error


def parse_yaml_nodes(file: Path, text: str) -> yaml.Node | None:
    """Return the content of a YAML file as nodes with their lines; None if the text is empty.

    Args:
        file: Path of the file, for errors.
        text: Content of the file.

    Raises:
        ConfigurationError: the text is no YAML; names path and line.
    """
    try:
        return _compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigurationError(f"{file}:{line}: no valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: no valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{file} is nested too deeply; make it flatter") from error


def read_settings(file: Path) -> tuple[SettingsTree, dict[str, int]]:
    """Return the values of a settings file as nested text, and the line of each dotted key.

    Raises:
        ConfigurationError: the file cannot be read, or has no settings; the text names path and
            line.
    """
    return parse_settings(file, read_yaml_text(file))


def parse_settings(file: Path, text: str) -> tuple[SettingsTree, dict[str, int]]:
    """Return the content of a settings file as nested text, and the line of each dotted key.

    Args:
        file: Path of the file, for errors.
        text: Content of the file.

    Raises:
        ConfigurationError: the text has no settings; names path and line.
    """
    node = parse_yaml_nodes(file, text)
    lines: dict[str, int] = {}
    if is_empty_node(node):
        return {}, lines
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file}:1: expected `key: value` lines, found something else")
    return _Values(file, lines).read_mapping(node, ""), lines


def is_empty_node(node: yaml.Node | None) -> bool:
    """Return whether a YAML node is an empty value (`symbol:`), or None."""
    return node is None or node.tag == "tag:yaml.org,2002:null"


class _Values:
    """The values of one file, read from YAML nodes."""

    def __init__(self, file: Path, lines: dict[str, int]) -> None:
        """Initialise; reading adds the line of each dotted key to `lines`."""
        self._file = file
        self._lines = lines
        self._left = MAX_VALUES

    def read_mapping(self, node: yaml.MappingNode, prefix: str) -> SettingsTree:
        """Return the values below a mapping, by key."""
        tree: SettingsTree = {}
        for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            place = f"{self._file}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError(f"{place}: a key must be one word, such as `symbol:`")
            key = str(key_node.value)
            if prefix + key in self._lines:
                first = self._lines[prefix + key]
                raise ConfigurationError(
                    f"{place}: {prefix}{key} is set twice, first in line {first}"
                )
            self._lines[prefix + key] = key_node.start_mark.line + 1
            value = self._read_value(value_node, f"{prefix}{key}.")
            if value != "":
                tree[key] = value
        return tree

    def _read_value(self, node: yaml.Node, prefix: str) -> Any:
        """Return a node as text, list or dictionary; `prefix` is the dotted key above it.

        Raises:
            ConfigurationError: a tag is not allowed, or there are too many or too deeply nested
                values.
        """
        place = f"{self._file}:{node.start_mark.line + 1}"
        self._left -= 1
        if self._left < 0:
            # An alias is small in the file, and may stand for more than the memory holds.
            raise ConfigurationError(f"{place}: more than {MAX_VALUES:,} values; no settings have")
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise ConfigurationError(f"{place}: the tag {node.tag} is not allowed here")
        if prefix.count(".") > MAX_SECTIONS:
            # An alias inside its own anchor never ends.
            raise ConfigurationError(f"{place}: {prefix[:40]}... is nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return self.read_mapping(node, prefix)
        if isinstance(node, yaml.SequenceNode):
            items = cast("list[yaml.Node]", node.value)
            return [self._read_value(item, f"{prefix}{place}.") for place, item in enumerate(items)]
        return "" if node.tag.endswith(":null") else str(node.value)
