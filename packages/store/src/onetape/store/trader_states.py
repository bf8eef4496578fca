"""Read and write the table `trader_states`: each change between trading, degraded and halted."""

from typing import Literal

from msgspec import Struct

from onetape.store.connection import insert_row
from onetape.store.database import Store

TraderState = Literal["trading", "degraded", "halted"]


class StateChange(Struct, frozen=True):
    """One change of a trader's state."""

    at_ms: int
    """Market time of the change, epoch milliseconds."""
    state: TraderState
    reason: str
    """Reason of the change, as a text."""
    remedy: str
    """Action for a person; empty: no action is needed."""


def insert_state_changes(store: Store, session: str, changes: list[StateChange]) -> None:
    """Append changes of a session's state, oldest first, in one transaction.

    Args:
        store: The open database.
        session: Id of a stored session.
        changes: Changes to append; an empty list writes nothing.

    Raises:
        StoreError: the file cannot be written.
    """
    if not changes:
        return
    with store.write() as connection:
        for change in changes:
            insert_row(
                connection,
                "trader_states",
                {
                    "session": session,
                    "at_ms": change.at_ms,
                    "state": change.state,
                    "reason": change.reason,
                    "remedy": change.remedy,
                },
            )


def read_state_changes(store: Store, session: str) -> list[StateChange]:
    """Return the changes of a session's state, oldest first.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT at_ms, state, reason, remedy FROM trader_states WHERE session = ? ORDER BY id",
            (session,),
        ).fetchall()
    return [StateChange(*row) for row in rows]
