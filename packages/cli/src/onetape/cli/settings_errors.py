"""What is wrong with settings, and where: the line of a file, the variable, or the flag.

Read only where something is wrong.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from onetape.cli.settings import TABLE, Source, Tree, is_struct
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.words import did_you_mean

#: What leads to a value of a tree.
Keys = tuple[str, ...]
#: Makes settings of a tree; raises where they cannot be used.
Maker = Callable[[Tree], object]


def explained(model: type[msgspec.Struct], text: str, source: Source, convert: Maker) -> str:
    """Turn msgspec's sentence into one that names the place, the key and what was found.

    Args:
        model: Of the settings.
        text: The sentence.
        source: What could not be converted.
        convert: Converts it, or a part of it.
    """
    at = re.search(r" - at (`key` in )?`\$\.?(.*?)`$", text)
    path = at[2] if at else ""
    key, tree = re.sub(r"\[.*?\]", "", path), source.tree
    what = text[: at.start()] if at else text
    unknown = re.search(r"unknown field `(.*?)`", what)
    if unknown:
        full = f"{key}.{unknown[1]}" if key else unknown[1]
        hint = did_you_mean(unknown[1], _fields_at(model, key))
        return f"{source.place(full)}: unknown key {full!r}{hint}"
    entries: Any = _value_at(tree, key)
    # A table that is one text has a place as a whole.
    in_key = at is not None and at[1] is not None and isinstance(entries, dict)
    if isinstance(entries, dict) and (in_key or path.endswith("[...]")):
        # msgspec does not say which entry it is.
        entries = [(*key.split("."), name) for name in cast("Tree", entries)]
        key = ".".join(next((one for one in entries if _fails(convert, _only(tree, one))), (key,)))
    expected = re.sub(r"^Expected `(.*?)`( [<>]= \S+)?.*$", r"expected \1\2", what)
    expected = expected.replace(" | null", "").replace("float", "a number")
    expected = re.sub(r"^(Invalid decimal string|expected decimal)$", "expected a number", expected)
    if _kind_at(model, key) == TABLE:
        expected = expected.replace("object", "KEY=VALUE,KEY=VALUE, each key once")
    if in_key:
        mapping, _, name = key.rpartition(".")
        return f"{source.place(key)}: {mapping}: {expected} for a key, found {name!r}"
    value = _value_at(tree, key)
    found: object = str(value) if isinstance(value, Path) else value
    return f"{source.place(key)}: {key}: {expected}, found {found!r}"


def blamed(
    error: UsageError | ConfigurationError, merged: Tree, sources: Sequence[Source], make: Maker
) -> OnetapeError:
    """Return the error of settings that cannot be used, with the place of the one to blame.

    That is one without which there is no such error; of several, one that the text names.

    Args:
        error: What `make` raised.
        merged: Of all sources.
        sources: What wins first; the flags before all.
        make: Makes settings of a tree; raises where they cannot be used.
    """
    givers: dict[Keys, Source] = {}
    # A table that is one text hides the entries of one that came before.
    there = set(_paths_below(merged, ()))
    for source in sources:
        for keys in there.intersection(_paths_below(source.tree, ())):
            givers.setdefault(keys, source)
    text = str(error)
    ranks: dict[Keys, int] = {}
    for keys in givers:
        other = _error_of(make, _without(merged, keys))
        if other != text:
            is_named = re.search(rf"(?<![\w-]){re.escape(keys[-1])}(?![\w-])", text) is not None
            ranks[keys] = 2 * is_named + (other is None)
    if not ranks:
        return error
    guilty = max(ranks, key=lambda keys: ranks[keys])
    source, key = givers[guilty], ".".join(guilty)
    if source is not sources[0]:
        text = text.replace(sources[0].place(key), guilty[-1])
        text = text if guilty[-1] in text else f"{key}: {text}"
    place = source.place(key)
    return source.error_class(text if place in text else f"{place}: {text}")


def _fields_at(model: type[msgspec.Struct], key: str) -> list[str]:
    kind = _kind_at(model, key)
    return list(kind.__struct_encode_fields__) if is_struct(kind) else []


def _kind_at(model: type[msgspec.Struct], key: str) -> object:
    """Return the type of a setting or section; None inside what is none."""
    kind: object = model
    for part in filter(None, key.split(".")):
        kind = kind.__annotations__.get(part) if is_struct(kind) else None
    return kind


def _value_at(tree: Tree, key: str) -> Any:
    found: Any = tree
    for part in filter(None, key.split(".")):
        found = cast("Tree", found).get(part) if isinstance(found, dict) else found
    return found


def _paths_below(tree: Tree, start: Keys) -> Iterator[Keys]:
    """Give the keys, one by one, that lead to each value below a place of a tree."""
    below: Any = tree
    for name in start:
        below = below[name]
    for name, value in cast("Tree", below).items():
        if isinstance(value, dict) and value:
            yield from _paths_below(tree, (*start, name))
        else:
            yield (*start, name)


def _only(tree: Tree, keys: Keys) -> Tree:
    """Return a tree with one value."""
    name, *rest = keys
    return {name: _only(tree[name], tuple(rest)) if rest else tree[name]}


def _without(tree: Tree, keys: Keys) -> Tree:
    """Return a tree without one value."""
    name, *rest = keys
    if not rest:
        return {each: value for each, value in tree.items() if each != name}
    return {**tree, name: _without(tree[name], tuple(rest))}


def _fails(convert: Maker, tree: Tree) -> bool:
    try:
        convert(tree)
    except msgspec.ValidationError:
        return True
    return False


def _error_of(make: Maker, tree: Tree) -> str | None:
    try:
        make(tree)
    except OnetapeError as error:
        return str(error)
    return None
