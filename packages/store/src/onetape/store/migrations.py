"""Versioned migrations: `PRAGMA user_version` counts the scripts that a file has been through."""

from importlib.resources import files
from pathlib import Path

from onetape.core.errors import StoreError
from onetape.store.connection import Connection

#: "OTAP" in the header marks a file as ours.
APPLICATION_ID = 0x4F544150
#: One script a version, in order; a released script is never edited.
SCRIPTS = ("schema.sql", "schema_2.sql")
NEWEST_VERSION = len(SCRIPTS)


def migrate(connection: Connection, path: Path) -> None:
    """Bring a file up to the newest schema, in one transaction; a second process waits for it.

    Raises:
        StoreError: the file was written by a newer Onetape, or by another program.
    """
    check_ours(connection, path)
    if _version(connection) == NEWEST_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated between the look and the lock.
        check_ours(connection, path)
        for version in range(_version(connection), NEWEST_VERSION):
            script = files("onetape.store").joinpath(SCRIPTS[version]).read_text(encoding="utf-8")
            connection.execute(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {NEWEST_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_ours(connection: Connection, path: Path) -> None:
    """Refuse a file that we may not write; only reads.

    Raises:
        StoreError: the file was written by a newer Onetape, or by another program.
    """
    version = _version(connection)
    application = connection.execute("PRAGMA application_id").get
    tables = connection.execute("SELECT count(*) FROM sqlite_master").get
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreError(f"{path} is a database of another program; choose another file with --db")
    if version > NEWEST_VERSION:
        raise StoreError(
            f"{path} has schema {version}, this Onetape knows {NEWEST_VERSION}: "
            "update Onetape, or choose another file with --db"
        )


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").get)
