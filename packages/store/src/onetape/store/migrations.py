"""Versioned migrations: `PRAGMA user_version` counts the scripts that a file has been through."""

import time
from pathlib import Path

from onetape.core.errors import StoreError
from onetape.store.connection import DatabaseConnection, retry_while_locked
from onetape.store.copying import copy_database, draft_of, name_new

#: "OTAP" in the header marks a Onetape database.
APPLICATION_ID = 0x4F544150
#: One script a version, in order; a released script is never edited.
SCRIPTS = (
    "schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql", "schema_6.sql",
    "schema_7.sql",
)  # fmt: skip
NEWEST_VERSION = len(SCRIPTS)
#: Maximum wait for another process that migrates the file, seconds.
MIGRATION_TIMEOUT_SECONDS = 120.0


def migrate(connection: DatabaseConnection, path: Path) -> Path | None:
    """Bring a file up to the newest schema, in one transaction; a second process waits for it.

    A file that holds rows is copied first, under the lock, so that the copy is exactly the state
    before the scripts. The copy is not deleted.

    Returns:
        Path of the copy; None if no copy was needed.

    Raises:
        StoreError: the file was written by a newer Onetape or by another program, or is damaged.
    """
    check_ours(connection, path)
    if _read_version(connection) == NEWEST_VERSION:
        return None
    # Most starts migrate nothing, and should not wait 3 ms for this module.
    from importlib.resources import files

    retry_while_locked(lambda: connection.execute("BEGIN IMMEDIATE"), MIGRATION_TIMEOUT_SECONDS)
    try:
        # Another process may have migrated the file between the check and the lock.
        check_ours(connection, path)
        version = _read_version(connection)
        if version == NEWEST_VERSION:
            connection.execute("ROLLBACK")
            return None
        copy = _copy_beside(path, version) if _has_rows(connection) else None
        for script in SCRIPTS[version:]:
            text = files("onetape.store").joinpath(script).read_text(encoding="utf-8")
            connection.execute(text)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {NEWEST_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return copy


def check_ours(connection: DatabaseConnection, path: Path) -> None:
    """Refuse a file that we may not write; only reads.

    Raises:
        StoreError: the file was written by a newer Onetape, or by another program.
    """
    version = _read_version(connection)
    application = connection.execute("PRAGMA application_id").get
    tables = connection.execute("SELECT count(*) FROM sqlite_master").get
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreError(f"{path} is a database of another program; choose another file with --db")
    if version > NEWEST_VERSION:
        raise StoreError(
            f"{path} has schema {version}, this Onetape reads up to {NEWEST_VERSION}: "
            "update Onetape, or choose another file with --db"
        )


def _read_version(connection: DatabaseConnection) -> int:
    return int(connection.execute("PRAGMA user_version").get)


def _has_rows(connection: DatabaseConnection) -> bool:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return any(
        connection.execute(f'SELECT EXISTS (SELECT 1 FROM "{name}")').get for (name,) in tables
    )


def _copy_beside(path: Path, version: int) -> Path:
    """Copy a file in its folder, named after its version and the time, and return that name.

    Called under the write lock, so unfinished copies can only be left by a process that was killed.
    """
    # Imported late, because few starts migrate a file.
    from glob import escape

    stem = f"{path.name}.v{version}-"
    for stale in path.parent.glob(f".{escape(stem)}*.new*"):
        stale.unlink(missing_ok=True)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = path.with_name(f"{stem}{moment}.backup")
    with draft_of(copy) as draft:
        copy_database(path, draft)
        while not name_new(draft, copy):
            # An earlier try of this second was interrupted.
            copy = copy.with_name(f"{copy.stem}x{copy.suffix}")
    return copy
