"""Refuse a database file that took the place of another one whose log is still there.

SQLite finds the write-ahead log by its name and applies it to whatever file has the database's
name: the log of a replaced file would destroy the new one. Each of these shows such a log:

- The inode of the file differs from the marker's, and the inode of the log does not. The marker
  `DATABASE-wal-owner` has one line: device and inode of the database file, inode of its log, and
  the change counter of the file. It is written before a write to the log and deleted with the
  log. If both inodes differ, the files were moved or copied together, or the log is a new one.
- The change counter in the file's header is lower than the marker's: an older file was copied into
  the same inode. SQLite only increases it (sqlite.org/fileformat2, 1.3.6).
- The header states that the file is not in WAL mode, such as a backup; a file that has a log is.
"""

import contextlib
import os
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import quote

import apsw

from onetape.core.errors import StoreReplaced
from onetape.store.filesystem import (
    SHARED_FOLDERS,
    get_file_identity,
    get_log_path,
    read_file_system,
)

#: Length of a marker, bytes: each process overwrites it in one step.
_MARKER_BYTES: Final = 64
#: Part of a database's header that is read, bytes.
_HEADER_BYTES: Final = 28
#: Two bytes of the header that are 1 (not in WAL mode) or 2 (WAL mode), and the change counter.
_MODE: Final = slice(18, 20)
_COUNTER: Final = slice(24, 28)
_NO_WAL_MODE: Final = b"\x01\x01"


class FileReader(Protocol):
    """The part of a connection that reads the bytes of its file."""

    def read(self, schema: str, which: int, offset: int, amount: int) -> tuple[bool, bytes]:
        """Return whether all bytes were read, and the bytes."""
        ...


class _RawConnection(FileReader, Protocol):
    """A connection that reads only bytes."""

    def close(self) -> None:
        """Close the database."""
        ...


class _Marker(NamedTuple):
    """Content of a marker."""

    device: int
    inode: int
    log_inode: int
    counter: int


def check_log_owner(path: Path) -> None:
    """Refuse a file whose log belongs to another file; SQLite must not have opened it yet.

    Raises:
        StoreReplaced: the file was replaced, and the log of the replaced file is still there.
        StoreUnwritable: a folder of the path may not be entered.
        StoreError: the disk does not respond.
    """
    if has_foreign_log(path):
        raise StoreReplaced(
            f"{path} was replaced, and {describe_old_log(path)}; nothing was changed: "
            f"{describe_log_remedy(path)} (`backfiller restore` replaces a file safely)"
        )


def has_foreign_log(path: Path) -> bool:
    """Return whether the log of a database has content and belongs to another file.

    Raises:
        StoreUnwritable: a folder of the path may not be entered.
        StoreError: the disk does not respond.
    """
    log = get_log_path(path)
    log_identity = get_file_identity(log)
    identity = get_file_identity(path) if log_identity is not None else None
    if log_identity is None or identity is None:
        return False
    marker = _read_marker(path)
    if marker is not None and (marker.device, marker.log_inode) != log_identity:
        # The log is a new one, or is on another device, where inodes prove nothing.
        marker = None
    is_foreign = _has_other_inode(path, marker, identity[1]) or _has_other_header(path, marker)
    # Another process may have closed the database, or restored a backup, between these steps.
    return (
        is_foreign
        and get_file_identity(log) == log_identity
        and get_file_identity(path) == identity
    )


def describe_old_log(path: Path) -> str:
    """Return the words for a log of the file that had this path before."""
    return f"its log {get_log_path(path).name} is of the file that was there before"


def describe_log_remedy(path: Path) -> str:
    """Return what a person can do about the log of a replaced file."""
    log = get_log_path(path).name
    return (
        "end the programs that use it, then put the old file back, or delete "
        f"{log} and {log.removesuffix('-wal')}-shm to use what is there now"
    )


def get_marker_path(path: Path) -> Path:
    """Return the path of a database's marker, which is next to the target of links."""
    return Path(f"{get_log_path(path)}-owner")


class LogOwner:
    """Writes the marker of a database that this process has open."""

    def __init__(self, path: Path, identity: tuple[int, int] | None) -> None:
        """Initialise; no file is written yet.

        Args:
            path: The database.
            identity: Device and inode of the open file; None: no marker is written.
        """
        self._path = path
        self._marker_path = get_marker_path(path)
        self._identity = identity
        self._counter = -1

    def record(self, connection: FileReader) -> None:
        """Write the marker if it is missing or outdated; do nothing if it cannot be written.

        Call it before each write: SQLite begins the log again after the file was changed, and from
        then on the log does not fit an earlier state of the file.

        Args:
            connection: Connection to the open file, which keeps its log the same file.
        """
        if self._identity is None:
            return
        # Without a marker the file can still be used: its folder may be read-only.
        with contextlib.suppress(OSError, apsw.Error):
            counter = _read_counter(connection.read("main", 0, 0, _HEADER_BYTES)[1])
            # A process that closed the file meanwhile may have deleted the marker.
            if counter == self._counter and os.access(self._marker_path, os.F_OK):
                return
            log_inode = get_log_path(self._path).stat().st_ino
            marker = _Marker(*self._identity, log_inode, counter)
            if _read_marker(self._path) != marker:
                self._write(marker)
            self._counter = counter

    def _write(self, marker: _Marker) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._marker_path, flags, self._path.stat().st_mode & 0o666)
        try:
            text = " ".join(str(number) for number in marker)
            os.write(handle, f"{text:<{_MARKER_BYTES - 1}}\n".encode("ascii"))
        finally:
            os.close(handle)


def delete_marker_without_log(path: Path) -> None:
    """Delete the marker of a database whose log is gone, because the last process closed it."""
    with contextlib.suppress(OSError):
        if not get_log_path(path).exists():
            get_marker_path(path).unlink()


def _read_marker(path: Path) -> _Marker | None:
    """Return the content of a marker; None: no marker can be read."""
    try:
        with get_marker_path(path).open("rb") as file:
            device, inode, log_inode, counter = file.read(_MARKER_BYTES).split()
        return _Marker(int(device), int(inode), int(log_inode), int(counter))
    except (OSError, ValueError):
        return None


def _has_other_inode(path: Path, marker: _Marker | None, inode: int) -> bool:
    if marker is None or marker.inode == inode:
        return False
    # These file systems may invent new inodes for an unchanged file.
    kind = read_file_system(path)
    return kind not in SHARED_FOLDERS and not kind.startswith("fuse")


def _has_other_header(path: Path, marker: _Marker | None) -> bool:
    """Return whether a file is a database whose header does not fit a log, or not this marker's.

    SQLite marks a file as one in WAL mode before it makes a log, and deletes the log before it
    removes that mark.
    """
    header = _read_header(path)
    if not header.startswith(b"SQLite format 3\x00"):
        return False
    # A counter of 32 bits that begins again at 0 is still higher.
    is_older = marker is not None and (_read_counter(header) - marker.counter) % 2**32 >= 2**31
    return is_older or header[_MODE] == _NO_WAL_MODE


def _read_counter(header: bytes) -> int:
    return int.from_bytes(header[_COUNTER], "big")


def _read_header(path: Path) -> bytes:
    """Return the first bytes of a file; empty: they cannot be read."""
    # Through SQLite, because closing another handle would release the locks of this process.
    # An immutable database is opened without its log and without locks.
    name = f"file:{quote(os.path.realpath(path))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        connection = cast("_RawConnection", apsw.Connection(name, flags=flags))
        try:
            is_complete, header = connection.read("main", 0, 0, _HEADER_BYTES)
        finally:
            connection.close()
    except apsw.Error:
        return b""
    return header if is_complete else b""
