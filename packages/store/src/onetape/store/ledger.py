"""What a trader writes down: decisions, orders and trades. Times are epoch milliseconds.

Orders and trades are committed to the disk before the call returns. What changes an account is
written inside the fence of its lease: the transaction that writes has seen that the lease holds.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from onetape.core.errors import SafetyRefusal, StoreError
from onetape.core.steps import decimal_text
from onetape.core.trading import (
    Decision,
    ExitObligation,
    Order,
    OrderStatus,
    Session,
    Side,
    Trade,
)
from onetape.store.connection import Connection, Value, insert_row
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease
from onetape.store.obligations import add_obligation, end_obligation

#: The fields of an `Order` are columns of the same names.
_ORDER_COLUMNS = Order.__struct_fields__
_UNFINISHED = "status IN ('intent', 'open')"
#: Decisions of sessions like one; bound by `_like`.
_DECISIONS = (
    "decisions JOIN sessions USING (session) "
    "WHERE account = ? AND mode = ? AND exchange = ? AND symbol = ? AND timeframe = ?"
)
#: These, without candles on which the strategy returned no signal: it was late, ended or failed.
_EVALUATED = f"{_DECISIONS} AND coalesce(json_extract(gates, '$.strategy'), 'ok') = 'ok'"


class Position(Struct, frozen=True):
    """The sum of an account's trades in one symbol."""

    base: Decimal
    """Amount held, in base currency, fees taken from it deducted."""
    quote: Decimal
    """What buying and selling left, in quote currency: negative while a position is open."""
    trades: int


def insert_decision(
    store: Store,
    decision: Decision,
    order: Order | None,
    fence: Fence,
    *,
    obligation: ExitObligation | None = None,
) -> None:
    """Store a decision, the intent of its order and the obligation of its exit, in one transaction.

    Args:
        store: The open database.
        decision: What was decided.
        order: The order that it leads to; None for none.
        fence: The lease of the account.
        obligation: The exit that it obliges the position to; None for none.

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
            },
        )
        if obligation is not None:
            add_obligation(connection, obligation)
        if order is not None:
            insert_row(connection, "orders", _order_values(order))


def insert_order(
    store: Store, order: Order, fence: Fence, *, obligation: ExitObligation | None = None
) -> None:
    """Store the intent of an order that no decision asked for, and its obligation, if it is new.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written, or the order is there already.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        if obligation is not None:
            add_obligation(connection, obligation)
        insert_row(connection, "orders", _order_values(order))


def filled_candle(store: Store, client_order_id: str) -> int | None:
    """Return the open of the candle that filled an order, epoch SECONDS; None where none has."""
    with store.read() as connection:
        return connection.execute(
            "SELECT filled_timestamp FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get


def is_exit_rejected(store: Store, entry_order_id: str) -> bool:
    """Return whether the market refused a stop, target or time stop of a position.

    Args:
        store: The open database.
        entry_order_id: Client order id of the order that opened the position.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT 1 FROM orders WHERE entry_order_id = ? AND status = 'rejected' "
            "AND type <> 'market' LIMIT 1",
            (entry_order_id,),
        )
    return row.get is not None


def open_exit_orders(store: Store, session: Session) -> list[Order]:
    """Return the open sell orders of an account in the market of a session, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {', '.join(_ORDER_COLUMNS)} FROM orders WHERE account = ? AND mode = ? "
            f"AND exchange = ? AND symbol = ? AND side = 'sell' AND {_UNFINISHED} "
            "ORDER BY decided_ms",
            (session.account, session.mode, session.exchange, session.symbol),
        ).fetchall()
    return [_order(row) for row in rows]


def insert_trade(
    store: Store,
    trade: Trade,
    fence: Fence,
    *,
    order_amount: Decimal,
    finished_ms: int,
    filled_timestamp: int | None = None,
    note: str = "",
) -> None:
    """Store the trade that fills an order whole, close the order and end its obligation, at once.

    Args:
        store: The open database.
        trade: The fill.
        fence: The lease of the account.
        order_amount: Amount of the order, base currency.
        finished_ms: Market time.
        filled_timestamp: Open of the candle that fills the order, epoch SECONDS.
        note: Added to the reason of the order where it is not empty.

    Raises:
        SafetyRefusal: another process took the account over, or the order is not open.
        StoreError: the file cannot be written, or the trade is there already.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        connection.execute(
            "UPDATE orders SET status = 'closed', amount = ?, finished_ms = ?, "
            "filled_timestamp = ?, reason = reason || ? "
            f"WHERE client_order_id = ? AND {_UNFINISHED}",
            (
                decimal_text(order_amount),
                finished_ms,
                filled_timestamp,
                f"; {note}" if note else "",
                trade.client_order_id,
            ),
        )
        _check_one_changed(connection, trade.client_order_id)
        _end_obligation_of(connection, trade.client_order_id, finished_ms, "filled")
        insert_row(
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


def finish_order(
    store: Store,
    client_order_id: str,
    status: OrderStatus,
    fence: Fence,
    *,
    finished_ms: int,
    reason: str,
) -> None:
    """Give an open order its final state without a trade; the reason is added to the one it has.

    A rejection ends the exit obligation of the order; a cancellation does not.

    Raises:
        SafetyRefusal: another process took the account over, or the order is not open.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        connection.execute(
            "UPDATE orders SET status = ?, finished_ms = ?, reason = reason || '; ' || ? "
            f"WHERE client_order_id = ? AND {_UNFINISHED}",
            (status, finished_ms, reason, client_order_id),
        )
        _check_one_changed(connection, client_order_id)
        if status == "rejected":
            _end_obligation_of(connection, client_order_id, finished_ms, f"refused: {reason}")


def cancel_unfinished_entries(
    store: Store, account: str, fence: Fence, *, finished_ms: int, reason: str
) -> int:
    """Cancel the paper buy orders that an earlier session of the account left open; count them.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        connection.execute(
            "UPDATE orders SET status = 'canceled', finished_ms = ?, reason = reason || '; ' || ? "
            f"WHERE account = ? AND mode = 'paper' AND side = 'buy' AND {_UNFINISHED}",
            (finished_ms, reason, account),
        )
        return connection.changes()


def last_decided(store: Store, session: Session) -> int | None:
    """Return the newest candle that sessions like this one decided on, or None.

    Like it: of the same account, mode, exchange, symbol and timeframe.

    Returns:
        The candle's open, epoch SECONDS.
    """
    with store.read() as connection:
        return connection.execute(f"SELECT max(timestamp) FROM {_DECISIONS}", _like(session)).get


def decided_signals(store: Store, session: Session, start: int, end: int) -> dict[int, int]:
    """Return the signals of candles that sessions like this one decided on, by their opens.

    Candles on which the strategy returned no signal are left out.

    Args:
        store: The open database.
        session: As for `last_decided`.
        start: First candle, epoch SECONDS.
        end: Exclusive.

    Returns:
        1 BUY, -1 SELL, 0 HOLD, by the candle's open in epoch SECONDS.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp, signal FROM {_EVALUATED} AND timestamp >= ? AND timestamp < ?",
            (*_like(session), start, end),
        ).fetchall()
    return dict(rows)


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


def last_side(store: Store, account: str, exchange: str, symbol: str) -> Side | None:
    """Return the side of the newest trade of an account in one market, or None without any."""
    with store.read() as connection:
        return connection.execute(
            "SELECT side FROM trades WHERE account = ? AND symbol = ? AND exchange = ? "
            "ORDER BY executed_ms DESC, id DESC LIMIT 1",
            (account, symbol, exchange),
        ).get


def trades_of(
    store: Store, account: str, symbol: str, *, exchange: str | None = None, mode: str | None = None
) -> list[Trade]:
    """Return the trades of an account in one symbol, oldest first.

    Args:
        store: The open database.
        account: Whose.
        symbol: Of which market.
        exchange: On which exchange; None: on any.
        mode: `paper` or `live`; None: both.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, exchange_trade_id, client_order_id, session, mode, account, "
            "side, price, amount, fee, fee_currency, executed_ms FROM trades "
            "WHERE account = ? AND symbol = ? AND exchange = ifnull(?, exchange) "
            "AND mode = ifnull(?, mode) ORDER BY executed_ms, id",
            (account, symbol, exchange, mode),
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


def _like(session: Session) -> tuple[str, ...]:
    return session.account, session.mode, session.exchange, session.symbol, session.timeframe


def _check_one_changed(connection: Connection, client_order_id: str) -> None:
    """Refuse to go on, which rolls back, where an order that should be finished was not open."""
    if connection.changes() != 1:
        raise SafetyRefusal(
            f"order {client_order_id} is not open any more; another program finished it, and "
            "nothing was written; look at the tables orders and trades"
        )


def _end_obligation_of(
    connection: Connection, client_order_id: str, ended_ms: int, reason: str
) -> None:
    row = connection.execute(
        "SELECT obligation FROM orders WHERE client_order_id = ?", (client_order_id,)
    )
    obligation = row.get
    if obligation is not None:
        end_obligation(connection, obligation, ended_ms=ended_ms, reason=reason)


def _order_values(order: Order) -> dict[str, Value]:
    values = {name: getattr(order, name) for name in _ORDER_COLUMNS}
    values["intended_price"] = decimal_text(order.intended_price)
    values["parameters"] = json.dumps(dict(order.parameters), sort_keys=True)
    return values


def _order(row: tuple[Any, ...]) -> Order:
    values = dict(zip(_ORDER_COLUMNS, row, strict=True))
    values["intended_price"] = Decimal(values["intended_price"])
    values["parameters"] = json.loads(values["parameters"])
    return Order(**values)


def _decision(row: tuple[Any, ...]) -> Decision:
    values: list[Any] = [*row[:4], json.loads(row[4]), json.loads(row[5]), *row[6:]]
    return Decision(*values)


def _trade(row: tuple[Any, ...]) -> Trade:
    values: list[Any] = [*row[:8], *(Decimal(value) for value in row[8:11]), *row[11:]]
    return Trade(*values)
