"""Open a database file for reading only, without creating, migrating or writing it."""

import stat
from pathlib import Path

from onetape.core.errors import StoreError
from onetape.store.connection import DatabaseConnection, connect, keep_log_on_close
from onetape.store.database import BUSY_TIMEOUT_MS, Store
from onetape.store.filesystem import get_file_identity
from onetape.store.migrations import NEWEST_VERSION, check_is_onetape_file
from onetape.store.sqlite_errors import translating_sqlite_errors


def open_read_only(path: Path) -> Store:
    """Open an existing database file; each write to the returned store fails.

    Args:
        path: Path of the file.

    Raises:
        StoreError: the file is missing or empty, is no Onetape database, has another schema than
            this program reads, has the log of a replaced file, or cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}; --db names the file") from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is not a file; --db names a database file, as data/onetape.db")
    if status.st_size == 0:
        raise StoreError(f"{path} is empty (0 bytes); --db names another file")
    identity = get_file_identity(path)
    with translating_sqlite_errors(path):
        connection = connect(path)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            check_is_onetape_file(connection, path)
            _check_version(connection, path)
        except BaseException:
            keep_log_on_close(path, connection)
            connection.close()
            raise
    return Store(path, connection, identity)


def _check_version(connection: DatabaseConnection, path: Path) -> None:
    """Refuse a file with an older schema, because a migration would write to it.

    Raises:
        StoreError: the schema is older.
    """
    version = int(connection.execute("PRAGMA user_version").get)
    if version < NEWEST_VERSION:
        raise StoreError(
            f"{path} has schema {version} of an earlier Onetape, this one reads {NEWEST_VERSION}; "
            f"bring the file up to date: uv run backfiller list --db {path}"
        )
