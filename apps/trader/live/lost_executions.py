"""An entry that is filled and whose executions stay unknown: a person decides about its coins.

The exchange states that the entry is filled, and does not list its executions, or not any more. The
symbol would wait for them forever. So a difference is stored after a minute, and a person decides
it with `trader reconcile`: the filled amount that the order states is booked as one execution, at
the order's expected price and with the largest fee. Executions that the exchange lists later are
not booked. `unread_entry.py` places the stop for such an entry.
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
from trader.live.book import LiveBook
from trader.live.order_adoption import write_off_entry
from trader.live.tracking import LiveOrder

#: Kind of the stored difference.
LOST_EXECUTIONS: Final = "lost executions"
#: Prefix of the trade ids of executions that were booked because a person decided so.
ASSUMED_PREFIX: Final = "assumed-"
#: Largest fee as a fraction of the bought amount; no exchange takes that much of a market order.
LARGEST_FEE: Final = Decimal("0.01")
_ZERO: Final = Decimal(0)


class LostExecutions:
    """The stored difference of one symbol's entry whose executions stay unknown."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; the first update reads whether a difference is stored."""
        self._book = book
        self._looked: float | None = None
        self._is_stored = True

    def update_difference(self, entry: LiveOrder | None, now_ms: int, *, is_lasting: bool) -> bool:
        """Store the difference, carry out a person's answer, or end the difference.

        Args:
            entry: The filled entry with unknown executions; None: there is none.
            now_ms: Market time, epoch milliseconds.
            is_lasting: Whether the executions have been unknown for `executions_lost` seconds.

        Returns:
            Whether the coins of the entry were removed from the position.
        """
        times, now = self._book.times, time.monotonic()
        is_idle = entry is None and not self._is_stored
        is_early = self._looked is not None and now - self._looked < times.answer_read
        if is_idle or is_early:
            return False
        self._looked, found = now, self._read()
        self._is_stored = found is not None
        if found is None:
            if entry is not None and is_lasting and entry.state.is_done:
                self._store(entry, now_ms)
            return False
        if found.answer is not None:
            return self._carry_out(found, entry, now_ms)
        if entry is None or entry.identity != found.subject:
            end_difference(self._book.context.store, found.number, ended_ms=now_ms)
        return False

    def _read(self) -> StoredDifference | None:
        """Return the stored difference that is not over, or None."""
        context = self._book.context
        for difference in read_open_differences(context.store, context.session.account):
            # The documents of other kinds are not read: a stop must not depend on them.
            if (
                difference.kind == LOST_EXECUTIONS
                and difference.document.get("symbol") == context.key.symbol
            ):
                return difference
        return None

    def _store(self, entry: LiveOrder, now_ms: int) -> None:
        book, context = self._book, self._book.context
        base = context.market.base
        text = (
            f"the exchange states that entry {entry.identity} has bought "
            f"{compute_bought(entry).normalize():f} {base}, and shows executions of "
            f"{entry.state.booked.normalize():f} {base}"
        )
        document = {"text": text, "symbol": context.key.symbol}
        add_difference(
            context.store, book.fence, context.session.account, LOST_EXECUTIONS, entry.identity,
            document, seen_ms=now_ms,
        )  # fmt: skip
        self._is_stored = True

    def _carry_out(self, found: StoredDifference, entry: LiveOrder | None, now_ms: int) -> bool:
        """Book the entry; for the answers `forget` and `keep` remove its coins again.

        If the program ends in between, the next start goes on: the answer is still stored.
        """
        book = self._book
        if entry is not None and entry.identity == found.subject:
            self._book_assumed_fill(entry, now_ms)
        is_there = book.entry_order_id == found.subject and found.subject in find_assumed_orders(
            book.fills
        )
        is_taken_out = found.answer in ("forget", "keep") and is_there
        if is_taken_out:
            write_off_entry(book, str(found.answer), now_ms)
        end_difference(book.context.store, found.number, ended_ms=now_ms)
        return is_taken_out

    def _book_assumed_fill(self, entry: LiveOrder, now_ms: int) -> None:
        """Book the amount that an entry has bought beyond its known fills as one execution."""
        book, left = self._book, compute_bought(entry) - entry.state.booked
        ask = entry.order.ask
        fill = FillReport(
            f"{ASSUMED_PREFIX}{entry.identity}",
            entry.order.intended_price if ask is None else Decimal(repr(ask)),
            left,
            left * LARGEST_FEE,
            book.context.market.base,
            find_sent_ms(book, entry),
        )
        book.record(entry, [fill], now_ms, note="a person has answered for its executions")


def compute_bought(entry: LiveOrder) -> Decimal:
    """Return the amount that an entry has bought by the exchange's statement, base currency.

    Some responses state the status alone: then the ordered amount is returned.
    """
    return entry.state.filled or entry.order.ordered_amount or _ZERO


def find_sent_ms(book: LiveBook, entry: LiveOrder) -> int:
    """Return the time that the send of an order carries, exchange time, epoch milliseconds.

    The time of the decision is returned for an order without a deadline.
    """
    deadline_ms = entry.state.deadline_ms
    return entry.order.decided_ms if deadline_ms is None else deadline_ms - book.broker.window_ms


def find_assumed_orders(fills: Iterable[Fill]) -> frozenset[str]:
    """Return the client order ids of entries that were booked because a person decided so."""
    return frozenset(
        fill.client_order_id for fill in fills if fill.exchange_trade_id.startswith(ASSUMED_PREFIX)
    )
