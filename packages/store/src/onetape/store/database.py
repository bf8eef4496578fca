"""Open the SQLite file so that many processes can share it safely; read and write transactions.

The file is in WAL mode, and every write begins with BEGIN IMMEDIATE. A locked file is tried again
at short random intervals: SQLite's own wait has growing sleeps, so a busy writer could starve
others. Errors of SQLite become errors that name the file and the remedy. A process that has the
file open must not open it in another way, not even to read its bytes: closing that handle would
release the locks of this one.
"""

import os
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from onetape.core.errors import ConfigurationError, StoreError, StoreReplaced
from onetape.store.connection import (
    DatabaseConnection,
    connect,
    keep_log_on_close,
    retry_while_locked,
)
from onetape.store.copying import check_pages, open_draft, publish_draft
from onetape.store.filesystem import check_file_system, get_file_identity, get_log_path, print_note
from onetape.store.log_owner import (
    LogOwner,
    delete_marker_without_log,
    describe_log_remedy,
    describe_old_log,
)
from onetape.store.migrations import NEWEST_VERSION, check_is_onetape_file, migrate
from onetape.store.sqlite_errors import translating_sqlite_errors

#: SQLite's own wait for a lock, outside of the start and end of a write, milliseconds.
BUSY_TIMEOUT_MS = 1_000
#: Takes the write lock before the first read. A transaction that reads first and writes later fails
#: at once if another process has written in between, whatever the timeout.
BEGIN_WRITE = "BEGIN IMMEDIATE"
#: Maximum total wait of a write for other processes, seconds.
WRITE_TIMEOUT_SECONDS = 10.0
#: SQLite 3.7.0 to 3.51.2 can corrupt a WAL file with several writers.
FIRST_SOUND_SQLITE = (3, 51, 3)
#: Size of the write-ahead log from which its content is moved into the file and the log is cut.
LOG_LIMIT_BYTES = 67_108_864
#: A bulk writer leaves the file to others for at least this long after each commit.
MIN_YIELD_SECONDS = 0.002


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
        """Whether a bulk write sleeps after its commit while the lease of a trader is valid."""
        self.uses_cache = True
        """Whether long ranges are read from the columnar cache in its folder."""
        self._connection = connection
        self._identity = identity
        self._log_owner = LogOwner(path, identity)

    def __enter__(self) -> "Store":
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the file; the last process to close it moves the write-ahead log into the file."""
        with translating_sqlite_errors(self.path, self._connection):
            is_in_place = self._is_in_place()
            if not is_in_place:
                # SQLite would delete the log by its name, which now belongs to the new file.
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()
        if is_in_place and self._identity is not None:
            delete_marker_without_log(self.path)

    @contextmanager
    def read(self) -> Generator[DatabaseConnection]:
        """Yield the connection inside a read transaction: all queries see one state of the file.

        Inside a transaction of this store, that transaction is used.

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
            durable: Whether the commit waits until it is on the disk: for orders and fills. Without
                it a power cut may lose the last commits; lost candles can be fetched again.
            bulk: Whether this is one of many writes in a row. While a trader uses this file, the
                call then sleeps after the commit for as long as it held the lock, so that the
                trader can write; and a write-ahead log that has grown too long is cut.

        Raises:
            StoreError: the file cannot be written, was deleted or replaced, or other processes
                locked it for `lock_timeout_seconds`.
        """
        connection = self._connection
        self.check_in_place()
        self._log_owner.record(connection)
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
                must_sleep = bulk and self.yields_to_traders and _is_trader_active(connection)
                retry_while_locked(lambda: connection.execute("COMMIT"), self.lock_timeout_seconds)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if must_sleep:
                time.sleep(max(MIN_YIELD_SECONDS, time.monotonic() - began))
            if bulk:
                self._cut_log()

    def set_log_watch(self, watch: Callable[[int], None]) -> None:
        """Call a function after each commit with the number of pages in the write-ahead log.

        From then on no commit of this store moves the log into the file: call `checkpoint`.
        """

        def hook(_: DatabaseConnection, __: str, pages: int) -> int:
            watch(pages)
            return 0

        self._connection.set_wal_hook(hook)

    def checkpoint(self) -> None:
        """Move the log into the file as far as readers allow; no other process waits for it.

        Raises:
            StoreError: the file cannot be written, was deleted or replaced.
        """
        self.check_in_place()
        with translating_sqlite_errors(self.path, self._connection):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._cut_log()

    def check_in_place(self) -> None:
        """Refuse to go on if the path does not lead to the open file any more; each write checks.

        A process can still write to a deleted file that it has open, but the data would be lost.

        Raises:
            StoreReplaced: the file was deleted or emptied, or another file has its name.
            StoreUnwritable: the folder of the file may not be entered any more.
            StoreError: the disk does not respond.
        """
        if self._is_in_place():
            return
        loss = "was deleted or replaced while it was open, and what was written since is not in it"
        if _get_size(get_log_path(self.path)):
            old_log = f"{describe_old_log(self.path)}: {describe_log_remedy(self.path)}"
            raise StoreReplaced(f"{self.path} {loss}; {old_log}")
        raise StoreReplaced(f"{self.path} {loss}; run again to go on with what is there now")

    def record_log_owner(self) -> None:
        """Write to the marker next to the file that the log belongs to it; each write does so."""
        self._log_owner.record(self._connection)

    def _is_in_place(self) -> bool:
        return self._identity is not None and get_file_identity(self.path) == self._identity

    def _cut_log(self) -> None:
        """Move a log that has grown too long into the file and cut it; wait for its readers.

        SQLite begins the log again only while there is no reader, which may never happen by
        chance. Only this writer waits for the readers.
        """
        log = get_log_path(self.path)
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
        create: Whether a missing file is created (mode 0600), with its folder (0700).
        whole: Whether every page is read and checked first, about a second for each million rows.
            Otherwise a damaged page is noticed only when it is needed.

    Raises:
        StoreError: the file is missing (without `create`), damaged, empty, no Onetape database,
            newer than this program, locked, or has the log of a file that it replaced.
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
    # Read before the file is opened, so that a file that takes the name meanwhile is detected.
    identity = get_file_identity(path)
    with translating_sqlite_errors(path):
        connection = _connect(path)
        try:
            # Checked before any setting: WAL mode would change a file of another program.
            check_is_onetape_file(connection, path)
            if whole:
                check_pages(connection, path)
            _enable_sharing(connection)
            store = Store(path, connection, identity)
            store.check_in_place()
            store.record_log_owner()
            copy = migrate(connection, path)
            store.check_in_place()
        except BaseException:
            keep_log_on_close(path, connection)
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
        StoreError: the file cannot be used, as in `open_store`.
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
    """Refuse to create a file if a log of its name exists: SQLite would apply the log to the file.

    Raises:
        StoreError: the file was deleted, its log was not.
    """
    log = get_log_path(path)
    # The file is checked again after its log: another process may just have created both.
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


def _is_trader_active(connection: DatabaseConnection) -> bool:
    """Return whether the lease of a trader is valid; a running trader renews its lease."""
    now_ms = time.time_ns() // 1_000_000
    return bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM leases WHERE expires_ms > ?)", (now_ms,)
        ).get
    )


def _read_sqlite_version() -> tuple[int, ...]:
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def _create(path: Path) -> None:
    """Create a complete database under another name, then give it the name `path` in one step.

    Other processes see either no file or a complete one. If two processes create the file at once,
    both use the file of the first.
    """
    with open_draft(path) as draft:
        with translating_sqlite_errors(path):
            connection = _connect(draft)
            try:
                _enable_sharing(connection)
                migrate(connection, path)
            finally:
                connection.close()
        publish_draft(draft, path)


def _connect(path: Path) -> DatabaseConnection:
    connection = connect(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _enable_sharing(connection: DatabaseConnection) -> None:
    """Switch a Onetape database to WAL mode, which several processes can use at once."""
    # A restored file is not in WAL mode yet; the switch fails while another process has it open.
    retry_while_locked(
        lambda: connection.execute("PRAGMA journal_mode = WAL"), WRITE_TIMEOUT_SECONDS
    )
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
