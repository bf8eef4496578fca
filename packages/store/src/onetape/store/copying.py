"""Copy a whole database while others write, and give files their names in one step.

The copy is made page by page by SQLite's backup interface inside one read transaction, so that the
copy has the state of one moment, and no commit of another process restarts it. VACUUM INTO takes no
less time, and Ctrl-C would have to wait for the end of its one statement. Copying the file itself
would lose the commits that are still in its write-ahead log.
"""

import contextlib
import os
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from onetape.core.errors import ConfigurationError, StoreError
from onetape.store.connection import DatabaseConnection, connect

#: 4 MiB: between two steps a signal gets through.
PAGES_A_STEP = 1_024
#: Time without a write after which a draft belongs to a process that was killed.
STALE_AFTER_SECONDS = 3_600.0


def copy_database(source: Path, target: Path) -> None:
    """Write a checked copy of an open or closed database over an empty file.

    The copy needs no other files and can be opened on a medium that cannot be written.

    Raises:
        StoreError: a page of the database is damaged.
        apsw.Error: as raised by SQLite.
    """
    with closing(connect(source)) as original, closing(connect(target)) as copy:
        # Holds one snapshot: otherwise each step below would read a newer one and start again.
        original.execute("BEGIN; SELECT count(*) FROM sqlite_master").fetchall()
        backup = copy.backup("main", original, "main")
        try:
            while not backup.step(PAGES_A_STEP):
                pass
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreError(f"{source} is damaged ({error}); restore a backup of it") from error
        finally:
            backup.finish()
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        check_pages(copy, source)
    flush_to_disk(target)


def check_pages(connection: DatabaseConnection, path: Path) -> None:
    """Read every page of a database and refuse a damaged one.

    Raises:
        StoreError: a page is damaged; the text names `path`.
    """
    fault = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
    if fault != "ok":
        first = str(fault).splitlines()[-1]
        raise StoreError(f"{path} is damaged ({first}); restore a backup of it")


def _delete_stale_drafts(path: Path) -> None:
    """Delete the drafts of a file that processes left when they were killed."""
    from glob import escape  # only writers of whole files need it

    for stale in path.parent.glob(f".{escape(path.name)}.*.new*"):
        # Two processes may sweep at once.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - stale.stat().st_mtime > STALE_AFTER_SECONDS:
                stale.unlink()


@contextmanager
def draft_of(path: Path) -> Generator[Path]:
    """Yield an empty file next to `path`, 0600, which is deleted afterwards unless renamed.

    Raises:
        ConfigurationError: the folder cannot be made or written.
    """
    # Only writers of whole files need it.
    import tempfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _delete_stale_drafts(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ConfigurationError(
            f"cannot create {path}: {error.strerror}; make the folder writable, "
            "or choose another file"
        ) from error
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


def name_new(draft: Path, path: Path) -> bool:
    """Give a finished draft its name; return False if a file has that name already."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: rename is as atomic, and the race is over by now.
        if path.exists():
            return False
        draft.replace(path)
    flush_to_disk(path.parent)
    return True


def flush_to_disk(path: Path) -> None:
    """Wait until a file that no process has open, or a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some file systems cannot flush a folder, and need not.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
