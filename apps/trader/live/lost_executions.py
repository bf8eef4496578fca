"""An entry whose executions stay unknown: a person decides on its coins.

The exchange states that the entry is filled, and does not list its executions, or not any more. The
symbol would wait forever. So the difference is stored after a minute, and `trader reconcile` takes
an answer: the filled amount that the order states is booked as one execution, at the order's
expected price and with the largest fee. If executions of the order come later, they are not booked.
"""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from onetape.core.trading import Fill
from onetape.execution.events import FillReport
from onetape.store.live_accounts import (
    StoredDifference,
    add_difference,
    end_difference,
    read_open_differences,
)
from trader.live.adopting import take_out_entry
from trader.live.book import LiveBook
from trader.live.tracking import LiveOrder

#: Kind of the difference.
LOST_EXECUTIONS: Final = "lost executions"
#: Beginning of the trade ids of executions that a person has had booked.
ASSUMED: Final = "assumed-"
#: Largest fee as a fraction of the bought amount; no exchange takes that much of a market order.
LARGEST_FEE: Final = Decimal("0.01")
_ZERO: Final = Decimal(0)


class LostExecutions:
    """The difference of one symbol's entry whose executions stay unknown."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; whether a difference is stored is not known."""
        self._book = book
        self._looked: float | None = None
        self._is_stored = True

    def update_difference(self, one: LiveOrder | None, now_ms: int, *, is_lasting: bool) -> bool:
        """Store the difference, carry out its answer, or end the difference.

        Args:
            one: The entry without known executions; None: there is none.
            now_ms: Market time, epoch milliseconds.
            is_lasting: Whether its executions have been unknown for long.

        Returns:
            Whether its coins were taken out of the ledger.
        """
        times, now = self._book.times, time.monotonic()
        is_idle = one is None and not self._is_stored
        is_early = self._looked is not None and now - self._looked < times.answer_read
        if is_idle or is_early:
            return False
        self._looked, found = now, self._read()
        self._is_stored = found is not None
        if found is None:
            if one is not None and is_lasting and one.state.is_done:
                self._store(one, now_ms)
            return False
        if found.answer is not None:
            return self._carry_out(found, one, now_ms)
        if one is None or one.identity != found.subject:
            end_difference(self._book.context.store, found.number, ended_ms=now_ms)
        return False

    def _read(self) -> StoredDifference | None:
        """Return the difference that is open, or None."""
        context = self._book.context
        for one in read_open_differences(context.store, context.session.account):
            # The documents of other kinds are not read: a stop must not depend on them.
            if one.kind == LOST_EXECUTIONS and one.document.get("symbol") == context.key.symbol:
                return one
        return None

    def _store(self, one: LiveOrder, now_ms: int) -> None:
        book, context = self._book, self._book.context
        base = context.market.base
        text = (
            f"the exchange states that entry {one.identity} has bought "
            f"{compute_bought(one).normalize():f} {base}, and shows executions of "
            f"{one.state.booked.normalize():f} {base}"
        )
        document = {"text": text, "symbol": context.key.symbol}
        add_difference(
            context.store, book.fence, context.session.account, LOST_EXECUTIONS, one.identity,
            document, seen_ms=now_ms,
        )  # fmt: skip
        self._is_stored = True

    def _carry_out(self, found: StoredDifference, one: LiveOrder | None, now_ms: int) -> bool:
        """Book the entry, and for two of the answers take its coins out again.

        If the program ends in between, the next start goes on: the answer is still stored.
        """
        book = self._book
        if one is not None and one.identity == found.subject:
            self._book_assumed_fill(one, now_ms)
        is_there = book.entry_order_id == found.subject and found.subject in find_assumed_orders(
            book.fills
        )
        is_taken_out = found.answer in ("forget", "keep") and is_there
        if is_taken_out:
            take_out_entry(book, str(found.answer), now_ms)
        end_difference(book.context.store, found.number, ended_ms=now_ms)
        return is_taken_out

    def _book_assumed_fill(self, one: LiveOrder, now_ms: int) -> None:
        """Book the coins that an entry has bought as one execution."""
        book, left = self._book, compute_bought(one) - one.state.booked
        ask = one.order.ask
        fill = FillReport(
            f"{ASSUMED}{one.identity}",
            one.order.intended_price if ask is None else Decimal(repr(ask)),
            left,
            left * LARGEST_FEE,
            book.context.market.base,
            find_sent_ms(book, one),
        )
        book.record(one, [fill], now_ms, note="a person has answered for its executions")


def compute_bought(one: LiveOrder) -> Decimal:
    """Return the amount that an entry has bought by the exchange's statement, base currency.

    Some responses have the status alone: then the ordered amount is returned.
    """
    return one.state.filled or one.order.ordered_amount or _ZERO


def find_sent_ms(book: LiveBook, one: LiveOrder) -> int:
    """Return the earliest exchange time at which an order may have arrived, epoch milliseconds."""
    deadline_ms = one.state.deadline_ms
    return one.order.decided_ms if deadline_ms is None else deadline_ms - book.broker.window_ms


def find_assumed_orders(fills: Iterable[Fill]) -> frozenset[str]:
    """Return the client order ids of entries that were booked on a person's answer."""
    return frozenset(
        one.client_order_id for one in fills if one.exchange_trade_id.startswith(ASSUMED)
    )
