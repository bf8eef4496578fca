"""What a watch looks at: the strategy's file and the settings, compared by their content."""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from onetape.core.folders import CONFIG_FOLDER, USER_FOLDER

#: Content by path; None: file not found.
Seen = dict[Path, str | None]


def strategy_file(name: str) -> Path:
    """Return the file that a strategy of the user is in; of a built-in one it does not exist."""
    path, colon, _ = name.rpartition(":")
    if colon and path.endswith(".py"):
        return Path(path)
    return Path(name) if name.endswith(".py") else USER_FOLDER / "strategies" / f"{name}.py"


def settings_files(given: Path | None) -> list[Path]:
    """Return the files that settings may come from."""
    if given is not None:
        return [given]
    return [folder / "backtester.yaml" for folder in (USER_FOLDER / "config", CONFIG_FOLDER)]


class Watched:
    """Watched files; reports when the content of one has changed."""

    def __init__(self) -> None:
        """Begin without watched files."""
        self._stamps: dict[Path, tuple[int, int] | None] = {}
        self._seen: Seen = {}

    def look_at(self, paths: Iterable[Path]) -> None:
        """Watch these files from now on, in place of the files before."""
        self._stamps = {path: _stamp(path) for path in paths}
        self._seen = {path: _content(path) for path in self._stamps}

    def changed(self) -> bool:
        """Return whether a file has another content than at the last look.

        Contents are read where time or size differ only, so that this may be called often.
        """
        stamps = {path: _stamp(path) for path in self._stamps}
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        seen = {path: _content(path) for path in stamps}
        is_changed = seen != self._seen
        self._seen = seen
        return is_changed


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    return None


def _content(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return None
