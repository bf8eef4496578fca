"""An entry that is filled and whose executions are not known: a stop for what the order states.

A position is the sum of known executions, so it lacks the coins of such an entry. Some responses
state what an order has filled before its executions can be read. If that lasts for seconds, the
filled amount, less the largest fee that an exchange may have taken from it, gets a stop at the
level that belongs to the expected price. Once the executions are known, the stop covers all.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.engine.exits import EXIT_KINDS, levels_of
from onetape.execution.protection import round_down
from trader.live.book import Level, LiveBook
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of the problem that executions of an entry are not known.
EXECUTIONS: Final = "executions"
#: Part of what was bought that a fee takes at most; no exchange takes that much of a market order.
LARGEST_FEE: Final = Decimal("0.01")
_ZERO: Final = Decimal(0)


class UnreadEntry:
    """Coins that one symbol's entry has bought beyond its known executions."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; nothing was looked at yet."""
        self._book = book
        self._since: float | None = None
        """Time since executions of the entry are missing, monotonic seconds; None: none are."""
        self._booked = _ZERO

    @property
    def is_waited_for(self) -> bool:
        """Return whether executions are missing, and not long enough for a stop without them."""
        return self._since is not None and self._book.unread_entry is None

    def work(self) -> None:
        """Note and report whether executions of the entry have been missing for seconds."""
        book, one = self._book, self._found()
        if one is None:
            self._since = book.unread_entry = None
            book.states.solve(EXECUTIONS)
            return
        if one.state.booked != self._booked or self._since is None:
            self._since, self._booked = time.monotonic(), one.state.booked
        if book.unread_entry is None and (
            time.monotonic() - self._since < book.times.executions_unread
        ):
            return
        book.unread_entry = one
        self._report(one)

    def _found(self) -> LiveOrder | None:
        """Return the entry that has filled more than its known executions, or None."""
        one = self._book.working
        if one is None or one.order.side != "buy":
            return None
        state = one.state
        is_unknown = state.outcome == "filled" and not state.booked
        return one if state.filled > state.booked or is_unknown else None

    def _report(self, one: LiveOrder) -> None:
        book, base = self._book, self._book.context.market.base
        state, level = one.state, self.level
        found = (
            f"{state.filled.normalize():f} {base} are bought, and executions of "
            f"{state.booked.normalize():f} {base} are known"
        )
        measure = "NONE: there is no stop for them before they are known"
        if level is not None and self.amount > 0:
            measure = (
                f"a stop is placed at {level[1]:f} for what was bought less "
                f"{LARGEST_FEE:.0%}, and nothing else sells it before they are known"
            )
        book.states.report(
            EXECUTIONS,
            Problem(
                f"executions of the entry are not known: {found}",
                f"{measure}; no entries meanwhile",
                "check the network and the API key, if this lasts",
            ),
        )

    @property
    def amount(self) -> Decimal:
        """Return the amount that a stop may sell beyond the position, base currency.

        What was sold since the entry was sent is left out: a stop without known executions of its
        entry may have fired.
        """
        book, one = self._book, self._book.unread_entry
        if one is None:
            return _ZERO
        state, sent_ms = one.state, one.order.decided_ms
        if state.deadline_ms is not None:
            sent_ms = state.deadline_ms - book.broker.window_ms
        sold = sum(
            (
                trade.amount
                for trade in book.fills
                if trade.side == "sell" and trade.executed_ms >= sent_ms
            ),
            _ZERO,
        )
        part = 1 - LARGEST_FEE
        left = min((state.filled - state.booked) * part, state.filled * part - sold)
        return max(left, _ZERO)

    @property
    def level(self) -> Level | None:
        """Return kind and price of the stop at the price of the order; None: there is none."""
        book, one = self._book, self._book.unread_entry
        if one is None:
            return None
        return level_at(book, float(one.order.ask or one.order.intended_price))


def level_at(book: LiveBook, price: float) -> Level | None:
    """Return kind and price of the stop of a position that was entered now, or None.

    Args:
        book: Has the rules.
        price: Price of the entry, quote currency.
    """
    step = float(book.context.market.trading_rules.price_step or 0)
    levels = levels_of(book.context.rules.exits, price, price, 0, step)
    if not 0 < levels.stop < price:
        return None
    stop = round_down(Decimal(repr(levels.stop)), book.context.market.trading_rules.price_step)
    return EXIT_KINDS[levels.stop_kind], stop
