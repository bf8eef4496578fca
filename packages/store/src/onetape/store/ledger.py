"""What a trader writes down: sessions, decisions, orders and trades. Times are epoch milliseconds.

Orders and trades are committed to the disk before the call returns.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from onetape.core.errors import StoreError
from onetape.core.steps import decimal_text
from onetape.core.trading import Decision, Order, OrderStatus, Session, Trade
from onetape.store.connection import Connection, Value
from onetape.store.database import Store


@dataclass(frozen=True, slots=True)
class Position:
    """The sum of an account's trades in one symbol."""

    base: Decimal
    """Amount held, in base currency, fees taken from it deducted."""
    quote: Decimal
    """What buying and selling left, in quote currency: negative while a position is open."""
    trades: int


def start_session(store: Store, session: Session) -> None:
    """Write down that a session began.

    Raises:
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
    }
    with store.write() as connection:
        _insert(connection, "sessions", values)


def end_session(store: Store, session: str, *, ended_ms: int, reason: str) -> None:
    """Write down that a session ended, and why."""
    with store.write() as connection:
        connection.execute(
            "UPDATE sessions SET ended_ms = ?, end_reason = ? WHERE session = ?",
            (ended_ms, reason, session),
        )


def open_blind_interval(store: Store, session: str, *, from_ms: int, reason: str) -> None:
    """Write down that a session cannot see the market from now on."""
    with store.write() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO blind_intervals (session, from_ms, reason) VALUES (?, ?, ?)",
            (session, from_ms, reason),
        )


def close_blind_intervals(store: Store, session: str, *, to_ms: int) -> None:
    """Write down that a session sees the market again and has filled what it missed."""
    with store.write() as connection:
        connection.execute(
            "UPDATE blind_intervals SET to_ms = ? WHERE session = ? AND to_ms IS NULL",
            (to_ms, session),
        )


def insert_decision(store: Store, decision: Decision, order: Order | None) -> None:
    """Store a decision and the intent of its order, if any, in one transaction.

    Raises:
        StoreError: the file cannot be written, or the session decided on that candle before.
    """
    with store.write(durable=order is not None) as connection:
        _insert(
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
            },
        )
        if order is not None:
            _insert(connection, "orders", _order_values(order))


def insert_trade(store: Store, trade: Trade, *, order_amount: Decimal, finished_ms: int) -> None:
    """Store the trade that fills an order whole, and close the order, in one transaction.

    Raises:
        StoreError: the file cannot be written, or the trade is there already.
    """
    with store.write(durable=True) as connection:
        _insert(
            connection,
            "trades",
            {
                "exchange": trade.exchange,
                "symbol": trade.symbol,
                "exchange_trade_id": trade.exchange_trade_id,
                "client_order_id": trade.client_order_id,
                "session": trade.session,
                "mode": trade.mode,
                "account": trade.account,
                "side": trade.side,
                "price": decimal_text(trade.price),
                "amount": decimal_text(trade.amount),
                "fee": decimal_text(trade.fee),
                "fee_currency": trade.fee_currency,
                "executed_ms": trade.executed_ms,
            },
        )
        connection.execute(
            "UPDATE orders SET status = 'closed', amount = ?, finished_ms = ? "
            "WHERE client_order_id = ?",
            (decimal_text(order_amount), finished_ms, trade.client_order_id),
        )


def finish_order(
    store: Store, client_order_id: str, status: OrderStatus, *, finished_ms: int, reason: str
) -> None:
    """Give an order its final state without a trade; the reason is added to the one it has."""
    with store.write(durable=True) as connection:
        connection.execute(
            "UPDATE orders SET status = ?, finished_ms = ?, reason = reason || '; ' || ? "
            "WHERE client_order_id = ?",
            (status, finished_ms, reason, client_order_id),
        )


def cancel_unfinished_orders(store: Store, account: str, *, finished_ms: int, reason: str) -> int:
    """Cancel the paper orders that an earlier session of the account left open; return how many."""
    with store.write(durable=True) as connection:
        connection.execute(
            "UPDATE orders SET status = 'canceled', finished_ms = ?, reason = reason || '; ' || ? "
            "WHERE account = ? AND mode = 'paper' AND status IN ('intent', 'open')",
            (finished_ms, reason, account),
        )
        return connection.changes()


def last_decided(store: Store, account: str, symbol: str, timeframe: str) -> int | None:
    """Return the open (epoch SECONDS) of the newest candle that an account decided on, or None."""
    with store.read() as connection:
        return connection.execute(
            "SELECT max(timestamp) FROM decisions JOIN sessions USING (session) "
            "WHERE account = ? AND symbol = ? AND timeframe = ?",
            (account, symbol, timeframe),
        ).get


def decisions_of_last_session(store: Store) -> tuple[Session, list[Decision]]:
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
    return Session(*head), [_decision(row) for row in rows]


def trades_of(store: Store, account: str, symbol: str) -> list[Trade]:
    """Return the trades of an account in one symbol, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, exchange_trade_id, client_order_id, session, mode, account, "
            "side, price, amount, fee, fee_currency, executed_ms FROM trades "
            "WHERE account = ? AND symbol = ? ORDER BY executed_ms, id",
            (account, symbol),
        ).fetchall()
    return [_trade(row) for row in rows]


def position_of(trades: Sequence[Trade], base: str, quote: str) -> Position:
    """Return what trades of one symbol add up to.

    Args:
        trades: Of one account and symbol.
        base: Base currency; a fee paid in it is deducted from the amount held.
        quote: Quote currency; a fee paid in it is deducted from the money.
    """
    held = money = Decimal(0)
    for trade in trades:
        sign = 1 if trade.side == "buy" else -1
        held += sign * trade.amount
        money -= sign * trade.amount * trade.price
        if trade.fee_currency == base:
            held -= trade.fee
        elif trade.fee_currency == quote:
            money -= trade.fee
    return Position(held, money, len(trades))


def _insert(connection: Connection, table: str, values: dict[str, Value]) -> None:
    columns = ", ".join(values)
    places = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(values.values()))


def _order_values(order: Order) -> dict[str, Value]:
    return {
        "client_order_id": order.client_order_id,
        "session": order.session,
        "mode": order.mode,
        "account": order.account,
        "exchange": order.exchange,
        "symbol": order.symbol,
        "timeframe": order.timeframe,
        "side": order.side,
        "type": order.type,
        "status": order.status,
        "decision": order.decision,
        "signal_timestamp": order.signal_timestamp,
        "decided_ms": order.decided_ms,
        "bid": order.bid,
        "ask": order.ask,
        "intended_price": decimal_text(order.intended_price),
        "reason": order.reason,
        "strategy": order.strategy,
        "parameters": json.dumps(dict(order.parameters), sort_keys=True),
        "code_digest": order.code_digest,
    }


def _decision(row: tuple[Any, ...]) -> Decision:
    values: list[Any] = [*row[:4], json.loads(row[4]), json.loads(row[5]), *row[6:]]
    return Decision(*values)


def _trade(row: tuple[Any, ...]) -> Trade:
    values: list[Any] = [*row[:8], *(Decimal(value) for value in row[8:11]), *row[11:]]
    return Trade(*values)
