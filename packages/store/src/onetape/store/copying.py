"""Copy a whole database while others write, and publish a finished file under its name.

SQLite's backup interface copies page by page inside one read transaction, so that the copy has the
state of one moment and commits of other processes do not restart it. VACUUM INTO is not faster, and
Ctrl-C would wait for the end of the statement. A copy of the file itself would lose the commits
that are still in the write-ahead log.
"""

import contextlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from onetape.core.errors import ConfigurationError, StoreError
from onetape.store.connection import DatabaseConnection, connecting

#: Pages copied in one step (4 MiB); between two steps a signal such as Ctrl-C is handled.
PAGES_A_STEP = 1_024
#: Time without a write after which a draft belongs to a process that was killed.
STALE_AFTER_SECONDS = 3_600.0


def copy_database(source: Path, target: Path) -> None:
    """Write a checked copy of an open or closed database over an empty file.

    The copy is not in WAL mode: it needs no other files and can be opened on a read-only disk.

    Raises:
        StoreError: a page of the database is damaged.
        apsw.Error: another error of SQLite.
    """
    with connecting(source) as original, connecting(target) as copy:
        # Begins one snapshot: otherwise a commit of another process would restart the copy.
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
def open_draft(path: Path) -> Generator[Path]:
    """Yield the path of a new empty file next to `path`, mode 0600; delete it after the block.

    A draft that was published or renamed in the block stays. Drafts of killed processes are
    deleted.

    Raises:
        ConfigurationError: the folder cannot be made or written.
    """
    import tempfile  # only writers of whole files need it

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
        for suffix in ("", "-journal", "-wal", "-shm", "-wal-owner"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


def publish_draft(draft: Path, path: Path) -> bool:
    """Give a finished draft its name in one step; return False if a file has the name already."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: a rename is atomic too, but it would replace a file that
        # another process makes between the check and the rename.
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
