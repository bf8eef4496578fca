"""Resolves orders without a clear response: by look-ups alone, never by sending again.

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
from trader.brokers.live_records import AbsenceAnswer
from trader.live.book import LiveBook
from trader.live.booked_coins import sum_executed
from trader.live.tracking import LiveOrder


def look_up_if_due(book: LiveBook, one: LiveOrder) -> None:
    """Look up an order whose state is unknown, or has lasted for long."""
    broker, state = book.broker, one.state
    if one.is_unsent or any(
        broker.is_asking(what, one.identity) for what in ("submit", "cancel", "replace", "look_up")
    ):
        return
    rests = one.order.is_protection and state.stage == "open" and state.booked >= state.filled
    if (rests and not one.is_look_needed) or not one.is_look_due(book.times):
        return
    one.note_look()
    # When the order may have arrived first, by the exchange's time.
    sent_ms = (one.state.deadline_ms or 0) - broker.window_ms
    broker.look_up(one.identity, sent_ms, is_stop=one.order.is_protection)


def has_moved_coins(
    book: LiveBook, one: LiveOrder, balances: Mapping[str, Balance], requested_ms: int
) -> bool:
    """Return whether a balance has moved as if an order without a response had been executed.

    The balance is compared with the one before the send plus the changes by other orders of the
    file since. If that one is not stored, because an earlier version has sent the order, it is
    compared with the balance at the account's opening plus the coins bought since.

    Args:
        book: The orders of the symbol.
        one: The order.
        balances: Balances of the account by currency.
        requested_ms: Exchange time right before the balances were requested, epoch milliseconds:
            later executions are not included.
    """
    store, base = book.context.store, book.context.market.base
    before = one.total_before
    account = read_live_account(store, book.context.session.account)
    if before is None:
        if account is None:
            return False
        # Dust of earlier positions may have been converted: it neither hides a buy nor imitates a
        # sale.
        position = book.position
        bought = position.own if one.order.side == "sell" else position.base
        before = account.baseline.get(base, Decimal(0)) + bought
    elif one.read_ms is not None and account is not None:
        place = account.exchange, account.exchange_account, base
        before += sum_executed(store, *place, after_ms=one.read_ms, until_ms=requested_ms)
    held = balances.get(base)
    total = Decimal(0) if held is None else held.total
    return total < before if one.order.side == "sell" else total > before


def note_absences(book: LiveBook, now_ms: int, orders_of_others: Set[str]) -> None:
    """Count the responses without an order; mark the order absent once that is proven.

    Args:
        book: The orders of the symbol.
        now_ms: Market time, epoch milliseconds.
        orders_of_others: The exchange's ids of executed orders that are known to be of others.
    """
    for answer in book.broker.take_absences():
        one = book.orders.get(answer.client_order_id)
        if one is None or one.state.stage not in ("sent", "unknown"):
            continue
        if _is_absence_proven(book, one, answer, orders_of_others):
            reason = "the exchange has no such order, a minute after its deadline"
            kind = "stop" if one.order.is_protection else one.order.side
            print_line(f"the order ({kind}) never arrived: {reason}")
            book.record(one, [ProvenAbsent(reason)], now_ms, source=book.broker.name)


def _is_absence_proven(
    book: LiveBook, one: LiveOrder, answer: AbsenceAnswer, orders_of_others: Set[str]
) -> bool:
    """Return whether a response completes the proof that there is no order."""
    deadline_ms, times = one.state.deadline_ms, book.times
    if deadline_ms is None or answer.requested_ms <= deadline_ms:
        return False
    passed = book.exchange.clock.wall_seconds(answer.requested_ms - deadline_ms)
    if passed < times.balance_doubt and (
        _has_nameless_fill(book, answer, orders_of_others)
        or has_moved_coins(book, one, answer.balances, answer.requested_ms)
    ):
        # The order may be executed and not visible yet. A deposit or withdrawal looks the same.
        one.note_nowhere(times, is_nowhere=False)
        return False
    if one.order.is_protection:
        one.note_nowhere(times, is_nowhere=not _has_locked_coins(book, one, answer))
    now = time.monotonic()
    if one.absences and now - one.absences[-1] < times.absent_spacing:
        return False
    one.absences.append(now)
    return len(one.absences) > 1 and passed >= times.absent


def _has_nameless_fill(book: LiveBook, answer: AbsenceAnswer, orders_of_others: Set[str]) -> bool:
    """Return whether an execution may belong to the order that is looked for.

    Each reading of the account looks up the orders of others. If that fails, the owner of an
    execution is unknown.
    """
    key = book.context.key
    known = read_exchange_order_ids(book.context.store, key.exchange, key.symbol)
    numbers = {fill.exchange_order_id for fill in answer.fills}
    return not numbers <= (known.keys() | orders_of_others)


def _has_locked_coins(book: LiveBook, one: LiveOrder, answer: AbsenceAnswer) -> bool:
    """Return whether enough coins are locked that the stop may rest, although it is not listed."""
    held, amount = answer.balances.get(book.context.market.base), one.order.ordered_amount
    return amount is None or (held is not None and held.locked >= amount)
