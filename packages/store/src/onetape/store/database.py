"""One SQLite file, opened so that many processes can share it and none can harm it.

WAL, BEGIN IMMEDIATE for every write, an own retry with jitter beside SQLite's busy timeout (its
handler only sleeps and polls, so a busy writer can starve others), and errors that name the file.
A process that has the file open must not open it in any other way, not even to read its bytes:
closing the other handle drops the locks of this one.
"""

import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import apsw

from onetape.core.errors import ConfigurationError, OnetapeError, StoreError
from onetape.store.connection import Connection, connect
from onetape.store.migrations import check_ours, migrate

BUSY_TIMEOUT_MS = 1_000
#: How long a write waits for other processes in all, seconds.
WRITE_PATIENCE_SECONDS = 10.0
#: SQLite 3.7.0 to 3.51.2 can corrupt a WAL file with several writers.
FIRST_SOUND_SQLITE = (3, 51, 3)

T = TypeVar("T")


class Store:
    """An open database file. Close it, or use it as a context manager."""

    def __init__(self, path: Path, connection: Connection) -> None:
        """Wrap an open connection; use `open_store`."""
        self.path = path
        self.patience_seconds = WRITE_PATIENCE_SECONDS
        """How long a write waits for other processes in all."""
        self._connection = connection
        self._identity = _identity(path)
        self._random = random.Random()  # noqa: S311 - jitter, no secret

    def __enter__(self) -> "Store":
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        with translated(self.path):
            self._connection.close()

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Give the connection inside one read transaction: every query sees the same moment.

        Raises:
            StoreError: the file cannot be read.
        """
        with translated(self.path):
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                # A failed read may have ended the transaction by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def write(self, *, durable: bool = False) -> Generator[Connection]:
        """Give the connection inside one write transaction; an exception rolls it back.

        Args:
            durable: Commit reaches the disk before this returns: for orders and trades. Without
                it a power cut may lose the last commits, which candles survive (fetched again).

        Raises:
            StoreError: the file cannot be written, was deleted or replaced, or others kept it
                locked for `patience_seconds`.
        """
        connection = self._connection
        self.check_in_place()
        with translated(self.path):
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                yield connection
                self._patiently(lambda: connection.execute("COMMIT"))
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def check_in_place(self) -> None:
        """Look whether the path still leads to the open file; every write does so first.

        A file that was deleted stays writable for whoever has it open, and is gone with them.

        Raises:
            StoreError: it was deleted, or another file has its name.
        """
        if self._identity is None or _identity(self.path) != self._identity:
            raise StoreError(
                f"{self.path} was deleted or replaced while it was open, and what was written "
                "since is not in it; run again to go on with what is there now"
            )

    def _patiently(self, action: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return action()
            except apsw.BusyError:
                if time.monotonic() >= deadline:
                    raise
                # Waiting 0.5 to 3 ms at random is fairer than SQLite's growing naps.
                time.sleep(self._random.uniform(0.0005, 0.003))


def open_store(path: Path, *, create: bool) -> Store:
    """Open a database file, bring its schema up to date, and return it.

    Args:
        path: The file.
        create: Whether a missing file is made, with its folder. Files are made 0600, folders 0700.

    Raises:
        StoreError: missing (and not `create`), damaged, empty, not ours, newer than this program,
            or locked.
        ConfigurationError: the folder cannot be written.
    """
    if _sqlite_version() < FIRST_SOUND_SQLITE:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a file with several writers; "
            "install apsw >= 3.51.3"
        )
    if not _usable(path):
        if not create:
            raise StoreError(
                f"{path} does not exist; fill it first: uv run backfiller --symbol BTC/USDT"
            )
        _create(path)
    with translated(path):
        connection = _connect(path)
        try:
            # Looked at before anything is set: WAL mode would be written into a foreign file.
            check_ours(connection, path)
            _share(connection)
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return Store(path, connection)


def open_if_exists(path: Path) -> Store | None:
    """Open a database file as `open_store` does, or return None where there is nothing.

    Raises:
        StoreError: as for `open_store`.
        ConfigurationError: the path cannot be looked at.
    """
    return open_store(path, create=False) if _usable(path) else None


def _usable(path: Path) -> bool:
    """Return whether there is a file that may be a database; False where there is nothing.

    Raises:
        StoreError: what is there is no file, or empty.
        ConfigurationError: the path cannot be looked at.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(
            f"cannot use {path}: {error.strerror}; choose another file with --db"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is no file; name a database file, such as data/onetape.db")
    if status.st_size == 0:
        raise StoreError(f"{path} is empty (0 bytes); restore it, or delete it to start afresh")
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, or None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sqlite_version() -> tuple[int, ...]:
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def _create(path: Path) -> None:
    """Make a complete database beside `path`, then give it that name in one step.

    Other processes see no file or a whole one; where two race, the first wins and both use it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        os.close(handle)  # mkstemp makes it 0600
    except OSError as error:
        raise ConfigurationError(
            f"cannot create {path}: {error.strerror}; make the folder writable, or choose another "
            "file with --db"
        ) from error
    draft = Path(name)
    try:
        with translated(path):
            connection = _connect(draft)
            _share(connection)
            migrate(connection, path)
            connection.close()
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:
            # A file system without hard links: rename is as atomic, and the race is over by now.
            if not path.exists():
                draft.replace(path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> Connection:
    connection = connect(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _share(connection: Connection) -> None:
    """Prepare a file of ours for several processes."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA journal_size_limit = 67108864")


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn every error of SQLite inside into one of ours that names the file and the remedy."""
    try:
        yield
    except OnetapeError:
        raise
    except apsw.NotADBError as error:
        raise StoreError(f"{path} is no SQLite database; choose another file with --db") from error
    except apsw.CorruptError as error:
        raise StoreError(
            f"{path} is damaged ({error}); nothing was changed; restore a backup of it"
        ) from error
    except apsw.BusyError as error:
        raise StoreError(
            f"{path} stayed locked by another process for {WRITE_PATIENCE_SECONDS:.0f} s; "
            "end that process, or try again"
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise ConfigurationError(
            f"cannot write {path} ({error}); make the file and its folder writable, "
            "or choose another file with --db"
        ) from error
    except apsw.FullError as error:
        raise StoreError(f"{path}: the disk is full; free some space and run again") from error
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
