"""Which files of its own folder a Python file imports, read from its text: nothing is run.

What a text loads while it runs, such as `importlib.import_module(name)` or a folder that it puts on
`sys.path`, cannot be found so: where a text may do that, every Python file below the folder counts.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from onetape.core.errors import ConfigurationError

#: Names in a text that may load code while it runs.
_DYNAMIC: Final = re.compile(rb"importlib|import_module|__import__|sys\.path|exec\(|runpy|open\(")
#: More Python files below a folder, or larger ones together, are not a strategy's own.
MOST_FILES: Final = 1_000
MOST_BYTES: Final = 20_000_000


def imported_files(path: Path) -> dict[Path, bytes]:
    """Return the files next to a file, or in folders below, that it imports, with their text.

    Imports inside of functions count, and what those files import themselves. Where one of the
    texts may load code while it runs, all files below the folder do.

    Raises:
        ConfigurationError: these are too many, or too large.
    """
    start = path.resolve()
    found = {place: text for place, text in _looked_at(start).items() if text is not None}
    if any(_DYNAMIC.search(text) for text in (_text(start) or b"", *found.values())):
        for place in _files_below(start):
            text = _text(place)
            if place != start and text is not None:
                found.setdefault(place, text)
    return found


def places_imported(path: Path) -> list[Path]:
    """Return the same files, and where others would be that are not there.

    Of a folder with too much below it, those that are imported by name alone.
    """
    places = _looked_at(path.resolve())
    with contextlib.suppress(ConfigurationError):  # which is reported when the file is run
        places = {**places, **imported_files(path)}
    return list(places)


def _files_below(start: Path) -> list[Path]:
    """Return all Python files of a file's folder and those below, sorted.

    Raises:
        ConfigurationError: the files are too many, or too large.
    """
    found: list[Path] = []
    size, seen = 0, set[str]()
    for folder, below, names in os.walk(start.parent, followlinks=True):
        real = os.path.realpath(folder)
        # Caches and environments hold no code of the user's; a link may lead round in a circle.
        if real in seen or "pyvenv.cfg" in names:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__pycache__")))
        files = [Path(folder, name) for name in names if name.endswith(".py")]
        files = [file for file in files if file.is_file()]
        found += files
        size += sum(file.stat().st_size for file in files)
        if len(found) > MOST_FILES or size > MOST_BYTES:
            raise ConfigurationError(
                f"strategy file {start} may load code while it runs (it, or a file it imports, has "
                "a word such as importlib, sys.path, exec or open), so all Python files below its "
                f"folder are part of it, but there are more than {MOST_FILES:,} or over "
                f"{MOST_BYTES // 1_000_000} MB; move it to a folder of its own"
            )
    return sorted(found)


def _looked_at(start: Path) -> dict[Path, bytes | None]:
    """Return the text of each place; None: file not found."""
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
    except (OSError, ValueError):  # no such file, or none that can be read: the import reports it
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
    except (SyntaxError, ValueError, RecursionError):  # running it shows what is wrong
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
    """Yield the files that a dotted name may stand for, its packages first."""
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
