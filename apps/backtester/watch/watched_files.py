"""The files that `--watch` watches: the strategy's file and the settings, compared by content."""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from onetape.core.folders import CONFIG_FOLDER, USER_FOLDER

#: Digest of the content by path; None: file not found.
FileDigests = dict[Path, str | None]


def make_strategy_path(name: str) -> Path:
    """Return the path at which a user's strategy of that name is searched."""
    path, colon, _ = name.rpartition(":")
    if colon and path.endswith(".py"):
        return Path(path)
    return Path(name) if name.endswith(".py") else USER_FOLDER / "strategies" / f"{name}.py"


def list_settings_files(given: Path | None) -> list[Path]:
    """Return the files that settings may come from."""
    if given is not None:
        return [given]
    return [folder / "backtester.yaml" for folder in (USER_FOLDER / "config", CONFIG_FOLDER)]


class WatchedFiles:
    """Some files, and whether the content of one has changed."""

    def __init__(self) -> None:
        """Begin without watched files."""
        self._stamps: dict[Path, tuple[int, int] | None] = {}
        self._seen: FileDigests = {}

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch these files from now on, instead of earlier ones."""
        self._stamps = {path: _read_stamp(path) for path in paths}
        self._seen = {path: _compute_content_digest(path) for path in self._stamps}

    def has_changed(self) -> bool:
        """Return whether a file's content has changed since the last call.

        The content is read only if modification time or size differ, so frequent calls are cheap.
        """
        stamps = {path: _read_stamp(path) for path in self._stamps}
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        seen = {path: _compute_content_digest(path) for path in stamps}
        is_changed = seen != self._seen
        self._seen = seen
        return is_changed


def _read_stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    return None


def _compute_content_digest(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return None
