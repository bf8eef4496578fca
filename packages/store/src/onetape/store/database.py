"""One SQLite file, opened so that many processes can share it and none can harm it.

WAL, BEGIN IMMEDIATE for every write, an own retry with jitter after SQLite's busy timeout (its
handler only sleeps and polls, so a busy writer can starve others), and errors that name the file.
A process that has the file open must not open it in any other way, not even to read its bytes:
closing the other handle drops the locks of this one.
"""

import os
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from onetape.core.errors import ConfigurationError, StoreError, StoreReplaced
from onetape.store.connection import DatabaseConnection, connect, retry_while_locked
from onetape.store.copying import check_pages, draft_of, name_new
from onetape.store.filesystem import check_file_system, get_file_identity, log_of, print_note
from onetape.store.migrations import NEWEST_VERSION, check_ours, migrate
from onetape.store.sqlite_errors import translating_sqlite_errors

BUSY_TIMEOUT_MS = 1_000
#: Takes the write lock before the first read: a transaction that reads first and writes later fails
#: at once where another process has written in between, whatever the timeout.
BEGIN_WRITE = "BEGIN IMMEDIATE"
#: Maximum total wait of a write for other processes, seconds.
WRITE_TIMEOUT_SECONDS = 10.0
#: SQLite 3.7.0 to 3.51.2 can corrupt a WAL file with several writers.
FIRST_SOUND_SQLITE = (3, 51, 3)
#: The write-ahead log is folded into the file, and cut, once it is larger than this.
LOG_LIMIT_BYTES = 67_108_864
#: A bulk writer leaves the file to others for at least this long after each commit.
LEAST_YIELD_SECONDS = 0.002


class Store:
    """An open database file. Close it, or use it as a context manager."""

    def __init__(
        self, path: Path, connection: DatabaseConnection, identity: tuple[int, int] | None
    ) -> None:
        """Wrap an open connection; use `open_store`."""
        self.path = path
        self.lock_timeout_seconds = WRITE_TIMEOUT_SECONDS
        """Maximum time that a write waits for other processes, seconds."""
        self.log_limit_bytes = LOG_LIMIT_BYTES
        """Size of the log from which a bulk write waits for readers, so that the log can be cut."""
        self.yields_to_traders = True
        """Whether a bulk write sleeps after its commit while a trader's lease runs."""
        self.uses_cache = True
        """Whether long ranges are read from the columnar cache in its folder."""
        self._connection = connection
        self._identity = identity

    def __enter__(self) -> "Store":
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        with translating_sqlite_errors(self.path, self._connection):
            if not self._is_in_place():
                # SQLite would delete the log by its name, which now belongs to the new file.
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()

    @contextmanager
    def read(self) -> Generator[DatabaseConnection]:
        """Yield the connection inside one read transaction: all queries read one snapshot.

        Raises:
            StoreError: the file cannot be read.
        """
        with translating_sqlite_errors(self.path, self._connection):
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
    def write(self, *, durable: bool = False, bulk: bool = False) -> Generator[DatabaseConnection]:
        """Yield the connection inside one write transaction; an exception rolls it back.

        Args:
            durable: Commit reaches the disk before this returns: for orders and trades. Without
                it a power cut may lose the last commits, which candles survive (fetched again).
            bulk: One of many writes in a row. While a trader runs on this file, the caller then
                sleeps after the commit for as long as it held the lock, so that the trader gets
                its turn; and the write-ahead log does not grow without end.

        Raises:
            StoreError: the file cannot be written, was deleted or replaced, or other processes
                locked it for `lock_timeout_seconds`.
        """
        connection = self._connection
        self.check_in_place()
        with translating_sqlite_errors(self.path, self._connection):
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            # SQLite's own wait sleeps for up to 100 ms, while busier writers overtake.
            connection.set_busy_timeout(0)
            try:
                retry_while_locked(
                    lambda: connection.execute(BEGIN_WRITE), self.lock_timeout_seconds
                )
            finally:
                connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            began = time.monotonic()
            try:
                yield connection
                others = bulk and self.yields_to_traders and _has_other_trader(connection)
                retry_while_locked(lambda: connection.execute("COMMIT"), self.lock_timeout_seconds)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if others:
                time.sleep(max(LEAST_YIELD_SECONDS, time.monotonic() - began))
            if bulk:
                self._cut_log()

    def set_log_watch(self, watch: Callable[[int], None]) -> None:
        """Call a function after each commit with the number of pages in the write-ahead log.

        From then on no commit of this store folds the log into the file: see `checkpoint`.
        """

        def hook(_: DatabaseConnection, __: str, pages: int) -> int:
            watch(pages)
            return 0

        self._connection.set_wal_hook(hook)

    def checkpoint(self) -> None:
        """Fold the log into the file as far as readers allow; no other process waits for it.

        Raises:
            StoreError: the file cannot be written, was deleted or replaced.
        """
        self.check_in_place()
        with translating_sqlite_errors(self.path, self._connection):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._cut_log()

    def check_in_place(self) -> None:
        """Check whether the path still leads to the open file; every write does so first.

        A deleted file stays writable for processes that have it open, and is gone with them.

        Raises:
            StoreReplaced: the file was deleted or emptied, or another file has its name.
            StoreUnwritable: the folder of the file may not be entered any more.
            StoreError: the disk does not respond.
        """
        if not self._is_in_place():
            raise StoreReplaced(
                f"{self.path} was deleted or replaced while it was open, and what was written "
                "since is not in it; run again to go on with what is there now"
            )

    def _is_in_place(self) -> bool:
        return self._identity is not None and get_file_identity(self.path) == self._identity

    def _cut_log(self) -> None:
        """Fold a log that has grown too long into the file; wait for readers that still use it.

        SQLite begins the log again only at a moment without a reader, which may never come
        by itself. A longer reader slows only this writer down.
        """
        log = log_of(self.path)
        deadline = time.monotonic() + self.lock_timeout_seconds
        while _get_size(log) > self.log_limit_bytes:
            # Others cannot write while this call waits for a reader, so it is repeated instead.
            self._connection.set_busy_timeout(0)
            try:
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            finally:
                self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if not busy or time.monotonic() >= deadline:
                return
            time.sleep(0.01)


def open_store(path: Path, *, create: bool, whole: bool = False) -> Store:
    """Open a database file, bring its schema up to date, and return it.

    Args:
        path: Path of the file.
        create: Whether a missing file is made, with its folder. Files are made 0600, folders 0700.
        whole: Whether every page is read first (about a second for each million rows): a damaged
            one in the middle shows in no other way until it is needed.

    Raises:
        StoreError: missing (and not `create`), damaged, empty, no Onetape database, newer than
            this program, or locked.
        ConfigurationError: the folder cannot be written.
    """
    if _read_sqlite_version() < FIRST_SOUND_SQLITE:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a file with several writers; "
            "install apsw >= 3.51.3"
        )
    check_file_system(path)
    if not _check_usable(path):
        if not create:
            raise StoreError(
                f"{path} does not exist; fill it first: uv run backfiller --symbol BTC/USDT"
            )
        _check_no_log_without_file(path)
        # A link without a target stays a link: the file is created at its target.
        _create(Path(os.path.realpath(path)) if path.is_symlink() else path)
    # Before the open: a file that takes the name meanwhile is then detected.
    identity = get_file_identity(path)
    with translating_sqlite_errors(path):
        connection = _connect(path)
        try:
            # Checked before any setting: WAL mode would be written into a foreign file.
            check_ours(connection, path)
            if whole:
                check_pages(connection, path)
            _share(connection)
            copy = migrate(connection, path)
            store = Store(path, connection, identity)
            store.check_in_place()
        except BaseException:
            connection.close()
            raise
    if copy is not None:
        print_note(
            f"{path} was migrated to schema {NEWEST_VERSION}; a copy from before is saved as {copy}"
        )
    return store


def open_if_exists(path: Path) -> Store | None:
    """Open a database file as `open_store` does; return None if there is no file.

    Raises:
        StoreError: as for `open_store`.
        ConfigurationError: the path cannot be read.
    """
    return open_store(path, create=False) if _check_usable(path) else None


def _check_usable(path: Path) -> bool:
    """Return whether a path has a file that may be a database; False if the path does not exist.

    Raises:
        StoreError: the path is no file, or the file is empty.
        ConfigurationError: the path cannot be read.
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
        raise StoreError(f"{path} is not a file; name a database file, such as data/onetape.db")
    if status.st_size == 0:
        raise StoreError(f"{path} is empty (0 bytes); restore it, or delete it to start afresh")
    return True


def _check_no_log_without_file(path: Path) -> None:
    """Refuse to create a file whose name has a log already, which would be written into the file.

    Raises:
        StoreError: the file was deleted, its log was not.
    """
    log = log_of(path)
    # Looked at again afterwards: another process may have made the file in this moment.
    if _get_size(log) and not _check_usable(path):
        raise StoreError(
            f"{path} is gone, but its log {log.name} is there: it was deleted while a program "
            "used it; end that program, then restore a backup, or delete the log to start afresh"
        )


def _get_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _has_other_trader(connection: DatabaseConnection) -> bool:
    """Return whether a trader's lease is valid: a living trader renews its lease."""
    now_ms = time.time_ns() // 1_000_000
    return bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM leases WHERE expires_ms > ?)", (now_ms,)
        ).get
    )


def _read_sqlite_version() -> tuple[int, ...]:
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def _create(path: Path) -> None:
    """Make a complete database in the folder of `path`, then give it that name in one step.

    Other processes see no file or a complete one; of two at once, the first wins and both use it.
    """
    with draft_of(path) as draft:
        with translating_sqlite_errors(path):
            connection = _connect(draft)
            try:
                _share(connection)
                migrate(connection, path)
            finally:
                connection.close()
        name_new(draft, path)


def _connect(path: Path) -> DatabaseConnection:
    connection = connect(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _share(connection: DatabaseConnection) -> None:
    """Prepare a Onetape database for several processes."""
    # A restored file is not in WAL mode yet, and the switch needs the sole connection.
    retry_while_locked(
        lambda: connection.execute("PRAGMA journal_mode = WAL"), WRITE_TIMEOUT_SECONDS
    )
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
