"""Which files of its own folder a Python file imports, told by its text: nothing is run."""

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


def imported_files(path: Path) -> dict[Path, bytes]:
    """Return the files beside a file, or in folders below, that it imports, with their text.

    Imports inside of functions count, and what those files import themselves; what
    `importlib.import_module` is told does not.
    """
    return {place: text for place, text in _looked_at(path).items() if text is not None}


def places_imported(path: Path) -> list[Path]:
    """Return the same files, and where others would be that are not there."""
    return list(_looked_at(path))


def _looked_at(path: Path) -> dict[Path, bytes | None]:
    """Return the text of each place; None: there is no such file."""
    start = path.resolve()
    found: dict[Path, bytes | None] = {start: _text(start)}
    todo = [start]
    while todo:
        file = todo.pop()
        for name, level in _imports(found[file] or b""):
            for place in _places(start.parent, file, name, level):
                if place not in found:
                    found[place] = _text(place)
                    todo.append(place)
    del found[start]
    return found


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (OSError, ValueError):  # no such file, or none that can be read: the import tells it
        return None


@lru_cache(maxsize=64)
def _imports(text: bytes) -> tuple[tuple[str, int], ...]:
    """Return the dotted names that a text imports, with how many folders up they begin.

    A name may be that of a value inside of a module; there is no file of it then.
    """
    # Only a user's own file needs it.
    import ast

    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # running it tells what is wrong
        return ()
    names: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            names += [(f"{start}{alias.name}", node.level) for alias in node.names]
    return tuple(dict.fromkeys(names))


def _places(folder: Path, file: Path, name: str, level: int) -> Iterator[Path]:
    """Give the files that a dotted name may stand for, its packages first."""
    parts = name.split(".")
    if level == 0 and parts[0] in sys.stdlib_module_names:
        return
    base = folder if level == 0 else (file.parent, *file.parent.parents)[level - 1]
    if not base.is_relative_to(folder):
        return
    for part in parts:
        if not part.isidentifier():  # `from tools import *`
            return
        yield base / f"{part}.py"
        base /= part
        yield base / "__init__.py"
        if not base.is_dir():
            return
