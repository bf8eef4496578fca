"""Back up a database that is in use, and restore a backup."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
from msgspec import Struct

from onetape.core.errors import ConfigurationError, SafetyRefusal, StoreError
from onetape.store.connection import DatabaseConnection, connecting, keep_log_on_close
from onetape.store.copying import (
    check_pages,
    copy_database,
    flush_to_disk,
    open_draft,
    publish_draft,
)
from onetape.store.filesystem import get_file_identity, get_log_path
from onetape.store.log_owner import get_marker_path, has_foreign_log
from onetape.store.migrations import check_is_onetape_file
from onetape.store.sqlite_errors import translating_sqlite_errors

#: Every process with a database open holds a lock on some of these bytes, sqlite.org/fileformat2.
LOCK_BYTES = (0x4000_0000, 512)


class BackupReport(Struct, frozen=True):
    """A finished backup whose pages were checked."""

    path: Path
    """Path of the backup."""
    size_bytes: int
    """Size of the backup's file."""


def make_backup(path: Path, target: Path, *, replace: bool = False) -> BackupReport:
    """Copy a whole database; other processes may write meanwhile. The copy has all earlier commits.

    Args:
        path: The database.
        target: Path of the copy, made with mode 0600, with its folder. The file gets this name only
            when it is complete.
        replace: Whether an existing file is replaced.

    Raises:
        StoreError: `path` is missing, damaged or no Onetape database, or there is a file at
            `target`.
        ConfigurationError: `target` cannot be written.
    """
    if not path.is_file():
        raise StoreError(f"{path} does not exist; name the database with --db")
    if path.resolve() == target.resolve():
        raise ConfigurationError(f"{target} is the database itself; name another file")
    if target.exists() and not replace:
        raise _make_target_error(target)
    _check_backup(path, pages=False)
    with open_draft(target) as draft:
        with translating_sqlite_errors(target):
            copy_database(path, draft)
        size_bytes = draft.stat().st_size
        if replace:
            _replace_backup(draft, target)
        elif not publish_draft(draft, target):
            raise _make_target_error(target)
    return BackupReport(target, size_bytes)


def restore(backup: Path, path: Path) -> Path | None:
    """Replace a database by a backup, and save the replaced file in the same folder.

    Args:
        backup: A file that `make_backup` made, or any closed database of Onetape; it stays
            unchanged.
        path: Path to restore to; no process, this one included, may have the file open.

    Returns:
        New name of the replaced file; None: no file was replaced.

    Raises:
        StoreError: the backup is missing, damaged, no Onetape database, or newer than this
            program.
        SafetyRefusal: a trader holds a lease on `path`, or another process has the file open.
        ConfigurationError: the folder cannot be written.
    """
    if not backup.is_file():
        raise StoreError(f"{backup} does not exist; name a backup")
    if backup.resolve() == path.resolve():
        raise ConfigurationError(f"{backup} is the database itself; name a backup of it")
    _check_backup(backup, pages=True)
    # A symbolic link stays a link: the file that it points to is replaced.
    path = Path(os.path.realpath(path))
    with open_draft(path) as draft:
        with translating_sqlite_errors(backup):
            copy_database(backup, draft)
        if has_foreign_log(path):
            _rename_orphaned_logs(path)
        with _exclusive_access(path):
            if not path.exists():
                _rename_orphaned_logs(path)
                if publish_draft(draft, path):
                    return None
            replaced = _save_replaced_file(path)
            draft.replace(path)
            flush_to_disk(path.parent)
    return replaced


def _replace_backup(draft: Path, target: Path) -> None:
    """Give a finished draft the name of an existing backup, which some program may have opened.

    Raises:
        SafetyRefusal: the backup has a log and is in use.
    """
    # A link itself is replaced: the log of its target stays with the target.
    if target.is_symlink() or get_file_identity(get_log_path(target)) is None:
        draft.replace(target)
    else:
        if has_foreign_log(target):
            _rename_orphaned_logs(target)
        with _exclusive_access(target):
            _rename_orphaned_logs(target)
            draft.replace(target)
    flush_to_disk(target.parent)


def _check_backup(path: Path, *, pages: bool) -> None:
    """Refuse a file that is no Onetape database; with `pages` also a file with a damaged page."""
    with translating_sqlite_errors(path), connecting(path) as connection:
        check_is_onetape_file(connection, path)
        if connection.execute("PRAGMA user_version").get == 0:
            raise StoreError(f"{path} is an empty database; name another file")
        if pages:
            check_pages(connection, path)


@contextmanager
def _exclusive_access(path: Path) -> Generator[None]:
    """Lock other processes out of a file while it is replaced.

    Raises:
        SafetyRefusal: a trader holds a lease on it, or another process has it open.
    """
    if not path.exists():
        yield
        return
    with translating_sqlite_errors(path), connecting(path) as connection:
        try:
            _check_leases(connection, path)
            # Moves the log into the file; SQLite allows it only if no other process has the file.
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
        except apsw.BusyError as error:
            raise _make_in_use_error(path) from error
        except (apsw.NotADBError, apsw.CorruptError):
            # A damaged file is a usual reason for a restore; its locks can still be checked.
            keep_log_on_close(path, connection)
            connection.close()
            _check_locks(path)
        yield


def _check_leases(connection: DatabaseConnection, path: Path) -> None:
    """Refuse to replace a database in which a process holds a lease.

    Raises:
        SafetyRefusal: a lease is held.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'leases'").get:
        return
    rows = connection.execute(
        "SELECT name, holder, expires_ms - ?1 FROM leases WHERE expires_ms > ?1",
        (time.time_ns() // 1_000_000,),
    ).fetchall()
    for name, holder, left_ms in rows:
        raise SafetyRefusal(
            f"{path}: {name} is traded by {holder}; stop that process first "
            f"(if it was killed, its lease ends in {left_ms / 1_000:.0f} s)"
        )


def _check_locks(path: Path) -> None:
    """Check without SQLite whether another process holds one of SQLite's locks on the file.

    Raises:
        SafetyRefusal: another process holds a lock.
    """
    import fcntl

    start, length = LOCK_BYTES
    with path.open("r+b") as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError as error:
            raise _make_in_use_error(path) from error


def _save_replaced_file(path: Path) -> Path:
    """Give the file to replace, and its log, a second name; return that name."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    second_path = path.with_name(f"{path.name}.replaced-{moment}")
    while second_path.exists():
        second_path = second_path.with_name(f"{second_path.name}x")
    for suffix in ("-wal", "-shm", "-journal"):
        # SQLite would apply a log that stays in place to the new file.
        log_file = Path(f"{path}{suffix}")
        if log_file.exists():
            log_file.replace(f"{second_path}{suffix}")
    get_marker_path(path).unlink(missing_ok=True)
    try:
        os.link(path, second_path)
    except OSError:
        path.replace(second_path)
    return second_path


def _rename_orphaned_logs(path: Path) -> None:
    """Rename the logs of a deleted or replaced file: SQLite would apply them to the next file."""
    for suffix in ("-wal", "-shm", "-journal"):
        log_file = Path(f"{path}{suffix}")
        if log_file.exists():
            log_file.replace(f"{path}{suffix}.left-over")
    get_marker_path(path).unlink(missing_ok=True)


def _make_target_error(target: Path) -> StoreError:
    return StoreError(f"{target} exists already; name another file, or allow it to be replaced")


def _make_in_use_error(path: Path) -> SafetyRefusal:
    return SafetyRefusal(f"{path} is open in another process; stop that process first")
