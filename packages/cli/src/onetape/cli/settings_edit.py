"""Change one value in a YAML file of settings; comments, order and all other values stay.

Used by commands that store a measured value, such as a spread, in the user's settings.
"""

import os
import re
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple, cast

import yaml

from onetape.cli.settings_file import (
    is_empty_node,
    parse_settings,
    parse_yaml_nodes,
    read_yaml_text,
)
from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_os_error
from onetape.core.setting import set_tree_value

#: Mode of a new settings file.
_NEW_MODE = 0o644


def write_setting(file: Path, key: str, value: str, *, base: Path | None = None) -> None:
    """Set one value in a settings file.

    The new content is written to a draft in the same folder, which is then renamed. So another
    process reads either the old or the new content, and an error leaves the file unchanged.

    Args:
        file: The settings file; if it is a symbolic link, its target is changed. A missing file is
            created, with its folder.
        key: Dotted key of the setting, with one section: `account.spread_bps`.
        value: The value as YAML text on one line, such as a number.
        base: File whose content is copied into a missing `file`; None: a missing file begins empty.

    Raises:
        ConfigurationError: the file cannot be read, changed or written; nothing is changed then.
    """
    target = Path(os.path.realpath(file))
    try:
        status = target.stat() if target.exists() else None
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read: {format_os_error(error)}; make it readable, or set {key} to "
            f"{value} in another file"
        ) from error
    source = base if status is None else file
    text = "" if source is None else read_yaml_text(source)
    content = edit_setting(source or file, text, key, value).encode("utf-8")
    # A rename needs no permission to write the file, and root needs none at all.
    if status is not None and not (status.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise ConfigurationError(
            f"{file} cannot be written: the file is read-only; make it writable, or set "
            f"{key} to {value} by hand"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace_file(target, content, status)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {format_os_error(error)}; make the file and its folder "
            f"writable, or set {key} to {value} by hand"
        ) from error


def _replace_file(target: Path, content: bytes, status: os.stat_result | None) -> None:
    """Write a file completely or not at all.

    Args:
        target: The file.
        content: New content of the file.
        status: Status of the file that is replaced, whose mode and owner stay; None: a new file.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.chmod(_NEW_MODE if status is None else stat.S_IMODE(status.st_mode))
        if status is not None and os.geteuid() == 0:
            os.chown(draft, status.st_uid, status.st_gid)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def edit_setting(file: Path, text: str, key: str, value: str) -> str:
    """Return the content of a settings file in which one setting has another value.

    Args:
        file: Path of the file, for errors.
        text: Content of the file.
        key: Dotted key of the setting, with one section: `account.spread_bps`.
        value: The value as YAML text on one line, such as a number.

    Raises:
        ConfigurationError: the text has no settings, or this value cannot be changed alone because
            of the text's form (an alias, a text of several lines); names path, line and remedy.
    """
    expected, lines = parse_settings(file, text)
    section = key.partition(".")[0]
    line = lines.get(key, lines.get(section, 1))
    refusal = ConfigurationError(
        f"{file}:{line}: {key} cannot be changed here without changing other values; set "
        f"{key} to {value} by hand"
    )
    if not isinstance(expected.get(section, {}), dict):
        raise refusal
    set_tree_value(expected, key, value)
    edited = _Edit(text, key, value).apply(parse_yaml_nodes(file, text))
    try:
        found, _ = parse_settings(file, edited)
    except ConfigurationError as error:
        raise refusal from error
    if found != expected:
        raise refusal
    return edited


class _Entry(NamedTuple):
    """One key of a mapping, with its value."""

    key: yaml.Node
    value: yaml.Node


class _Edit:
    """The change of one value in a YAML text; the caller checks that no other value changed."""

    def __init__(self, text: str, key: str, value: str) -> None:
        self._text = text
        self._section, _, self._name = key.partition(".")
        self._value = value
        self._line_end = "\r\n" if "\r\n" in text else "\n"

    def apply(self, root: yaml.Node | None) -> str:
        """Return the changed text.

        Args:
            root: Node of the whole text; None: the text is empty.
        """
        if root is None or is_empty_node(root):
            return self._append("")
        section = _find_entry(root, self._section)
        if section is None:
            if cast("yaml.MappingNode", root).flow_style:
                return self._insert_inside(root, f"{self._section}: {{{self._pair}}}")
            return self._append(" " * _first_column(root))
        if isinstance(section.value, yaml.MappingNode):
            entry = _find_entry(section.value, self._name)
            if entry is not None:
                return self._replace(entry.value)
            if section.value.flow_style:
                return self._insert_inside(section.value, self._pair)
            return self._insert_below(section.key, _first_column(section.value))
        return self._insert_below(section.key, section.key.start_mark.column + 2)

    @property
    def _pair(self) -> str:
        return f"{self._name}: {self._value}"

    def _append(self, indent: str) -> str:
        """Return the text with a new section at its end."""
        begin = self._text
        if begin and not begin.endswith("\n"):
            begin += self._line_end
        lines = (f"{indent}{self._section}:", f"{indent}  {self._pair}", "")
        return begin + self._line_end.join(lines)

    def _insert_inside(self, node: yaml.Node, pair: str) -> str:
        """Return the text with one more pair at the beginning of a `{...}`."""
        after = node.start_mark.index + 1
        comma = ", " if node.value else ""
        return f"{self._text[:after]}{pair}{comma}{self._text[after:]}"

    def _insert_below(self, key: yaml.Node, column: int) -> str:
        """Return the text with one more line right below a section's key."""
        end = self._text.find("\n", key.end_mark.index)
        line = " " * column + self._pair + self._line_end
        if end < 0:
            return self._text + self._line_end + line
        return f"{self._text[: end + 1]}{line}{self._text[end + 1 :]}"

    def _replace(self, node: yaml.Node) -> str:
        """Return the text with another value; a comment after it stays in place if possible."""
        start, end = node.start_mark.index, node.end_mark.index
        before, after = self._text[:start], self._text[end:]
        value = f" {self._value}" if before.endswith(":") else self._value
        blanks = re.match(r" +(?=#)", after)
        if blanks is not None:
            room = len(blanks[0]) - (len(value) - (end - start))
            after = " " * max(room, 1) + after[blanks.end() :]
        return f"{before}{value}{after}"


def _find_entry(mapping: yaml.Node, name: str) -> _Entry | None:
    """Return the entry of a mapping with this key; None where there is none."""
    entries = cast("list[tuple[yaml.Node, yaml.Node]]", mapping.value)
    return next((_Entry(*entry) for entry in entries if entry[0].value == name), None)


def _first_column(mapping: yaml.Node) -> int:
    """Return the column of the first key of a mapping."""
    return cast("list[tuple[yaml.Node, yaml.Node]]", mapping.value)[0][0].start_mark.column
