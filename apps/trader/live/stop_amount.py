"""Computes the amount of a position's stop: without coins that others have locked or sold.

Sold: while others may have sold coins of the position and their executions are not read, all coins
that the account lacks count as sold.

Locked: a stop is first tried for the whole position, because a balance may be shown late. If the
exchange refuses that stop, and a later reading of the account has fewer free coins, the stop is
placed for the free coins, until a reading has enough.
"""

import time
from decimal import Decimal
from typing import Final

from onetape.execution.protection import find_stop_refusal, round_down
from trader.live.book import LiveBook
from trader.live.reconciling import AccountCheck

_ZERO: Final = Decimal(0)


class StopAmount:
    """Computes how much of one symbol's position a stop can sell."""

    def __init__(self, book: LiveBook, account: AccountCheck) -> None:
        """Initialise; if a stop rests for a part of the position, the rest may be locked.

        Args:
            book: The orders and fills of the symbol.
            account: Comparison of the account, with its balances.
        """
        self._book = book
        self._account = account
        self._opened: dict[str, float] = {}
        """Time when each resting stop was first found resting, monotonic, by client order id."""
        is_partial = bool(self._sum_resting()) and self._sum_resting() < self._round_to_step(
            book.position.open_amount
        )
        self._refused_at: float | None = time.monotonic() if is_partial else None
        """Time since coins may be locked by others, monotonic seconds; None: all coins are free."""
        self._refused: Decimal | None = None
        """Amount of the stop that the exchange has refused last."""
        self._free: Decimal | None = None
        """Amount that a stop can sell, base currency; None: the whole position."""
        self._doubted: float | None = None
        """Time since others may have sold coins of the position, monotonic seconds; None: no sign
        of a sale."""
        self.locked = _ZERO
        """Amount that the stop leaves out because others have locked it, base currency."""

    def note_refused(self, amount: Decimal, replaced: Decimal | None) -> None:
        """Note that the exchange has refused a stop.

        Args:
            amount: Amount of the refused stop, base currency.
            replaced: Amount of the stop that it was to replace, base currency; None: no such stop.
        """
        self._refused_at, self._refused = time.monotonic(), amount
        # The coins of the stop that was cancelled are free.
        self._free = replaced

    def reset(self) -> None:
        """Note that the position is closed, or that all its coins are free."""
        self._refused_at = self._refused = self._free = None
        self.locked = _ZERO

    def compute_withheld(self, resting: Decimal) -> Decimal:
        """Return the part of the position that no stop may sell: others may have sold it already.

        A resting stop keeps its amount for some seconds, in which executions are usually read, and
        for as long as executions cannot be read.

        Args:
            resting: Amount that stops at the exchange may still sell, base currency.
        """
        account, now = self._account, time.monotonic()
        maybe_sold = account.maybe_sold
        if not maybe_sold:
            self._doubted = None
            return _ZERO
        self._doubted = self._doubted or now
        held = account.compute_sellable_base()
        sure = min(held, self._book.position.open_amount - maybe_sold)
        # If no executions can be read at all, no sign shows that others have traded.
        is_early = now - self._doubted < self._book.times.sale_doubt or not account.is_checked
        return held - max(sure, min(resting, held) if is_early else _ZERO, _ZERO)

    def is_smaller(self, amount: Decimal) -> bool:
        """Return whether an amount is smaller than that of the stop that was refused last."""
        return self._free is not None and self._refused is not None and amount < self._refused

    def compute_amount(self, held: Decimal, price: Decimal | None) -> Decimal:
        """Return the amount of the position for which a stop should rest now, base currency.

        Args:
            held: Amount that a stop should sell, base currency.
            price: Lowest price that the stop sells at, quote currency; None: there is no stop.
        """
        found = self._choose_amount(held, price)
        self.locked = max(self._round_to_step(held) - self._round_to_step(found), _ZERO)
        return found

    def _choose_amount(self, held: Decimal, price: Decimal | None) -> Decimal:
        """Return all coins that are held, or the free ones if others have locked the rest."""
        self._note_resting()
        if self._account.is_checked and self._refused_at is None:
            return held
        available = self._compute_available(held)
        if available is not None:
            self._free = available
        if self._account.is_checked and (available or _ZERO) >= self._round_to_step(held):
            self.reset()
            return held
        resting = self._sum_resting()
        if not self._account.is_checked:
            return max(min(held, available or _ZERO), min(resting, held))
        if self._free is None:
            return min(resting, held) if resting else held
        found = max(min(held, self._free), min(resting, held))
        trading_rules = self._book.context.market.trading_rules
        is_usable = price is not None and not find_stop_refusal(
            self._round_to_step(found), price, trading_rules
        )
        # If the market accepts no stop for so little, a stop for all is tried again sometimes.
        return found if is_usable or resting else held

    def _compute_available(self, held: Decimal) -> Decimal | None:
        """Return the amount that a stop can sell by the last reading; None: no current reading."""
        reading, balance = self._account.held.reading, self._account.held.base
        resting = self._sum_resting()
        since = max(self._refused_at or 0.0, *self._opened.values(), 0.0)
        if reading is None or balance is None:
            return None
        if reading.begun <= since or balance.locked < resting:
            return None
        if self._account.is_checked:
            return balance.free + resting
        # Orders are unknown: the locked coins may belong to an own stop.
        unknown = balance.locked - resting
        return resting + max(min(balance.free, held - resting - unknown), _ZERO)

    def _note_resting(self) -> None:
        now = time.monotonic()
        resting = [stop.identity for stop in self._book.stops if stop.state.stage == "open"]
        self._opened = {name: self._opened.get(name, now) for name in resting}

    def _sum_resting(self) -> Decimal:
        """Return the coins that resting stops have locked, base currency."""
        resting = [stop for stop in self._book.stops if stop.state.stage == "open"]
        return sum(
            ((stop.order.ordered_amount or _ZERO) - stop.state.filled for stop in resting), _ZERO
        )

    def _round_to_step(self, amount: Decimal) -> Decimal:
        return round_down(amount, self._book.context.market.trading_rules.amount_step)
