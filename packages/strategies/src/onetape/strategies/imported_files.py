"""The files that a user's Python file imports from its own folder, found without running them.

They belong to the strategy's digest, and `backtester watch` watches them. Modules that code loads
while it runs, for example by `importlib.import_module(name)` or a change of `sys.path`, cannot be
found in the text; where a text may do that, every Python file below the folder counts.
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

#: Names in a text that may load other code at run time.
_DYNAMIC: Final = re.compile(rb"importlib|import_module|__import__|sys\.path|exec\(|runpy|open\(")
#: Limits on the number and the size of Python files: a folder with more is not a strategy's own.
MAX_FILES: Final = 1_000
MAX_BYTES: Final = 20_000_000


def read_imported_files(path: Path) -> dict[Path, bytes]:
    """Return the files next to a file, or in folders below, that it imports, with their text.

    Imports inside functions count, and so do the imports of those files. Where one of the texts
    may load code while it runs, all files below the folder count.

    Raises:
        ConfigurationError: the files are too many, or too large.
    """
    start = path.resolve()
    found = {place: text for place, text in _read_places(start).items() if text is not None}
    if any(_DYNAMIC.search(text) for text in (_read_text(start) or b"", *found.values())):
        for place in _collect_files_below(start):
            text = _read_text(place)
            if place != start and text is not None:
                found.setdefault(place, text)
    return found


def find_import_places(path: Path) -> list[Path]:
    """Return the files of `read_imported_files`, and paths at which imports would find a file.

    For a folder with too many files, the result has only files that are imported by name.
    """
    places = _read_places(path.resolve())
    with contextlib.suppress(ConfigurationError):  # which is reported when the file is run
        places = {**places, **read_imported_files(path)}
    return list(places)


def _collect_files_below(start: Path) -> list[Path]:
    """Return all Python files of a file's folder and those below, sorted.

    Raises:
        ConfigurationError: the files are too many, or too large.
    """
    found: list[Path] = []
    size, seen = 0, set[str]()
    for folder, below, names in os.walk(start.parent, followlinks=True):
        real = os.path.realpath(folder)
        # Caches and environments have no code of the user; links could form a circle.
        if real in seen or "pyvenv.cfg" in names:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__pycache__")))
        files = [Path(folder, name) for name in names if name.endswith(".py")]
        files = [file for file in files if file.is_file()]
        found += files
        size += sum(file.stat().st_size for file in files)
        if len(found) > MAX_FILES or size > MAX_BYTES:
            raise ConfigurationError(
                f"strategy file {start} may load code while it runs (it, or a file it imports, has "
                "a word such as importlib, sys.path, exec or open), so all Python files below its "
                f"folder are part of it, but there are more than {MAX_FILES:,} or over "
                f"{MAX_BYTES // 1_000_000} MB; move it to a folder of its own"
            )
    return sorted(found)


def _read_places(start: Path) -> dict[Path, bytes | None]:
    """Return the text of each place; None: file not found."""
    found: dict[Path, bytes | None] = {start: _read_text(start)}
    todo = [start]
    while todo:
        file = todo.pop()
        for name, level in _parse_imports(found[file] or b""):
            for place in _iterate_places(start.parent, file, name, level):
                if place not in found:
                    found[place] = _read_text(place)
                    todo.append(place)
    del found[start]
    return found


def _read_text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (OSError, ValueError):  # no such file, or none that can be read: the import reports it
        return None


@lru_cache(maxsize=64)
def _parse_imports(text: bytes) -> tuple[tuple[str, int], ...]:
    """Return the dotted names that a text imports, each with the number of folders up at its start.

    A name may be a value inside a module; then there is no file of that name.
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


def _iterate_places(folder: Path, file: Path, name: str, level: int) -> Iterator[Path]:
    """Yield the files that a dotted name may mean, its packages first."""
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
