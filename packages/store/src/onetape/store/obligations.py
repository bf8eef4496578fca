"""Read and write the table `exit_obligations`: exits that are decided and not filled yet.

An obligation survives a restart and ends with its position. A position has at most one open
obligation: a second cause for an exit changes nothing. Times are epoch milliseconds.
"""

from decimal import Decimal
from typing import Any

from onetape.core.trading import ExitObligation, Session
from onetape.core.trading_rules import format_decimal
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease

_COLUMNS = (
    "obligation, account, mode, exchange, symbol, entry_order_id, cause, signal_timestamp, level, "
    "created_ms, reason"
)
_OPEN_OF_MARKET = "ended_ms IS NULL AND account = ? AND mode = ? AND exchange = ? AND symbol = ?"


def add_obligation(connection: DatabaseConnection, obligation: ExitObligation) -> bool:
    """Store an obligation inside a write transaction; False: the position has an open one."""
    level = None if obligation.level is None else format_decimal(obligation.level)
    connection.execute(
        f"INSERT INTO exit_obligations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (
            obligation.obligation,
            obligation.account,
            obligation.mode,
            obligation.exchange,
            obligation.symbol,
            obligation.entry_order_id,
            obligation.cause,
            obligation.signal_timestamp,
            level,
            obligation.created_ms,
            obligation.reason,
        ),
    )
    return connection.changes() == 1


def restore_obligation(store: Store, obligation: ExitObligation, fence: Fence) -> bool:
    """Store an obligation that was written to a journal while the database could not be written.

    Returns:
        False: nothing was stored, because the obligation is stored already, its position has
        another open obligation, or the position's entry is not in the file.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        known = connection.execute(
            "SELECT (SELECT count(*) FROM exit_obligations WHERE obligation = ?), "
            "(SELECT count(*) FROM orders WHERE client_order_id = ?)",
            (obligation.obligation, obligation.entry_order_id),
        ).get
        return known == (0, 1) and add_obligation(connection, obligation)


def is_obligation_stored(store: Store, obligation: str) -> bool:
    """Return whether an obligation with this id is stored, ended or not."""
    with store.read() as connection:
        found = connection.execute(
            "SELECT 1 FROM exit_obligations WHERE obligation = ?", (obligation,)
        )
    return found.get is not None


def read_open_obligation(
    store: Store, session: Session, entry_order_id: str
) -> ExitObligation | None:
    """Return the open obligation of a position; None: no exit is pending.

    Args:
        store: The open database.
        session: Session with the account, mode, exchange and symbol.
        entry_order_id: Client order id of the order that opened the position.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM exit_obligations "
            f"WHERE {_OPEN_OF_MARKET} AND entry_order_id = ?",
            (*_get_market(session), entry_order_id),
        ).fetchall()
    if not rows:
        return None
    values: list[Any] = list(rows[0])
    values[8] = None if values[8] is None else Decimal(values[8])
    return ExitObligation(*values)


def end_obligation(
    connection: DatabaseConnection, obligation: str, *, ended_ms: int, reason: str
) -> None:
    """End an obligation inside a write transaction, unless it has ended already."""
    connection.execute(
        "UPDATE exit_obligations SET ended_ms = ?, end_reason = ? "
        "WHERE obligation = ? AND ended_ms IS NULL",
        (ended_ms, reason, obligation),
    )


def end_obligations_of_closed_positions(
    store: Store, session: Session, fence: Fence, *, entry_order_id: str | None, ended_ms: int
) -> int:
    """End the open obligations of all positions except the present one; return their number.

    Args:
        store: The open database.
        session: Session with the account, mode, exchange and symbol.
        fence: The lease of the account and symbol.
        entry_order_id: Client order id of the order that opened the present position; None: there
            is no position.
        ended_ms: Market time, epoch milliseconds.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        connection.execute(
            "UPDATE exit_obligations SET ended_ms = ?, end_reason = 'the position is closed' "
            f"WHERE {_OPEN_OF_MARKET} AND entry_order_id IS NOT ?",
            (ended_ms, *_get_market(session), entry_order_id),
        )
        return connection.changes()


def _get_market(session: Session) -> tuple[str, str, str, str]:
    return session.account, session.mode, session.exchange, session.symbol
