"""An entry that is filled and whose executions are not known yet: its coins get a stop anyway.

A position is the sum of known executions, so it lacks the coins of such an entry. An exchange may
state the filled amount of an order before it lists the executions. If that lasts for seconds, the
filled amount, less the largest fee that an exchange may have taken from it, gets a stop; the level
is computed from the order's expected price. If the exchange states no amount either, the coins that
the account has more than before the send take its place, up to the ordered amount. Once the
executions are known, the position has the coins, and the stop covers all. If they stay unknown, see
`lost_executions.py`.
"""

import time
from decimal import Decimal
from typing import Final

from trader.live.book import LiveBook, StopLevel
from trader.live.entry_levels import EntryLevels
from trader.live.held_balances import HeldBalances
from trader.live.lost_executions import LARGEST_FEE, LostExecutions, find_sent_ms
from trader.live.tracking import LiveOrder
from trader.states import Problem

#: Source of the problem that executions of an entry are not known.
EXECUTIONS_PROBLEM: Final = "executions"
_ZERO: Final = Decimal(0)


class UnreadEntry:
    """Coins that one symbol's entry has bought beyond its known executions."""

    def __init__(self, book: LiveBook, levels: EntryLevels, balances: HeldBalances) -> None:
        """Initialise; nothing is checked yet.

        Args:
            book: The orders of the symbol.
            levels: Levels that the strategy gave for the entry.
            balances: Balances of the account.
        """
        self._book = book
        self._levels = levels
        self._balances = balances
        self._grown: tuple[str, Decimal] = ("", _ZERO)
        """Client order id of an entry without a stated amount, and the most coins that the account
        was seen to have more than before its send, base currency."""
        self._since: float | None = None
        """Time since executions of the entry are missing, monotonic seconds; None: complete."""
        self._booked = _ZERO
        self._lost = LostExecutions(book)

    @property
    def is_waited_for(self) -> bool:
        """Return whether executions are missing, but not long enough for a stop without them."""
        if self._book.unread_entry is not None:
            return False
        return self._since is not None or self._find_entry() is not None

    def watch_executions(self, now_ms: int) -> bool:
        """Note and report whether executions of the entry have been missing for seconds.

        Args:
            now_ms: Market time, epoch milliseconds.

        Returns:
            Whether coins were removed from the position, because a person decided so.
        """
        book = self._book
        since, limit = self._since, book.times.executions_lost
        is_lasting = since is not None and time.monotonic() - since >= limit
        is_corrected = self._lost.update_difference(
            self._find_entry(), now_ms, is_lasting=is_lasting
        )
        entry = self._find_entry()
        if entry is None:
            self._since = book.unread_entry = None
            book.states.clear_problem(EXECUTIONS_PROBLEM)
            return is_corrected
        if entry.state.booked != self._booked or self._since is None:
            self._since, self._booked = time.monotonic(), entry.state.booked
        if book.unread_entry is None and (
            time.monotonic() - self._since < book.times.executions_unread
        ):
            return is_corrected
        book.unread_entry = entry
        self._note_growth(entry)
        self._report(entry)
        return is_corrected

    def _note_growth(self, entry: LiveOrder) -> None:
        """Note the coins that an entry without a stated amount may have bought."""
        growth = None if entry.state.filled else self._balances.compute_growth(entry)
        if growth is not None:
            _, known = self._grown if self._grown[0] == entry.identity else ("", _ZERO)
            self._grown = entry.identity, max(growth, known)

    def _compute_bought(self, entry: LiveOrder) -> Decimal:
        """Return the amount that an entry has bought, as far as that is known, base currency."""
        if entry.state.filled or self._grown[0] != entry.identity:
            return entry.state.filled
        return min(entry.order.ordered_amount or _ZERO, self._grown[1])

    def _find_entry(self) -> LiveOrder | None:
        """Return the entry that has filled more than its known executions, or None."""
        entry = self._book.entry_or_exit
        if entry is None or entry.order.side != "buy":
            return None
        state = entry.state
        is_unknown = state.outcome == "filled" and not state.booked
        return entry if state.filled > state.booked or is_unknown else None

    def _report(self, entry: LiveOrder) -> None:
        """Report the problem of an entry with unknown executions, with its stop."""
        book, base = self._book, self._book.context.market.base
        state, level = entry.state, self.level
        found = (
            f"{self._compute_bought(entry).normalize():f} {base} are bought, and executions of "
            f"{state.booked.normalize():f} {base} are known"
        )
        measure = "NONE: there is no stop for them before they are known"
        if level is not None and self.amount > 0:
            measure = (
                f"a stop is placed at {level[1]:f} for what was bought less "
                f"{LARGEST_FEE:.0%}, and nothing else sells it before they are known"
            )
        book.states.report(
            EXECUTIONS_PROBLEM,
            Problem(
                f"executions of the entry are not known: {found}",
                f"{measure}; no entries meanwhile",
                "check the network and the API key; if this lasts a minute, "
                "uv run trader reconcile takes your answer",
            ),
        )

    @property
    def amount(self) -> Decimal:
        """Return the amount that a stop may sell in addition to the position, base currency.

        Coins sold since the entry was sent are left out: a stop of the entry may have been filled.
        """
        book, entry = self._book, self._book.unread_entry
        if entry is None:
            return _ZERO
        state, first_ms = entry.state, find_sent_ms(book, entry)
        sold = sum(
            (
                fill.amount
                for fill in book.fills
                if fill.side == "sell" and fill.executed_ms >= first_ms
            ),
            _ZERO,
        )
        bought, after_fee = self._compute_bought(entry), 1 - LARGEST_FEE
        left = min((bought - state.booked) * after_fee, bought * after_fee - sold)
        return max(left, _ZERO)

    @property
    def level(self) -> StopLevel | None:
        """Return kind and price of the stop for an entry at the order's price; None: no stop."""
        entry = self._book.unread_entry
        if entry is None:
            return None
        return self._levels.compute_stop(float(entry.order.ask or entry.order.intended_price))
