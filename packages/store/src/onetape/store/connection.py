"""Types for the part of apsw that the store uses, because apsw's own stub needs Python 3.12.

Also opening and closing a file, waiting for a lock, and inserting a row.
"""

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import apsw

from onetape.store.filesystem import get_file_identity, get_log_path
from onetape.store.log_owner import check_log_owner

#: Value that can be bound to a placeholder of SQL.
Value = int | float | str | bytes | None
T = TypeVar("T")


class Cursor(Protocol):
    """Rows of a statement."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Iterate over the rows."""
        ...

    @property
    def get(self) -> Any:
        """All rows; a single row is not in a list, a single value not in a tuple; None: no row."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        ...


class Copy(Protocol):
    """A copy of a database under way."""

    def step(self, pages: int) -> bool:
        """Copy the next pages; return whether the copy is complete."""
        ...

    def finish(self) -> None:
        """End the copy."""
        ...


class DatabaseConnection(Protocol):
    """An open database."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    @property
    def system_errno(self) -> int:
        """Error number of the operating system for the last read or write that failed."""
        ...

    def execute(self, statements: str, bindings: Sequence[Value] = ()) -> Cursor:
        """Run SQL with `?` placeholders bound to values."""
        ...

    def executemany(self, statements: str, bindings: Iterable[Sequence[Value]]) -> Cursor:
        """Run SQL once for each sequence of values."""
        ...

    def set_busy_timeout(self, milliseconds: int) -> None:
        """Wait this long for a lock before giving up."""
        ...

    def set_wal_hook(self, hook: Callable[["DatabaseConnection", str, int], int]) -> None:
        """Call a function after each commit with the number of pages in the write-ahead log."""
        ...

    def changes(self) -> int:
        """Return the number of rows that the last statement changed, without its triggers' rows."""
        ...

    def backup(self, name: str, source: "DatabaseConnection", source_name: str) -> Copy:
        """Begin to overwrite this database with another."""
        ...

    def read(self, schema: str, which: int, offset: int, amount: int) -> tuple[bool, bytes]:
        """Read bytes of the file itself; return whether all were read, and the bytes."""
        ...

    def config(self, option: int, value: int) -> int:
        """Set an option of the connection."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


def connect(path: Path) -> DatabaseConnection:
    """Open an existing file for reading and writing, without any setting.

    Raises:
        StoreReplaced: the file was replaced, and the log of the replaced file is still there.
        apsw.Error: another error of SQLite.
    """
    check_log_owner(path)
    # apsw's stub names a type of Python 3.12, which makes every call "partially unknown" on 3.11.
    return cast("DatabaseConnection", apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE))


@contextmanager
def connecting(path: Path) -> Generator[DatabaseConnection]:
    """Yield an open connection and close it; after an exception the close changes nothing."""
    connection = connect(path)
    try:
        yield connection
    except BaseException:
        keep_log_on_close(path, connection)
        raise
    finally:
        connection.close()


def keep_log_on_close(path: Path, connection: DatabaseConnection) -> None:
    """Let the close of a connection leave a log that has content where it is.

    SQLite's last close would move the log into the file, even if the file is damaged. An empty log
    changes nothing and is deleted as usual.
    """
    if get_file_identity(get_log_path(path)) is not None:
        # The connection may be closed already.
        with suppress(apsw.ConnectionClosedError):
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def retry_while_locked(action: Callable[[], T], seconds: float) -> T:
    """Return the result of an action; repeat it while another process has the database locked.

    Raises:
        apsw.BusyError: the database was still locked after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            # Waiting 0.5 to 3 ms at random is fairer than SQLite's growing sleeps.
            time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - jitter, no secret


def insert_row(connection: DatabaseConnection, table: str, values: dict[str, Value]) -> None:
    """Insert a row, values by column; names are not escaped, so they may not come from a user."""
    columns = ", ".join(values)
    placeholders = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({placeholders})", tuple(values.values())
    )
