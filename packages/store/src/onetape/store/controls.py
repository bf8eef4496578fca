"""Commands of a person to traders, such as halt or flatten: rows of the table `controls`.

`trader halt` and other programs add rows; a running trader reads the rows of its account, carries
them out and stores that they are done.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from onetape.store.connection import DatabaseConnection, insert_row
from onetape.store.database import Store


class NewControl(Struct, frozen=True):
    """A command of a person that is not stored yet."""

    account: str
    verb: str
    """Kind of the command, as in `onetape.execution.controls`."""
    at_ms: int
    """Time of the command by the computer's clock, epoch milliseconds."""
    given_by: str
    """Person or program that gave the command."""
    symbol: str | None = None
    """Symbol that `exit` or `flatten` sells, or whose trader reloads; None: every symbol."""
    applies_to_open: bool = False
    """Whether `reload` changes the levels of a trade that is open."""


def insert_controls(store: Store, controls: Iterable[NewControl]) -> None:
    """Add commands for traders, all of them or none.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        add_controls(connection, controls)


def add_controls(connection: DatabaseConnection, controls: Iterable[NewControl]) -> None:
    """Add commands for traders inside a write transaction."""
    for control in controls:
        applies_to_open = int(control.applies_to_open)
        insert_row(connection, "controls", {**asdict(control), "applies_to_open": applies_to_open})


def is_command_file_stored(connection: DatabaseConnection, name: str) -> bool:
    """Return whether the commands of a command file are stored already; inside a transaction."""
    return bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM command_files WHERE name = ?)", (name,)
        ).get
    )


def add_command_file(connection: DatabaseConnection, name: str, *, stored_ms: int) -> None:
    """Store inside a transaction that the commands of a command file are stored as rows.

    Args:
        connection: Connection of the transaction that adds the commands.
        name: Name of the file; never used before.
        stored_ms: The computer's time, epoch milliseconds.
    """
    insert_row(connection, "command_files", {"name": name, "stored_ms": stored_ms})


def read_controls(store: Store, account: str, *, after: int = 0) -> list[tuple[Any, ...]]:
    """Return the commands of an account in the order of their numbers.

    Args:
        store: The open database.
        account: Name of the account.
        after: Only commands with higher numbers; a command that is stored later has a higher
            number.

    Returns:
        Number, verb, at_ms, given_by, whether it is done, symbol, and whether it applies to open
        trades.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        return connection.execute(
            "SELECT id, verb, at_ms, given_by, done_ms IS NOT NULL, symbol, applies_to_open "
            "FROM controls WHERE account = ? AND id > ? ORDER BY id",
            (account, after),
        ).fetchall()


def finish_controls(store: Store, numbers: Sequence[int], *, done_ms: int) -> None:
    """Store that commands were carried out, all of them or none; an earlier time stays.

    Args:
        store: The open database.
        numbers: Numbers of the commands.
        done_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        connection.executemany(
            "UPDATE controls SET done_ms = ? WHERE id = ? AND done_ms IS NULL",
            [(done_ms, number) for number in numbers],
        )
