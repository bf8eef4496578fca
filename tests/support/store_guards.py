"""Guards of the store that a child process can switch off, to show their effect."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from onetape.store import database
from onetape.store.connection import DatabaseConnection, connect
from onetape.store.migrations import migrate


class WithoutGuard:
    """A connection that runs other statements than the ones it is given."""

    def __init__(self, connection: DatabaseConnection, replaced: Mapping[str, str]) -> None:
        """Wrap a connection."""
        self._connection = connection
        self._replaced = replaced

    def execute(self, statements: str, bindings: Sequence[Any] = ()) -> Any:
        """Run SQL, or its replacement."""
        return self._connection.execute(self._replaced.get(statements, statements), bindings)

    def __getattr__(self, name: str) -> Any:
        """Pass all other attributes to the connection."""
        return getattr(self._connection, name)


def switch_off_guards(*names: str) -> None:
    """Switch guards off in this process permanently; names as in `GUARDS`."""
    replaced: dict[str, str] = {}
    for name in names:
        guard = GUARDS[name]
        if isinstance(guard, dict):
            replaced |= guard
        else:
            function, replacement = guard
            assert hasattr(database, function), function
            setattr(database, function, replacement)

    def changed(path: Path) -> WithoutGuard:
        return WithoutGuard(connect(path), replaced)

    if replaced:
        database.connect = changed  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue] - a child's own patch


def _create_in_place(path: Path) -> None:
    """Create a file under its final name, so that others can open it incomplete."""
    path.touch(mode=0o600)
    with closing(connect(path)) as handle:
        handle.set_busy_timeout(database.BUSY_TIMEOUT_MS)
        handle.execute("PRAGMA journal_mode = WAL").fetchall()
        migrate(handle, path)


def _find_no_trader(_: DatabaseConnection) -> bool:
    return False


#: Statements and their replacements, or a function of the store and its replacement.
GUARDS: dict[str, dict[str, str] | tuple[str, object]] = {
    "a bulk writer rests": ("_is_trader_active", _find_no_trader),
    "a new file appears whole": ("_create", _create_in_place),
    "writes begin with the lock": {"BEGIN IMMEDIATE": "BEGIN"},
    "a write is one transaction": {"BEGIN IMMEDIATE": "SELECT 1", "COMMIT": "SELECT 1"},
    "a commit goes through the log": {"PRAGMA journal_mode = WAL": "PRAGMA journal_mode = OFF"},
}
