"""A timeline of faults in a YAML file (`simulator --faults FILE`).

The text of an error has the line and the key.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml

from onetape.cli.settings_file import load_yaml_nodes
from onetape.core.errors import ConfigurationError
from onetape.simulator.faults.model import Fault, FaultError, make_fault

#: Maximum size of a timeline file, bytes.
MAX_BYTES: Final = 10_000_000
_FORM = "a timeline has `seed: N` (optional) and `faults:` with one `- kind: ...` each"


@dataclass(frozen=True, slots=True)
class Timeline:
    """The faults of a timeline file and their seed."""

    faults: tuple[Fault, ...]
    seed: int | None = None
    """Seed of every random draw of the faults; None: the seed of the market."""


def read_timeline(file: Path) -> Timeline:
    """Read a timeline.

    Raises:
        ConfigurationError: the file cannot be read or a line of it cannot be used.
    """
    entries = _parse_entries(file, load_yaml_nodes(file, MAX_BYTES), "the file")
    for key, (_, line) in entries.items():
        if key not in ("seed", "faults"):
            raise ConfigurationError(f"{file}:{line}: unknown key {key!r}; {_FORM}")
    return Timeline(_parse_faults(file, entries), _parse_seed(file, entries))


#: Keys of a mapping in the file: the node of the value, and the line of the key.
_Entries = dict[str, tuple[yaml.Node, int]]


def _parse_seed(file: Path, entries: _Entries) -> int | None:
    if "seed" not in entries:
        return None
    node, line = entries["seed"]
    try:
        return int(str(node.value))
    except ValueError:
        text = f"seed: expected a whole number, found {node.value!r}"
        raise ConfigurationError(f"{file}:{line}: {text}") from None


def _parse_faults(file: Path, entries: _Entries) -> tuple[Fault, ...]:
    if "faults" not in entries:
        raise ConfigurationError(f"{file}:1: no `faults:`; {_FORM}")
    node, line = entries["faults"]
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigurationError(f"{file}:{line}: faults: expected a list, each `- kind: ...`")
    items = cast("list[yaml.Node]", node.value)
    return tuple(_parse_fault(file, item, f"faults[{row}]") for row, item in enumerate(items))


def _parse_fault(file: Path, node: yaml.Node, place: str) -> Fault:
    entries = _parse_entries(file, node, place)
    settings: dict[str, Any] = {}
    for key, (value, line) in entries.items():
        if isinstance(value, yaml.MappingNode):
            inner = _parse_entries(file, value, f"{place}.{key}")
            settings[key] = {name: str(one.value) for name, (one, _) in inner.items()}
        elif isinstance(value, yaml.ScalarNode):
            # The text of the file, not YAML's value: `null` is a shape, and 2024-03-01 a moment.
            settings[key] = str(value.value)
        else:
            raise ConfigurationError(f"{file}:{line}: {place}.{key}: expected one value")
    try:
        return make_fault(settings, strict=False)
    except FaultError as error:
        line = entries[error.key][1] if error.key in entries else node.start_mark.line + 1
        text = f"{file}:{line}: {place}.{error.key}: {error.text}"
        raise ConfigurationError(text) from None


def _parse_entries(file: Path, node: yaml.Node | None, place: str) -> _Entries:
    line = node.start_mark.line + 1 if node is not None else 1
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file}:{line}: {place}: expected `key: value` lines; {_FORM}")
    entries: _Entries = {}
    for key_node, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
        line, key = key_node.start_mark.line + 1, str(key_node.value)
        if key in entries:
            first = entries[key][1]
            raise ConfigurationError(
                f"{file}:{line}: {place}: {key} is set twice, first in line {first}"
            )
        tag = value.tag
        if not tag.startswith("tag:yaml.org,2002:") or "python" in tag:
            raise ConfigurationError(f"{file}:{line}: the tag {tag} is not allowed here")
        entries[key] = (value, line)
    return entries
