"""Finds out what became of orders without a clear response: by look-ups, never by sending again.

An order counts as absent only if two complete responses of the exchange (the order by its id, own
trades, balances) lack it. Both must come after the order's deadline, by the exchange's clock, with
some seconds in between, and the second one a minute after the deadline, because exchanges have not
shown accepted orders for tens of seconds. A failed request proves nothing. For ten minutes, a
response also proves nothing if balances have changed as the order would have changed them, or if
the response has an execution whose order is unknown.
"""

import time
from collections.abc import Mapping, Set
from decimal import Decimal

from onetape.cli.output import print_line
from onetape.exchange.trading_records import Balance
from onetape.execution.events import ProvenAbsent
from onetape.store.live_accounts import read_exchange_order_ids, read_live_account
from trader.brokers.live_records import AbsenceResponse
from trader.live.book import LiveBook
from trader.live.booked_coins import sum_executed
from trader.live.tracking import LiveOrder


def look_up_if_due(book: LiveBook, live_order: LiveOrder) -> None:
    """Request the state of an order from the exchange, if that is due.

    An order is looked up until its end, after growing pauses; a resting stop only if its state is
    in doubt.

    Args:
        book: The orders of the symbol.
        live_order: The order.
    """
    broker, state = book.broker, live_order.state
    if live_order.is_unsent or any(
        broker.is_request_running(kind, live_order.identity)
        for kind in ("submit", "cancel", "replace", "look_up")
    ):
        return
    rests = (
        live_order.order.is_protection and state.stage == "open" and state.booked >= state.filled
    )
    if (rests and not live_order.is_look_up_needed) or not live_order.is_look_up_due(book.times):
        return
    live_order.note_look_up()
    # The earliest exchange time at which the order may have arrived.
    sent_ms = (live_order.state.deadline_ms or 0) - broker.window_ms
    broker.look_up(live_order.identity, sent_ms, is_stop=live_order.order.is_protection)


def has_moved_coins(
    book: LiveBook, live_order: LiveOrder, balances: Mapping[str, Balance], requested_ms: int
) -> bool:
    """Return whether a balance has changed as if an order without a response had been executed.

    Args:
        book: The orders of the symbol.
        live_order: The order.
        balances: Balances of the account by currency.
        requested_ms: Exchange time right before the balances were requested, epoch milliseconds:
            later executions are not included.
    """
    change = compute_unknown_change(book, live_order, balances, requested_ms)
    if change is None:
        return False
    return change < 0 if live_order.order.side == "sell" else change > 0


def compute_unknown_change(
    book: LiveBook, live_order: LiveOrder, balances: Mapping[str, Balance], requested_ms: int
) -> Decimal | None:
    """Return the change of the base currency since a send that no other own order has made.

    The balance is compared with the balance before the send plus the changes by other orders of the
    database since. If no balance was stored with the send, because an earlier version has sent the
    order, the baseline of the account plus the coins bought since takes its place.

    Args:
        book: The orders of the symbol.
        live_order: The order, of which no execution is booked.
        balances: Balances of the account by currency.
        requested_ms: Exchange time right before the balances were requested, epoch milliseconds:
            later executions are not included.

    Returns:
        Base currency; None: the balance before the send is not known.
    """
    store, base = book.context.store, book.context.market.base
    before = live_order.total_before
    account = read_live_account(store, book.context.session.account)
    if before is None:
        if account is None:
            return None
        # Dust of earlier positions may have been converted: it neither hides a buy nor imitates a
        # sale.
        position = book.position
        bought = position.open_amount if live_order.order.side == "sell" else position.base
        before = account.baseline.get(base, Decimal(0)) + bought
    elif live_order.read_ms is not None and account is not None:
        account_key = account.exchange, account.exchange_account, base
        before += sum_executed(
            store, *account_key, after_ms=live_order.read_ms, until_ms=requested_ms
        )
    held = balances.get(base)
    return (Decimal(0) if held is None else held.total) - before


def note_absences(book: LiveBook, now_ms: int, orders_of_others: Set[str]) -> None:
    """Count complete responses that lack an order; store the order as absent once that is proven.

    Args:
        book: The orders of the symbol.
        now_ms: Market time, epoch milliseconds.
        orders_of_others: The exchange's ids of executed orders that are known to be of others.
    """
    for response in book.broker.take_absences():
        live_order = book.orders.get(response.client_order_id)
        if live_order is None or live_order.state.stage not in ("sent", "unknown"):
            continue
        if _is_absence_proven(book, live_order, response, orders_of_others):
            reason = "the exchange has no such order, a minute after its deadline"
            kind = "stop" if live_order.order.is_protection else live_order.order.side
            print_line(f"the order ({kind}) never arrived: {reason}")
            book.record(live_order, [ProvenAbsent(reason)], now_ms, source=book.broker.name)


def _is_absence_proven(
    book: LiveBook, live_order: LiveOrder, response: AbsenceResponse, orders_of_others: Set[str]
) -> bool:
    """Return whether a response completes the proof that an order does not exist."""
    deadline_ms, times = live_order.state.deadline_ms, book.times
    if deadline_ms is None or response.requested_ms <= deadline_ms:
        return False
    passed = book.exchange.clock.wall_seconds(response.requested_ms - deadline_ms)
    if passed < times.balance_doubt and (
        _has_nameless_fill(book, response, orders_of_others)
        or has_moved_coins(book, live_order, response.balances, response.requested_ms)
    ):
        # The order may be executed and not visible yet. A deposit or withdrawal looks the same.
        live_order.note_nowhere(times, is_nowhere=False)
        return False
    if live_order.order.is_protection:
        live_order.note_nowhere(times, is_nowhere=not _has_locked_coins(book, live_order, response))
    now = time.monotonic()
    if live_order.absences and now - live_order.absences[-1] < times.absent_spacing:
        return False
    live_order.absences.append(now)
    return len(live_order.absences) > 1 and passed >= times.absent


def _has_nameless_fill(
    book: LiveBook, response: AbsenceResponse, orders_of_others: Set[str]
) -> bool:
    """Return whether an execution has an unknown owner, so that it may belong to the order.

    Each reading of the account looks up the orders of others. The owner of an execution is unknown
    if that has failed.
    """
    key = book.context.key
    known = read_exchange_order_ids(book.context.store, key.exchange, key.symbol)
    numbers = {fill.exchange_order_id for fill in response.fills}
    return not numbers <= (known.keys() | orders_of_others)


def _has_locked_coins(book: LiveBook, live_order: LiveOrder, response: AbsenceResponse) -> bool:
    """Return whether as many coins are locked as a stop sells, so that it may rest unlisted."""
    held, amount = response.balances.get(book.context.market.base), live_order.order.ordered_amount
    return amount is None or (held is not None and held.locked >= amount)
