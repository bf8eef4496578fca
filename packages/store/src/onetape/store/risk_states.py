"""Read and change the table `risk_states`: losses and breached risk limits of each account.

A trader and a person who clears a breach change the same row. Each change reads the row in its own
transaction, so that no change is lost.
"""

from collections.abc import Callable

from msgspec import Struct

from onetape.store.database import Store


class RiskRow(Struct, frozen=True):
    """The stored risk state of an account."""

    account: str
    state: str
    """State as a JSON document of `onetape.execution.risk_state`."""
    updated_ms: int
    """Time of the last change by the computer's clock, epoch milliseconds."""
    cleared_ms: int | None
    """Time at which a person last cleared breaches, epoch milliseconds; None: never."""
    cleared_by: str | None
    """Person who last cleared breaches; None: never cleared."""


def read_risk_states(store: Store) -> list[RiskRow]:
    """Return the risk states of all accounts, by account.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT account, state, updated_ms, cleared_ms, cleared_by FROM risk_states "
            "ORDER BY account"
        ).fetchall()
    return [RiskRow(*row) for row in rows]


def change_risk_state(
    store: Store,
    account: str,
    change: Callable[[str | None], str],
    *,
    now_ms: int,
    cleared_by: str | None = None,
) -> str:
    """Change the risk state of an account; return the new state as a JSON document.

    Args:
        store: The open database.
        account: Name of the account.
        change: Function that gets the stored JSON document (None: nothing is stored) and returns
            the new one.
        now_ms: The computer's time, epoch milliseconds.
        cleared_by: Person who clears the breaches by this change; None: the change clears none.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        stored = connection.execute(
            "SELECT state FROM risk_states WHERE account = ?", (account,)
        ).get
        state = change(stored)
        if state != stored:
            cleared_ms = None if cleared_by is None else now_ms
            connection.execute(
                "INSERT INTO risk_states (account, state, updated_ms, cleared_ms, cleared_by) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
                "updated_ms = excluded.updated_ms, "
                "cleared_ms = coalesce(excluded.cleared_ms, cleared_ms), "
                "cleared_by = coalesce(excluded.cleared_by, cleared_by)",
                (account, state, now_ms, cleared_ms, cleared_by),
            )
    return state
