"""Orders of another copy of this database that trades the same account.

Each order is stored before it is sent. If the exchange has taken an order with an id of this
installation after the beginning of this session, and the file does not have it, a process on
another computer with a copy of the file has sent it; lease and lock do not reach that far. The
order is not taken over, because each entry and each exit would be made twice. No entry and no exit
of the symbol is sent until a person has answered, also after a start: a container is started again
without a person. If no other copy was seen, orders from before a start are those of a restored
backup.
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
ELSEWHERE: Final = "other copy elsewhere"
_ZERO: Final = Decimal(0)
_ADVICE: Final = "stop the other copy, then run: uv run trader reconcile"


class OtherCopies:
    """Orders of other copies of the database, as found by one symbol's session."""

    def __init__(self, book: LiveBook) -> None:
        """Begin with the stored findings of an earlier session; nothing is read yet."""
        self._book = book
        self._is_read = False
        self.began_ms = book.context.session.started_ms
        """Time since which only this process may send orders of this installation, exchange time,
        epoch milliseconds."""
        self.locked = _ZERO
        """Amount that open orders of other copies sell, base currency.

        A smaller amount counts only once later readings confirm it.
        """
        self._less_since: float | None = None
        """Time since readings have less than `locked`, monotonic seconds; None: no less."""
        self._report_stored()

    @property
    def is_seen(self) -> bool:
        """Return whether another copy has sent orders that no person has judged yet."""
        return self._book.states.has_problem(OTHER_COPY)

    def judge(self, requested_ms: int, now_ms: int) -> bool:
        """Act on stored answers about other copies, before a reading is compared.

        Args:
            requested_ms: The exchange's own time right before the reading.
            now_ms: Market time.

        Returns:
            Whether the orders of the other copy, which was stopped, must be taken over.
        """
        book = self._book
        context = book.context
        if not self._is_read:
            # The trader's reckoning of the exchange's time may be ahead.
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

    def take(self, orders: Iterable[OrderSnapshot], now_ms: int) -> None:
        """Take the orders of a reading that this process cannot have sent.

        Args:
            orders: All of the reading. Orders that another account of the file has are left out.
            now_ms: Market time.
        """
        book = self._book
        store, session = book.context.store, book.context.session
        found = [one for one in orders if not is_order_stored(store, one.client_order_id)]
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
        """Return the amount of a position that a stop may sell, base currency.

        The position may be in both files, and the other copy's stop may rest for it.

        Args:
            amount: The position.
            beyond: Balance of the account less its own coins, base currency.
        """
        if not self.is_seen:
            return amount
        # A resting stop is not cancelled before the copy's stop is certain to be gone.
        resting = (one for one in self._book.stops if one.state.stage == "open")
        resting_amount = sum(
            ((one.order.ordered_amount or _ZERO) - one.state.filled for one in resting), _ZERO
        )
        return min(amount, max(beyond - self.locked, min(resting_amount, beyond), _ZERO))

    def _note_locked(self, orders: Iterable[OrderSnapshot]) -> None:
        """Note the amount that open orders of other copies sell.

        A smaller amount is ignored for some seconds: between two orders a copy has none.
        """
        amounts = (
            (one.amount or _ZERO) - (one.filled or _ZERO)
            for one in orders
            if one.side == "sell" and one.status == "open"
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
        return [one for one in found if one.kind == OTHER_COPY]

    def _report_stored(self) -> None:
        """Report stored orders of other copies that no person has judged yet."""
        symbol = self._book.context.key.symbol
        waiting = [one for one in self._read_differences() if one.answer is None]
        here = [one for one in waiting if one.subject == symbol]
        for one in here:
            self.began_ms = min(self.began_ms, self._find_start_ms(one))
        self._report(str(here[-1].document.get("text")) if here else None)
        self._report_elsewhere(next((one.subject for one in waiting if one not in here), ""))

    def _find_start_ms(self, stored: StoredDifference) -> int:
        """Return the time from which orders may come from a known copy, epoch milliseconds."""
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
            self._book.states.clear_problem(ELSEWHERE)
            return
        self._book.states.report(
            ELSEWHERE,
            Problem(
                f"another copy of this database trades {symbol} on this account",
                "no entries; exits and stops go on",
                _ADVICE,
            ),
        )
