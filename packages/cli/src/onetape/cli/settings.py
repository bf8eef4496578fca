"""Settings from a YAML file, the environment and flags; the later one wins. One model for all apps.

An app's settings are a frozen msgspec Struct. Values travel as text until msgspec converts them, so
a number means the same in a file, in `TRADER__CASH=500` and after `--cash`.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast, get_origin

import msgspec
import yaml

from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.words import did_you_mean

#: The user's own files, which git ignores.
USER_FOLDER = Path("user")
CONFIG_FOLDER = Path("config")
DATA_FOLDER = Path("data")

#: No setting lies deeper than this.
DEEPEST = 10

S = TypeVar("S", bound=msgspec.Struct)
Tree = dict[str, Any]

# The stub leaves the stream and the node untyped.
_compose = cast("Callable[..., yaml.Node | None]", yaml.compose)  # pyright: ignore[reportUnknownMemberType]


class StrategySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which strategy, and its parameters."""

    name: str = "rsi"
    """A built-in's name, a name in user/strategies, or `path/to/file.py:Class`."""
    parameters: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Parameters that differ from the strategy's defaults."""


class AccountSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The money, and what an order costs: the same for backtest and paper."""

    cash: float = 10_000.0
    """Start, in quote currency."""
    fee_rate: float = 0.001
    """Part of each trade's worth that the exchange takes; 0.001 is 0.1 %."""
    fee_coin: str = "quote"
    """quote, or received: taken from what the trade brings in, as Binance does."""
    slippage_bps: float = 0.0
    """How much worse than the open a market order fills, in hundredths of a percent."""
    sizing: str = "all_in"
    """all_in, or quote_amount: the same amount for each entry."""
    quote_amount: float | None = None
    """Quote currency per entry, fee included; only with `sizing: quote_amount`."""


def settings_file(app: str, given: Path | None) -> Path | None:
    """Return the file to read: the one given, else user/config/APP.yaml, else config/APP.yaml.

    Raises:
        ConfigurationError: the file given does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise ConfigurationError(f"{given} does not exist; --config names a YAML file")
        return given
    candidates = (USER_FOLDER / "config" / f"{app}.yaml", CONFIG_FOLDER / f"{app}.yaml")
    return next((path for path in candidates if path.is_file()), None)


def database_path(db: Path | None, exchange: str) -> Path:
    """Return the database file: the one named, or the usual one of the kind of exchange."""
    if db is not None:
        return db
    return DATA_FOLDER / ("simulator.db" if exchange == SIMULATOR_ID else "onetape.db")


def load_settings(
    model: type[S],
    app: str,
    file: Path | None,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> S:
    """Return the settings of an app: defaults, then file, then environment, then flags.

    Args:
        model: The app's settings.
        app: Its name; `APP__SECTION__KEY` are its environment variables.
        file: What `settings_file` found.
        flags: Nested as the model; None means not given.
        environment: For tests; the process's own by default.

    Raises:
        ConfigurationError: the file or a variable cannot be used; names path, line and key.
        UsageError: a flag cannot be used.
    """
    tree: Tree = {}
    if file is not None:
        from_file, lines = _read(file)
        _convert(model, from_file, lambda key: f"{file}:{lines.get(key, 1)}", ConfigurationError)
        tree = from_file
    variables = _from_environment(app, os.environ if environment is None else environment)
    _convert(
        model, variables, lambda key: f"{app}__{key}".upper().replace(".", "__"), ConfigurationError
    )
    given = _without_none(flags)
    _convert(model, given, lambda key: f"--{key.replace('_', '-')}", UsageError)
    merged = _merge(_merge(tree, variables), given)
    return _convert(model, merged, lambda key: f"setting {key}", ConfigurationError)


def _read(file: Path) -> tuple[Tree, dict[str, int]]:
    """Return the file as nested text, and the line of each dotted key."""
    try:
        text = file.read_text(encoding="utf-8")
        node = _compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigurationError(f"{file}:{line}: no valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: no valid YAML: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    lines: dict[str, int] = {}
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return {}, lines
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file}:1: expected `key: value` lines, found something else")
    return _mapping(file, node, "", lines), lines


def _mapping(file: Path, node: yaml.MappingNode, prefix: str, lines: dict[str, int]) -> Tree:
    tree: Tree = {}
    for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigurationError(f"{file}:{line}: a key must be one word, such as `symbol:`")
        key = str(key_node.value)
        if prefix + key in lines:
            raise ConfigurationError(
                f"{file}:{line}: {prefix}{key} is set twice, first in line {lines[prefix + key]}"
            )
        lines[prefix + key] = line
        value = _value(file, value_node, f"{prefix}{key}.", lines)
        if value != "":
            tree[key] = value
    return tree


def _value(file: Path, node: yaml.Node, prefix: str, lines: dict[str, int]) -> Any:
    line = node.start_mark.line + 1
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise ConfigurationError(f"{file}:{line}: the tag {node.tag} is not allowed here")
    if prefix.count(".") > DEEPEST:
        # An alias inside its own anchor never ends.
        raise ConfigurationError(f"{file}:{line}: {prefix[:40]}... is nested too deeply")
    if isinstance(node, yaml.MappingNode):
        return _mapping(file, node, prefix, lines)
    if isinstance(node, yaml.SequenceNode):
        items = cast("list[yaml.Node]", node.value)
        return [_value(file, item, f"{prefix}.", lines) for item in items]
    return "" if node.tag.endswith(":null") else str(node.value)


def _from_environment(app: str, environment: Mapping[str, str]) -> Tree:
    tree: Tree = {}
    start = f"{app.upper()}__"
    # Empty is not given, as in the file: compose files set variables to nothing.
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


def _without_none(flags: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for key, value in flags.items():
        if isinstance(value, Mapping):
            inner = _without_none(cast("Mapping[str, Any]", value))
            if inner:
                tree[key] = inner
        elif value is not None and value != []:
            tree[key] = value
    return tree


def _merge(base: Tree, over: Tree) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merge(cast("Tree", below), cast("Tree", value)) if both else value
    return merged


def _convert(
    model: type[S], tree: Tree, place: Callable[[str], str], error_class: type[OnetapeError]
) -> S:
    try:
        return msgspec.convert(_split_lists(model, tree), model, strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        raise error_class(_explain(model, str(error), tree, place)) from error


def _split_lists(model: type[msgspec.Struct], tree: Tree) -> Tree:
    """Return the tree with `a, b` as a list wherever the model wants a list."""
    split = dict(tree)
    for field in msgspec.structs.fields(model):
        value = tree.get(field.encode_name)
        if isinstance(value, str) and get_origin(field.type) is list:
            split[field.encode_name] = [part.strip() for part in value.split(",") if part.strip()]
        elif isinstance(value, dict) and _is_struct(field.type):
            split[field.encode_name] = _split_lists(field.type, cast("Tree", value))
    return split


def _is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _from_text(kind: type, value: object) -> object:
    """Convert what msgspec does not know: a path is text in a file and in the environment."""
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    msg = f"Expected `{kind.__name__}`"
    raise TypeError(msg)  # which msgspec completes with the place


def _explain(
    model: type[msgspec.Struct], text: str, tree: Tree, place: Callable[[str], str]
) -> str:
    """Turn msgspec's sentence into one that names the place, the key and what was found."""
    at = re.search(r" - at `\$\.?(.*?)`$", text)
    key = re.sub(r"\[.*?\]", "", at[1]) if at else ""
    what = text[: at.start()] if at else text
    unknown = re.search(r"unknown field `(.*?)`", what)
    if unknown:
        full = f"{key}.{unknown[1]}" if key else unknown[1]
        hint = did_you_mean(unknown[1], _fields_at(model, key))
        return f"{place(full)}: unknown key {full!r}{hint}"
    found: Any = tree
    for part in filter(None, key.split(".")):
        found = cast("Tree", found).get(part) if isinstance(found, dict) else found
    expected = re.sub(r"^Expected `(.*?)`.*$", r"expected \1", what)
    expected = expected.replace(" | null", "").replace("float", "a number")
    return f"{place(key)}: {key}: {expected}, found {found!r}"


def _fields_at(model: type[msgspec.Struct], key: str) -> list[str]:
    for part in filter(None, key.split(".")):
        annotation: object = model.__annotations__.get(part)
        if not _is_struct(annotation):
            return []
        model = annotation
    return list(model.__struct_encode_fields__)
