"""Orders that no decision has made: taken over from the exchange, or corrections of a position.

A correction is an order of the type `correction` that is never sent: its fill removes coins from
the position in the database, because a person has decided so or no order can sell them.
"""

from decimal import Decimal

from onetape.cli.output import print_line
from onetape.exchange.trading_records import OrderSnapshot, OwnTrade
from onetape.execution.events import FillReport, StatusReport, decode_event
from onetape.execution.orders import fold
from onetape.store.orders import read_stored_order
from trader.brokers.live_records import make_order_events
from trader.live.book import LiveBook
from trader.live.booked_coins import CORRECTION_PREFIX
from trader.live.tracking import CORRECTION, LiveOrder
from trader.order_booking import TrackedOrder


def track_order_again(book: LiveBook, identity: str) -> LiveOrder | None:
    """Return a stored order, which may be over already, and track it in the book.

    Args:
        book: The orders of the symbol.
        identity: Client order id.

    Returns:
        The order; None if no order of this id is stored, or if the order belongs to another
        account, whose executor books it.
    """
    if identity in book.orders:
        return book.orders[identity]
    stored = read_stored_order(book.context.store, identity)
    if stored is None or stored.order.account != book.context.session.account:
        return None
    state = fold([decode_event(event) for event in stored.events])
    live_order = LiveOrder(TrackedOrder(stored.order, state, len(stored.events)))
    book.orders[identity] = live_order
    return live_order


def adopt(book: LiveBook, found: OrderSnapshot, fills: tuple[OwnTrade, ...], now_ms: int) -> None:
    """Store and track an order that has an id of this database and is not stored; print a line.

    An order that is stored belongs to another account and has no response yet: nothing is done.

    Args:
        book: The orders of the symbol.
        found: The order at the exchange.
        fills: Executions of a reading of the account; those of the order are booked.
        now_ms: Market time, epoch milliseconds.
    """
    if read_stored_order(book.context.store, found.client_order_id) is not None:
        return
    is_stop = found.stop_price is not None
    live_order = book.add_order_without_decision(
        found.side,
        "stop_loss" if is_stop else "market",
        "taken over: its id is of this database, which did not have the order",
        now_ms,
        amount=found.amount,
        stop_price=found.stop_price,
        client_order_id=found.client_order_id,
    )
    print_line(
        f"order {found.client_order_id} ({found.side}) has an id of this database "
        "and was not in it: taken over"
    )
    own = [fill for fill in fills if fill.exchange_order_id == found.exchange_order_id]
    book.record(live_order, make_order_events(found, own), now_ms, source=book.broker.name)


def write_off(book: LiveBook, answer: str, held: Decimal, now_ms: int) -> None:
    """Remove missing coins from the position, on a person's command.

    Args:
        book: The orders and fills of the symbol.
        answer: `adopt`: the amount in the account stays a position; `forget`: no position is left.
        held: Amount of the position that is in the account, base currency.
        now_ms: Market time, epoch milliseconds.
    """
    if book.position.is_flat:
        return
    left = min(held, book.position.open_amount) if answer == "adopt" else Decimal(0)
    reason = f"written off: a person answered {answer}"
    _book_correction(book, book.position.open_amount - left, reason, now_ms)


def write_off_fees(book: LiveBook, amount: Decimal, now_ms: int) -> None:
    """Remove the coins from the position that have paid fees of other symbols; print a line.

    The account gets no money for these coins.

    Args:
        book: The orders and fills of the symbol.
        amount: Amount, base currency.
        now_ms: Market time, epoch milliseconds.
    """
    base = book.context.market.base
    reason = f"{amount.normalize():f} {base} have paid fees of other symbols of the account"
    print_line(f"taken out of the position: {reason}")
    _book_correction(book, amount, reason, now_ms, is_paid=False)


def write_off_entry(book: LiveBook, answer: str, now_ms: int) -> None:
    """Remove the coins of an entry from the position, on a person's command.

    Args:
        book: The orders and fills of the symbol.
        answer: `forget`: the coins are gone; `keep`: the coins stay in the account as its own.
        now_ms: Market time, epoch milliseconds.
    """
    reason = f"taken out of the position: a person answered {answer}"
    _book_correction(book, book.position.open_amount, reason, now_ms)


def write_off_dust(book: LiveBook, reason: str, now_ms: int) -> None:
    """Remove a position that no order can sell; its coins stay in the account. Print a line.

    Args:
        book: The orders and fills of the symbol.
        reason: Reason why the position cannot be sold.
        now_ms: Market time, epoch milliseconds.
    """
    base, held = book.context.market.base, book.position.base
    amount = f"{held.normalize():f} {base}"
    print_line(f"left on the account as dust: {amount}, which no order can sell: {reason}")
    _book_correction(book, held, f"left as dust: {reason}", now_ms)


def _book_correction(
    book: LiveBook, amount: Decimal, reason: str, now_ms: int, *, is_paid: bool = True
) -> None:
    """Book a sale that no order has made, at the price of the entry.

    Args:
        book: The orders and fills of the symbol.
        amount: Amount, base currency.
        reason: Reason as a text.
        now_ms: Market time, epoch milliseconds.
        is_paid: Whether the proceeds are added to the cash; otherwise they are booked as a fee.
    """
    live_order = book.add_order_without_decision("sell", CORRECTION, reason, now_ms, amount=amount)
    price = Decimal(repr(book.compute_entry_price(0.0)))
    fill = FillReport(
        f"{CORRECTION_PREFIX}{live_order.identity}",
        price,
        amount,
        Decimal(0) if is_paid else price * amount,
        book.context.market.quote,
        now_ms,
    )
    book.record(live_order, [fill, StatusReport("closed", amount)], now_ms)
