"""Finds in a reading of the account what no response and no event has reported: orders and fills.

The orders here are stored orders of this database. Orders that the database lacks are handled in
`found_orders.py`.
"""

from collections.abc import Iterable

from onetape.cli.output import print_line
from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.store.live_accounts import read_exchange_order_ids
from trader.brokers.live_records import make_fill_report, make_order_events
from trader.live.book import LiveBook
from trader.live.lost_executions import find_assumed_orders
from trader.live.order_adoption import track_order_again


def take_over_orders(
    book: LiveBook, orders: Iterable[OrderSnapshot], fills: Iterable[OwnTrade], now_ms: int
) -> None:
    """Store state and fills of stored orders whose acknowledgement never arrived.

    Args:
        book: The orders of the symbol.
        orders: All orders of a reading.
        fills: All executions of a reading.
        now_ms: Market time, epoch milliseconds.
    """
    key = book.context.key
    known = read_exchange_order_ids(book.context.store, key.exchange, key.symbol)
    assumed = find_assumed_orders(book.fills)
    for found in orders:
        if found.exchange_order_id in known or not found.client_order_id.startswith(book.tag):
            continue
        if found.client_order_id in assumed:
            continue
        live_order = track_order_again(book, found.client_order_id)
        if live_order is not None:
            own = [fill for fill in fills if fill.exchange_order_id == found.exchange_order_id]
            book.record(live_order, make_order_events(found, own), now_ms, source=book.broker.name)


def book_missed_fills(book: LiveBook, fills: Iterable[OwnTrade], now_ms: int) -> list[OwnTrade]:
    """Book executions of known orders that no event has reported; return these executions.

    Args:
        book: The orders and fills of the symbol.
        fills: All executions of a reading.
        now_ms: Market time, epoch milliseconds.
    """
    key = book.context.key
    account = book.context.session.account
    known = read_exchange_order_ids(book.context.store, key.exchange, key.symbol, account=account)
    booked = {fill.exchange_trade_id for fill in book.fills}
    # If a person has decided on an order's executions, they are booked under another id.
    assumed = find_assumed_orders(book.fills)
    missed = [
        fill
        for fill in fills
        if fill.trade_id not in booked
        and fill.exchange_order_id in known
        and known[fill.exchange_order_id] not in assumed
    ]
    by_order: dict[str, list[OwnTrade]] = {}
    for fill in missed:
        by_order.setdefault(known[fill.exchange_order_id], []).append(fill)
    for identity, made in by_order.items():
        live_order = track_order_again(book, identity)
        if live_order is not None:
            book.record(
                live_order,
                [make_fill_report(fill) for fill in made],
                now_ms,
                source=book.broker.name,
            )
    return missed


def reconnect_lossy_stream(book: LiveBook, missed: Iterable[OwnTrade], requested_ms: int) -> None:
    """Open the stream of account events again if it has lost an execution; print a line.

    Args:
        book: The orders of the symbol.
        missed: Executions that no event has reported.
        requested_ms: Exchange time at which the account was read, epoch milliseconds.
    """
    for fill in missed:
        opened_ms = book.broker.stream_opened_ms
        late = book.exchange.clock.wall_seconds(requested_ms - fill.executed_ms)
        if opened_ms is not None and fill.executed_ms > opened_ms and late > book.times.event_late:
            print_line("the account's stream has lost an execution: it is opened again")
            book.broker.reconnect_stream("an execution came without an event")
