"""Write and read orders, their events and their fills. Times are epoch milliseconds.

The state of an order follows from its events (`order_events`); its row in `orders` has the
resulting state. Both are written in one transaction, with the order's fills (table `trades`) and
the end of its exit obligation. The transaction checks the lease of the account, and is on the disk
before the call returns.
"""

import json
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from onetape.core.errors import StoredOrderChanged
from onetape.core.trading import ExitObligation, Fill, Order, OrderStatus, Session
from onetape.core.trading_rules import format_decimal
from onetape.store.connection import DatabaseConnection, Value, insert_row
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease
from onetape.store.obligations import add_obligation, end_obligation
from onetape.store.reservations import release_reservation

#: Columns that have the names of the fields of `Order`.
_ORDER_COLUMNS: Final = Order.__struct_fields__
#: SQL condition: the order was sent, and its end or its whole filled amount is unknown.
_END_IS_UNKNOWN: Final = (
    "(status IN ('sent', 'open', 'unknown') OR status = 'closed' AND finished_ms IS NULL)"
)
#: SQL condition: the order is an exit that the market refused and that is not pending any more.
EXIT_REJECTED: Final = (
    "status = 'rejected' AND NOT is_protection AND NOT EXISTS (SELECT 1 FROM exit_obligations o "
    "WHERE o.obligation = orders.obligation AND o.ended_ms IS NULL)"
)
#: Kind and JSON document of the first event of each order, as `onetape.execution.events` writes it.
INTENDED: Final = ("intended", '{"type":"intended"}')


class OrderChange(Struct, frozen=True):
    """New events of one order, with its state before and after these events."""

    client_order_id: str
    events: tuple[tuple[str, str], ...]
    """Kind and JSON document of each new event, oldest first."""
    stored_event_count: int
    """Number of events of the order that were stored before."""
    before: OrderStatus
    """Status of the order before the new events."""
    status: OrderStatus
    """Status of the order after the new events."""
    filled: Decimal
    """Filled amount that the exchange reported, base currency."""
    booked: Decimal
    """Sum of the stored fills, base currency."""
    is_cancel_requested: bool
    """Whether the trader has requested to cancel the order."""
    exchange_order_id: str | None
    """The exchange's id of the order; None: not known."""
    at_ms: int
    """Market time of the new events, epoch milliseconds."""
    source: str
    """Origin of the events, such as `paper`."""
    is_finished_and_booked: bool
    """Whether the order has ended and all of its fills are booked; `finished_ms` is set then."""
    fills: tuple[Fill, ...] = ()
    """New fills of the order."""
    filled_timestamp: int | None = None
    """Open of the candle that filled the order, epoch SECONDS; None: no candle filled it now."""
    note: str = ""
    """Text that is appended to the reason of the order; empty: nothing."""
    obligation_end: str | None = None
    """Reason why the exit obligation of the order ends; None: the obligation does not end."""
    sent_ms: int | None = None
    """Time at which the request was sent, epoch milliseconds; None: no request was sent now."""
    ordered_amount: Decimal | None = None
    """Amount that was sent, base currency; None: no amount was computed now."""


class StoredOrder(Struct, frozen=True):
    """An order with its events."""

    order: Order
    events: list[str]
    """Events of the order as JSON documents, oldest first."""


def insert_order(
    store: Store, order: Order, fence: Fence, *, obligation: ExitObligation | None = None
) -> None:
    """Store the intent of an order that no decision led to, such as a stop.

    Args:
        store: The open database.
        order: The order.
        fence: The lease of the account and symbol.
        obligation: Exit obligation of the order, stored too unless the position has an open one;
            None: the order has none.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written, or the order is stored already.
    """
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        if obligation is not None:
            add_obligation(connection, obligation)
        add_order(connection, order)


def add_order(connection: DatabaseConnection, order: Order) -> None:
    """Store a new order and its first event inside a write transaction."""
    insert_row(connection, "orders", _make_order_values(order))
    _add_events(connection, order.client_order_id, (INTENDED,), 0, order.decided_ms, "trader")


def store_order_change(store: Store, change: OrderChange, fence: Fence) -> None:
    """Store new events of an order with their fills and consequences, in one transaction.

    Raises:
        StoredOrderChanged: another process or a person changed the order meanwhile; nothing is
            stored.
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written, or a fill is stored already.
    """
    identity = change.client_order_id
    with store.write(durable=True) as connection:
        check_lease(connection, fence)
        stored = connection.execute(
            "SELECT ifnull(max(number), 0) FROM order_events WHERE client_order_id = ?",
            (identity,),
        ).get
        connection.execute(
            "UPDATE orders SET status = ?, filled = ?, booked = ?, is_cancel_requested = ?, "
            "exchange_order_id = ifnull(?, exchange_order_id), "
            "sent_ms = ifnull(sent_ms, ?), "
            "ordered_amount = ifnull(ordered_amount, ?), "
            "amount = iif(? <> '0', ?, amount), "
            "acknowledged_ms = iif(? IS NOT NULL, ifnull(acknowledged_ms, ?), acknowledged_ms), "
            "finished_ms = iif(?, ?, finished_ms), "
            "filled_timestamp = ifnull(?, filled_timestamp), reason = reason || ? "
            "WHERE client_order_id = ? AND status = ?",
            (
                change.status,
                format_decimal(change.filled),
                format_decimal(change.booked),
                int(change.is_cancel_requested),
                change.exchange_order_id,
                change.sent_ms,
                None if change.ordered_amount is None else format_decimal(change.ordered_amount),
                format_decimal(change.booked),
                format_decimal(change.booked),
                change.exchange_order_id,
                change.at_ms,
                int(change.is_finished_and_booked),
                change.at_ms,
                change.filled_timestamp,
                f"; {change.note}" if change.note else "",
                identity,
                change.before,
            ),
        )
        if connection.changes() != 1 or stored != change.stored_event_count:
            raise StoredOrderChanged(
                f"order {identity} is not as it was, because another program changed it; nothing "
                "was written; look at the tables orders, order_events and trades"
            )
        _add_events(
            connection,
            identity,
            change.events,
            change.stored_event_count,
            change.at_ms,
            change.source,
        )
        for fill in change.fills:
            insert_row(connection, "trades", _make_fill_values(fill))
        if change.is_finished_and_booked:
            release_reservation(connection, identity)
        if change.obligation_end is not None:
            _end_order_obligation(connection, identity, change.at_ms, change.obligation_end)


def read_unfinished_orders(store: Store, session: Session) -> list[StoredOrder]:
    """Return the orders of a session's account and market that are not finished, oldest first.

    An order whose end is known and whose fills are not all stored is not finished.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {', '.join(_ORDER_COLUMNS)} FROM orders WHERE account = ? AND mode = ? "
            "AND exchange = ? AND symbol = ? "
            f"AND (status = 'intent' OR {_END_IS_UNKNOWN} OR filled <> booked) "
            "ORDER BY decided_ms",
            (session.account, session.mode, session.exchange, session.symbol),
        ).fetchall()
        orders = [_make_order(row) for row in rows]
        return [StoredOrder(order, _read_events(connection, order)) for order in orders]


def has_open_or_unbooked_orders(store: Store, account: str, symbol: str) -> bool:
    """Return whether an order was sent whose end is unknown, or whose fills are not all booked.

    Orders of the status `intent` are not counted, because they were never sent.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: Symbol of the market.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT 1 FROM orders WHERE account = ? AND symbol = ? "
            f"AND ({_END_IS_UNKNOWN} OR filled <> booked) LIMIT 1",
            (account, symbol),
        )
    return row.get is not None


def sum_unbooked_buys(store: Store, account: str, symbol: str) -> Decimal:
    """Return the amount that buys may have filled and that is not booked, base currency.

    An order whose end is unknown counts with its ordered amount.

    Args:
        store: The open database.
        account: Name of the account.
        symbol: Symbol of the market.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT iif({_END_IS_UNKNOWN}, ifnull(ordered_amount, filled), filled), booked "
            "FROM orders WHERE account = ? AND symbol = ? AND side = 'buy' "
            f"AND ({_END_IS_UNKNOWN} OR filled <> booked)",
            (account, symbol),
        ).fetchall()
    return sum((Decimal(most) - Decimal(booked) for most, booked in rows), Decimal(0))


def read_stored_order(store: Store, client_order_id: str) -> StoredOrder | None:
    """Return an order with its events; None: no order has this id."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {', '.join(_ORDER_COLUMNS)} FROM orders WHERE client_order_id = ?",
            (client_order_id,),
        ).fetchall()
        orders = [_make_order(row) for row in rows]
        return StoredOrder(orders[0], _read_events(connection, orders[0])) if orders else None


def count_stops_cancelled_by_others(store: Store, entry_order_id: str) -> int:
    """Return the number of a position's stops that ended without a request of the trader.

    They were cancelled by a person or another program, or expired at the exchange.

    Args:
        store: The open database.
        entry_order_id: Client order id of the order that opened the position.
    """
    with store.read() as connection:
        return connection.execute(
            "SELECT count(*) FROM orders WHERE entry_order_id = ? AND is_protection "
            "AND status IN ('canceled', 'expired') AND NOT is_cancel_requested",
            (entry_order_id,),
        ).get


def read_filled_timestamp(store: Store, client_order_id: str) -> int | None:
    """Return the open of the candle that filled an order, epoch SECONDS; None: no candle did."""
    with store.read() as connection:
        return connection.execute(
            "SELECT filled_timestamp FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get


def read_order_type(store: Store, client_order_id: str) -> str | None:
    """Return the type of an order, such as `market` or `stop_loss`; None: no such order."""
    with store.read() as connection:
        return connection.execute(
            "SELECT type FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get


def read_limit_order(store: Store, client_order_id: str) -> tuple[Decimal, int] | None:
    """Return price and candle of a limit order; None: there is none with this id.

    Args:
        store: The open database.
        client_order_id: The order.

    Returns:
        The limit, quote currency, and the open of the candle whose signal led to the order, epoch
        SECONDS.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT intended_price, signal_timestamp FROM orders "
            "WHERE client_order_id = ? AND type = 'limit'",
            (client_order_id,),
        ).get
    return None if row is None else (Decimal(row[0]), row[1])


def read_signal_timestamp(store: Store, client_order_id: str) -> int | None:
    """Return the open of the candle that an order was decided on, epoch SECONDS; None: unknown."""
    with store.read() as connection:
        return connection.execute(
            "SELECT signal_timestamp FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).get


def count_sent_orders(store: Store, account: str, since_ms: int) -> int:
    """Return the number of orders, with stops, that an account has sent after a moment.

    Args:
        store: The open database.
        account: Name of the account.
        since_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT count(*) FROM orders WHERE account = ? AND sent_ms > ?", (account, since_ms)
        )
    return int(row.get or 0)


def is_exit_rejected(store: Store, entry_order_id: str) -> bool:
    """Return whether an exit of a position was refused and is not pending any more.

    Refused stops do not count.

    Args:
        store: The open database.
        entry_order_id: Client order id of the order that opened the position.
    """
    with store.read() as connection:
        row = connection.execute(
            f"SELECT 1 FROM orders WHERE entry_order_id = ? AND {EXIT_REJECTED} LIMIT 1",
            (entry_order_id,),
        )
    return row.get is not None


def _read_events(connection: DatabaseConnection, order: Order) -> list[str]:
    rows = connection.execute(
        "SELECT payload FROM order_events WHERE client_order_id = ? ORDER BY number",
        (order.client_order_id,),
    ).fetchall()
    return [payload for (payload,) in rows]


def _add_events(
    connection: DatabaseConnection,
    client_order_id: str,
    events: tuple[tuple[str, str], ...],
    stored: int,
    at_ms: int,
    source: str,
) -> None:
    """Append events (kind, document) to the history of an order, which has `stored` events."""
    rows = [
        (client_order_id, number, at_ms, kind, document, source)
        for number, (kind, document) in enumerate(events, stored + 1)
    ]
    connection.executemany(
        "INSERT INTO order_events (client_order_id, number, at_ms, kind, payload, source) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )


def _end_order_obligation(
    connection: DatabaseConnection, client_order_id: str, ended_ms: int, reason: str
) -> None:
    row = connection.execute(
        "SELECT obligation FROM orders WHERE client_order_id = ?", (client_order_id,)
    )
    obligation = row.get
    if obligation is not None:
        end_obligation(connection, obligation, ended_ms=ended_ms, reason=reason)


def _make_fill_values(fill: Fill) -> dict[str, Value]:
    values: dict[str, Value] = {name: getattr(fill, name) for name in Fill.__struct_fields__}
    for name in ("price", "amount", "fee"):
        values[name] = format_decimal(getattr(fill, name))
    minimum = fill.min_sell_amount
    values["min_sell_amount"] = None if minimum is None else format_decimal(minimum)
    return values


def _make_order_values(order: Order) -> dict[str, Value]:
    values = {name: getattr(order, name) for name in _ORDER_COLUMNS}
    values["intended_price"] = format_decimal(order.intended_price)
    for name in ("ordered_amount", "stop_price"):
        number = getattr(order, name)
        values[name] = None if number is None else format_decimal(number)
    values["is_protection"] = int(order.is_protection)
    values["parameters"] = json.dumps(dict(order.parameters), sort_keys=True)
    return values


def _make_order(row: tuple[Any, ...]) -> Order:
    values = dict(zip(_ORDER_COLUMNS, row, strict=True))
    values["intended_price"] = Decimal(values["intended_price"])
    for name in ("ordered_amount", "stop_price"):
        values[name] = None if values[name] is None else Decimal(values[name])
    values["is_protection"] = bool(values["is_protection"])
    values["parameters"] = json.loads(values["parameters"])
    return Order(**values)
