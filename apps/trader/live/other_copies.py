"""Detects that another copy of this database trades the same account, and stops orders then.

Each order is stored before it is sent. If the exchange has an order with an id of this database
that is newer than the beginning of this session, and the database does not have it, then a process
on another computer with a copy of the file has sent it; lease and lock do not reach that far. The
order is not taken over, because each entry and each exit would be made twice. No entry and no exit
of the symbol is sent until a person has decided. This state is stored, because a container is
started again without a person. Orders from before the session are those of a restored backup, as
long as no other copy was seen.
"""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from onetape.exchange.trading_records import OrderSnapshot
from onetape.store.live_accounts import (
    StoredDifference,
    add_difference,
    end_difference,
    is_order_stored,
    read_open_differences,
)
from onetape.store.sessions import read_session_start
from trader.live.book import LiveBook
from trader.states import Problem

#: Kind of the difference, and source of the problem in the symbol of the orders.
OTHER_COPY: Final = "other copy"
#: Source of the problem in the other symbols of the account.
OTHER_SYMBOL_PROBLEM: Final = "other copy elsewhere"
_ZERO: Final = Decimal(0)
_ADVICE: Final = "stop the other copy, then run: uv run trader reconcile"


class OtherCopies:
    """Orders of other copies of the database, as found by one symbol's session."""

    def __init__(self, book: LiveBook) -> None:
        """Read and report the stored differences of earlier sessions."""
        self._book = book
        self._is_read = False
        self.began_ms = book.context.session.started_ms
        """Time since which only this process may send orders of this database, exchange time, epoch
        milliseconds."""
        self.locked = _ZERO
        """Amount that open orders of other copies sell, base currency.

        A smaller amount counts only once later readings confirm it.
        """
        self._less_since: float | None = None
        """Time since readings have less than `locked`, monotonic seconds; None: no less."""
        self._report_stored()

    @property
    def is_seen(self) -> bool:
        """Return whether another copy has sent orders about which no person has decided yet."""
        return self._book.states.has_problem(OTHER_COPY)

    def apply_answers(self, requested_ms: int, now_ms: int) -> bool:
        """Carry out a person's answers about other copies, before a reading is compared.

        Args:
            requested_ms: Exchange time right before the reading, epoch milliseconds.
            now_ms: Market time, epoch milliseconds.

        Returns:
            Whether the orders of the other copy, which was stopped, must be taken over.
        """
        book = self._book
        context = book.context
        if not self._is_read:
            # The trader's estimate of the exchange's time may be ahead.
            self.began_ms, self._is_read = min(self.began_ms, requested_ms), True
        is_stopped = False
        for stored in self._read_differences():
            if stored.subject == context.key.symbol and stored.answer == "adopt":
                end_difference(context.store, stored.number, ended_ms=now_ms)
                is_stopped = True
        if is_stopped:
            self.began_ms, self.locked = requested_ms, _ZERO
        self._report_stored()
        return is_stopped

    def note_orders(self, orders: Iterable[OrderSnapshot], now_ms: int) -> None:
        """Store and report orders of a reading that this process cannot have sent.

        Args:
            orders: Such orders of the reading. Orders that another account of the database has are
                left out.
            now_ms: Market time, epoch milliseconds.
        """
        book = self._book
        store, session = book.context.store, book.context.session
        found = [order for order in orders if not is_order_stored(store, order.client_order_id)]
        self._note_locked(found)
        if not found or self.is_seen:
            return
        symbol, order = book.context.key.symbol, found[-1]
        text = (
            f"another copy of this database trades {symbol} on this account: it has sent order "
            f"{order.client_order_id} ({order.side}), which is not in this file"
        )
        document = {"text": text, "symbol": symbol, "began_ms": self.began_ms}
        add_difference(
            store, book.fence, session.account, OTHER_COPY, symbol, document, seen_ms=now_ms
        )
        self._report(text)

    def compute_unlocked_amount(self, amount: Decimal, beyond: Decimal) -> Decimal:
        """Return the part of a position that a stop may sell, base currency.

        If both copies have the position, the stop of the other copy may rest for the same coins.

        Args:
            amount: Amount of the position, base currency.
            beyond: Balance of the account less its baseline, base currency.
        """
        if not self.is_seen:
            return amount
        # A resting stop is not cancelled before the copy's stop is certain to be gone.
        resting = (stop for stop in self._book.stops if stop.state.stage == "open")
        resting_amount = sum(
            ((stop.order.ordered_amount or _ZERO) - stop.state.filled for stop in resting), _ZERO
        )
        return min(amount, max(beyond - self.locked, min(resting_amount, beyond), _ZERO))

    def _note_locked(self, orders: Iterable[OrderSnapshot]) -> None:
        """Note the amount that open orders of other copies sell.

        A smaller amount is ignored for some seconds: between two orders a copy has none.
        """
        amounts = (
            (order.amount or _ZERO) - (order.filled or _ZERO)
            for order in orders
            if order.side == "sell" and order.status == "open"
        )
        locked, now = sum(amounts, _ZERO), time.monotonic()
        if locked < self.locked:
            self._less_since = self._less_since or now
            if now - self._less_since < self._book.times.missing:
                return
        self.locked, self._less_since = locked, None

    def _read_differences(self) -> list[StoredDifference]:
        """Return the differences of the account that are not over."""
        context = self._book.context
        found = read_open_differences(context.store, context.session.account)
        return [difference for difference in found if difference.kind == OTHER_COPY]

    def _report_stored(self) -> None:
        """Report stored orders of other copies about which no person has decided yet."""
        symbol = self._book.context.key.symbol
        waiting = [
            difference for difference in self._read_differences() if difference.answer is None
        ]
        here = [difference for difference in waiting if difference.subject == symbol]
        for difference in here:
            self.began_ms = min(self.began_ms, self._find_start_ms(difference))
        self._report(str(here[-1].document.get("text")) if here else None)
        self._report_elsewhere(
            next((difference.subject for difference in waiting if difference not in here), "")
        )

    def _find_start_ms(self, stored: StoredDifference) -> int:
        """Return the time since which a known copy may have sent orders, epoch milliseconds."""
        known = stored.document.get("began_ms")
        if known is not None:
            return int(known)
        # An earlier version stored the session that has seen the copy.
        name = str(stored.document.get("session", ""))
        started_ms = read_session_start(self._book.context.store, name)
        return stored.seen_ms if started_ms is None else started_ms

    def _report(self, text: str | None) -> None:
        """Report another copy in the symbol; None: there is none."""
        if text is None:
            self._book.states.clear_problem(OTHER_COPY)
            return
        measure = "no entries and no exits in this symbol; its position keeps its stop or gets one"
        problem = Problem(text, measure, _ADVICE, is_final=True)
        self._book.states.report(OTHER_COPY, problem)

    def _report_elsewhere(self, symbol: str) -> None:
        """Report another copy in another symbol of the account; empty: there is none."""
        if not symbol:
            self._book.states.clear_problem(OTHER_SYMBOL_PROBLEM)
            return
        self._book.states.report(
            OTHER_SYMBOL_PROBLEM,
            Problem(
                f"another copy of this database trades {symbol} on this account",
                "no entries; exits and stops go on",
                _ADVICE,
            ),
        )
