"""Commands of a person to traders: rows that any program may add and that traders read."""

from typing import Any

from onetape.store.connection import Value, insert_row
from onetape.store.database import Store


def insert_control(store: Store, account: str, verb: str, *, at_ms: int, given_by: str) -> None:
    """Add a command for the trader of an account.

    Args:
        store: The open database.
        account: Which account.
        verb: `pause`, `resume`, `exit` or `flatten` (onetape.execution.controls).
        at_ms: The computer's time, epoch milliseconds.
        given_by: Who gives it.

    Raises:
        StoreError: the file cannot be written.
    """
    values: dict[str, Value] = {
        "account": account,
        "verb": verb,
        "at_ms": at_ms,
        "given_by": given_by,
    }
    with store.write(durable=True) as connection:
        insert_row(connection, "controls", values)


def read_controls(store: Store, account: str) -> list[tuple[Any, ...]]:
    """Return number, verb, at_ms, given_by and whether it is done of each command, by number.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        return connection.execute(
            "SELECT id, verb, at_ms, given_by, done_ms IS NOT NULL FROM controls "
            "WHERE account = ? ORDER BY id",
            (account,),
        ).fetchall()


def finish_control(store: Store, number: int, *, done_ms: int) -> None:
    """Store that a command was carried out.

    Args:
        store: The open database.
        number: Which command.
        done_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        connection.execute("UPDATE controls SET done_ms = ? WHERE id = ?", (done_ms, number))
