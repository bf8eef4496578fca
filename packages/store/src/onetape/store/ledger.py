"""Write decisions of a trader; read decisions and fills of an account.

A decision and the order that it leads to are one transaction, which is on the disk before the call
returns and checks the lease of the account. Times are epoch milliseconds unless a name states
otherwise.
"""

import json
from decimal import Decimal
from typing import Any

from msgspec import Struct

from onetape.core.errors import StoreError
from onetape.core.trading import Decision, ExitObligation, Fill, Mode, Order, Session, Side
from onetape.store.connection import insert_row
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease
from onetape.store.obligations import add_obligation
from onetape.store.orders import add_order

#: SQL for the decisions of all sessions of one account and series; bound by `_get_series_values`.
_DECISIONS = (
    "decisions JOIN sessions USING (session) "
    "WHERE account = ? AND mode = ? AND exchange = ? AND symbol = ? AND timeframe = ?"
)
#: As `_DECISIONS`, without candles on which the strategy returned no signal: it was late or failed.
_EVALUATED = f"{_DECISIONS} AND coalesce(json_extract(gates, '$.strategy'), 'ok') = 'ok'"


class DecidedSeries(Struct, frozen=True):
    """The decisions of an account in one market."""

    account: str
    mode: Mode
    exchange: str
    symbol: str
    timeframe: str

    @classmethod
    def of(cls, session: Session) -> "DecidedSeries":
        """Return the series of a session."""
        return cls(
            session.account, session.mode, session.exchange, session.symbol, session.timeframe
        )


def insert_decision(
    store: Store,
    decision: Decision,
    order: Order | None,
    fence: Fence,
    *,
    obligation: ExitObligation | None = None,
) -> None:
    """Store a decision, the intent of its order and the obligation of its exit, in one transaction.

    A decision without a signal of the strategy (gate `strategy` is not `ok`) is marked, so that it
    is evaluated again.

    Args:
        store: The open database.
        decision: Decision to store.
        order: Order that the decision leads to; None: no order.
        fence: The lease of the account and symbol.
        obligation: Exit that the decision leads to; None: no exit.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written, or the session decided on that candle before.
    """
    with store.write(durable=order is not None) as connection:
        check_lease(connection, fence)
        insert_row(
            connection,
            "decisions",
            {
                "decision": decision.decision,
                "session": decision.session,
                "timestamp": decision.timestamp,
                "signal": decision.signal,
                "indicators": json.dumps(dict(decision.indicators)),
                "gates": json.dumps(dict(decision.gates)),
                "action": decision.action,
                "decided_ms": decision.decided_ms,
                "corrected_ms": None if _has_signal(decision) else decision.decided_ms,
            },
        )
        if obligation is not None:
            add_obligation(connection, obligation)
        if order is not None:
            add_order(connection, order)


def read_last_decided(store: Store, session: Session) -> int | None:
    """Return the open of the newest candle that was decided on, epoch SECONDS; None: no decision.

    Args:
        store: The open database.
        session: Session whose account, mode, exchange, symbol and timeframe are read; decisions of
            all sessions with the same values count.
    """
    with store.read() as connection:
        return connection.execute(
            f"SELECT max(timestamp) FROM {_DECISIONS}", _get_series_values(session)
        ).get


def read_decided_signals(store: Store, session: Session, start: int, end: int) -> dict[int, int]:
    """Return the signals of the candles of a range that were decided on.

    Candles on which the strategy returned no signal are left out.

    Args:
        store: The open database.
        session: Session whose series is read, as in `read_last_decided`.
        start: Open of the first candle, epoch SECONDS.
        end: End of the range, exclusive, epoch SECONDS.

    Returns:
        1 BUY, -1 SELL, 0 HOLD, by the candle's open in epoch SECONDS.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp, signal FROM {_EVALUATED} AND timestamp >= ? AND timestamp < ?",
            (*_get_series_values(session), start, end),
        ).fetchall()
    return dict(rows)


def read_decisions_with_levels(
    store: Store, series: DecidedSeries, start: int, end: int
) -> list[tuple[int, int, dict[str, float | None]]]:
    """Return the decisions of an account that have a stop or a target, oldest first.

    Candles on which the strategy returned no signal are left out.

    Args:
        store: The open database.
        series: Account and market.
        start: First candle, epoch SECONDS.
        end: End of the range, exclusive.

    Returns:
        Open of the candle in epoch SECONDS, signal (1 BUY, -1 SELL, 0 HOLD), and indicators.
    """
    values = (series.account, series.mode, series.exchange, series.symbol, series.timeframe)
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp, signal, indicators FROM {_EVALUATED} "
            "AND timestamp >= ? AND timestamp < ? "
            # Few strategies give levels: of the others no text is parsed.
            "AND (indicators LIKE '% at\\_entry\"%' ESCAPE '\\' "
            "OR indicators LIKE '% each\\_candle\"%' ESCAPE '\\') ORDER BY timestamp",
            (*values, start, end),
        ).fetchall()
    return [(timestamp, signal, json.loads(text)) for timestamp, signal, text in rows]


def read_missed_sell(store: Store, session: Session, entry_order_id: str) -> int | None:
    """Return the candle of a SELL that was decided on before the position was known.

    The SELL is the newest signal since the entry was filled, all its checks are `ok`, it led to no
    order, and no exit of the position was ever pending.

    Args:
        store: The open database.
        session: Session whose series is read, as in `read_last_decided`.
        entry_order_id: Client order id of the order that opened the position.

    Returns:
        The candle's open, epoch SECONDS; None: there is no such SELL.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp, signal, action FROM {_DECISIONS} AND signal <> 0 "
            "AND timestamp >= (SELECT filled_timestamp FROM orders WHERE client_order_id = ?) "
            "AND NOT EXISTS (SELECT 1 FROM json_each(gates) WHERE value <> 'ok') "
            "AND NOT EXISTS (SELECT 1 FROM exit_obligations WHERE entry_order_id = ?) "
            "ORDER BY timestamp DESC LIMIT 1",
            (*_get_series_values(session), entry_order_id, entry_order_id),
        ).fetchall()
    return rows[0][0] if rows and rows[0][1:] == (-1, "HOLD") else None


def read_decisions_of_last_session(store: Store) -> tuple[Session, list[Decision]]:
    """Return the session that started last, and its decisions, oldest first.

    Raises:
        StoreError: the file has no session.
    """
    with store.read() as connection:
        sessions = connection.execute(
            "SELECT session, app, mode, account, exchange, symbol, timeframe, strategy, "
            "parameters, code_digest, started_ms FROM sessions ORDER BY started_ms DESC LIMIT 1"
        ).fetchall()
        if not sessions:
            raise StoreError(f"{store.path} has no trading session; run: uv run trader")
        rows = connection.execute(
            "SELECT decision, session, timestamp, signal, indicators, gates, action, decided_ms "
            "FROM decisions WHERE session = ? ORDER BY timestamp",
            (sessions[0][0],),
        ).fetchall()
    head: list[Any] = [*sessions[0][:8], json.loads(sessions[0][8]), *sessions[0][9:]]
    return Session(*head), [_make_decision(row) for row in rows]


def read_last_side(store: Store, account: str, exchange: str, symbol: str) -> Side | None:
    """Return the side of the newest fill of an account in one market; None: no fill."""
    with store.read() as connection:
        return connection.execute(
            "SELECT side FROM trades WHERE account = ? AND symbol = ? AND exchange = ? "
            "ORDER BY executed_ms DESC, id DESC LIMIT 1",
            (account, symbol, exchange),
        ).get


def read_newest_fill_id(store: Store, account: str, mode: str) -> int:
    """Return the id of an account's newest stored fill, which grows with each; 0 without any.

    Args:
        store: The open database.
        account: Name of the account.
        mode: `paper` or `live`.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT max(id) FROM trades WHERE account = ? AND mode = ?", (account, mode)
        )
    return int(row.get or 0)


def read_fills(
    store: Store,
    account: str,
    symbol: str,
    *,
    exchange: str | None = None,
    mode: str | None = None,
    after_ms: int = -1,
) -> list[Fill]:
    """Return the fills of an account in one symbol, oldest first.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: Symbol of the market.
        exchange: Exchange of the decisions; None: any.
        mode: `paper` or `live`; None: both.
        after_ms: Only fills that were executed after this time, epoch milliseconds.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, exchange_trade_id, client_order_id, session, mode, account, "
            "side, price, amount, fee, fee_currency, executed_ms, min_sell_amount FROM trades "
            "WHERE account = ? AND symbol = ? AND executed_ms > ? "
            "AND exchange = ifnull(?, exchange) AND mode = ifnull(?, mode) "
            "ORDER BY executed_ms, id",
            (account, symbol, after_ms, exchange, mode),
        ).fetchall()
    return [_make_fill(row) for row in rows]


def _has_signal(decision: Decision) -> bool:
    return decision.gates.get("strategy", "ok") == "ok"


def _get_series_values(session: Session) -> tuple[str, ...]:
    return session.account, session.mode, session.exchange, session.symbol, session.timeframe


def _make_decision(row: tuple[Any, ...]) -> Decision:
    values: list[Any] = [*row[:4], json.loads(row[4]), json.loads(row[5]), *row[6:]]
    return Decision(*values)


def _make_fill(row: tuple[Any, ...]) -> Fill:
    minimum = None if row[13] is None else Decimal(row[13])
    values: list[Any] = [*row[:8], *(Decimal(value) for value in row[8:11]), *row[11:13], minimum]
    return Fill(*values)
