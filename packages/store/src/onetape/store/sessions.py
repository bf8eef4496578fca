"""Read and write the sessions of traders, and their data outages. Times are epoch milliseconds."""

import json
from collections.abc import Mapping
from typing import Any

from onetape.core.trading import Session
from onetape.store.connection import Value, insert_row
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease


def start_session(
    store: Store, session: Session, fence: Fence, *, changes: str | None = None
) -> None:
    """Store the start of a session, and the end of earlier sessions of its account and symbol.

    A session that was killed has stored no end. The time of the takeover is stored as its end, and
    the reason names the process that took over.

    Args:
        store: The open database.
        session: Session that begins.
        fence: The lease of the account and symbol.
        changes: Text on the settings that differ from the session before; None: no difference.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    values: dict[str, Value] = {
        "session": session.session,
        "app": session.app,
        "mode": session.mode,
        "account": session.account,
        "exchange": session.exchange,
        "symbol": session.symbol,
        "timeframe": session.timeframe,
        "strategy": session.strategy,
        "parameters": json.dumps(dict(session.parameters), sort_keys=True),
        "code_digest": session.code_digest,
        "started_ms": session.started_ms,
        "rules": json.dumps(dict(session.rules), sort_keys=True),
        "changes": changes,
    }
    with store.write() as connection:
        holder = check_lease(connection, fence)
        unended = (
            "SELECT session FROM sessions WHERE account = ? AND exchange = ? AND symbol = ? "
            "AND ended_ms IS NULL"
        )
        market = session.account, session.exchange, session.symbol
        connection.execute(
            f"UPDATE data_outages SET to_ms = ? WHERE to_ms IS NULL AND session IN ({unended})",
            (session.started_ms, *market),
        )
        connection.execute(
            f"UPDATE sessions SET ended_ms = ?, end_reason = ? WHERE session IN ({unended})",
            (
                session.started_ms,
                f"lost: it wrote no end; {holder} took over as session {session.session}",
                *market,
            ),
        )
        insert_row(connection, "sessions", values)


def read_newest_session(store: Store, account: str, symbol: str) -> Session | None:
    """Return the session of an account and symbol that started last; None: no session yet."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT session, app, mode, account, exchange, symbol, timeframe, strategy, "
            "parameters, code_digest, started_ms, ifnull(rules, '{}') FROM sessions "
            "WHERE account = ? AND symbol = ? ORDER BY started_ms DESC LIMIT 1",
            (account, symbol),
        ).fetchall()
    if not rows:
        return None
    head: list[Any] = list(rows[0])
    head[8], head[11] = json.loads(head[8]), json.loads(head[11])
    return Session(*head)


def read_session_start(store: Store, session: str) -> int | None:
    """Return the start time of a session, epoch milliseconds; None: the session is not stored."""
    with store.read() as connection:
        return connection.execute(
            "SELECT started_ms FROM sessions WHERE session = ?", (session,)
        ).get


def change_session_rules(store: Store, session: str, rules: Mapping[str, Any]) -> None:
    """Replace the settings of order size, costs and exits of a running session.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "UPDATE sessions SET rules = ? WHERE session = ?", (json.dumps(dict(rules)), session)
        )


def end_session(store: Store, session: str, *, ended_ms: int, reason: str) -> None:
    """Store the end of a session with its reason; an end that is stored already stays."""
    with store.write() as connection:
        connection.execute(
            "UPDATE sessions SET ended_ms = ?, end_reason = ? "
            "WHERE session = ? AND ended_ms IS NULL",
            (ended_ms, reason, session),
        )


def open_data_outage(
    store: Store, session: str, *, from_ms: int, reason: str, to_ms: int | None = None
) -> None:
    """Store that a session has had no market data since `from_ms`.

    Args:
        store: The open database.
        session: Id of the session.
        from_ms: Start of the outage, market time.
        reason: Cause of the outage, as a text.
        to_ms: End of the outage, market time; None: it goes on.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT INTO data_outages (session, from_ms, to_ms, reason) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (session, from_ms) DO UPDATE SET to_ms = excluded.to_ms",
            (session, from_ms, to_ms, reason),
        )


def close_data_outages(store: Store, session: str, *, to_ms: int) -> None:
    """Store the end of a session's open data outages: it has market data again."""
    with store.write() as connection:
        connection.execute(
            "UPDATE data_outages SET to_ms = ? WHERE session = ? AND to_ms IS NULL",
            (to_ms, session),
        )
