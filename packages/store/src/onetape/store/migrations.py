"""Bring the schema of a database file up to date with numbered scripts.

`PRAGMA user_version` is the number of scripts that have been run on the file.
"""

import time
from pathlib import Path

from onetape.core.errors import StoreError
from onetape.store.connection import DatabaseConnection, retry_while_locked
from onetape.store.copying import copy_database, open_draft, publish_draft

#: "OTAP" in the header marks a Onetape database.
APPLICATION_ID = 0x4F544150
#: The script of each version, in order; a released script is never edited.
SCRIPTS = (
    "schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql", "schema_6.sql",
    "schema_7.sql", "schema_8.sql",
)  # fmt: skip
NEWEST_VERSION = len(SCRIPTS)
#: Maximum wait for another process that migrates the file, seconds.
MIGRATION_TIMEOUT_SECONDS = 120.0


def migrate(connection: DatabaseConnection, path: Path) -> Path | None:
    """Bring a file up to the newest schema in one transaction; other processes wait meanwhile.

    A file with rows is copied first, while it is locked, so that the copy has exactly the state
    before the scripts. The copy is not deleted.

    Returns:
        Path of the copy; None if no copy was needed.

    Raises:
        StoreError: the file was written by a newer Onetape or by another program, or is damaged.
    """
    check_is_onetape_file(connection, path)
    if _read_version(connection) == NEWEST_VERSION:
        return None
    # Most starts migrate nothing, and should not wait 3 ms for this module.
    from importlib.resources import files

    retry_while_locked(lambda: connection.execute("BEGIN IMMEDIATE"), MIGRATION_TIMEOUT_SECONDS)
    try:
        # Another process may have migrated the file between the check and the lock.
        check_is_onetape_file(connection, path)
        version = _read_version(connection)
        if version == NEWEST_VERSION:
            connection.execute("ROLLBACK")
            return None
        copy = _copy_before_migration(path, version) if _has_rows(connection) else None
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


def check_is_onetape_file(connection: DatabaseConnection, path: Path) -> None:
    """Refuse a file that is no Onetape database or is too new; nothing is written.

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


def _copy_before_migration(path: Path, version: int) -> Path:
    """Copy a file to a name with its version and the time, in the same folder; return that name.

    The caller has the write lock, so unfinished copies are those of processes that were killed.
    """
    # Imported late, because few starts migrate a file.
    from glob import escape

    stem = f"{path.name}.v{version}-"
    for stale in path.parent.glob(f".{escape(stem)}*.new*"):
        stale.unlink(missing_ok=True)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = path.with_name(f"{stem}{moment}.backup")
    with open_draft(copy) as draft:
        copy_database(path, draft)
        while not publish_draft(draft, copy):
            # An earlier try of this second was interrupted.
            copy = copy.with_name(f"{copy.stem}x{copy.suffix}")
    return copy
