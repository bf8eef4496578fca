"""The account's balances by the last reading, and whether own orders have changed them since."""

import time
from decimal import Decimal

from onetape.exchange.trading_records import Balance
from onetape.execution.positions import sum_position
from trader.brokers.live_records import AccountSnapshot, BalanceReading
from trader.live.book import LiveBook
from trader.live.booked_coins import CORRECTION_PREFIX
from trader.live.resolving import compute_unknown_change, has_moved_coins
from trader.live.tracking import LiveOrder

_ZERO = Decimal(0)


class HeldBalances:
    """The balances of one symbol's account."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; nothing is read yet."""
        self._book = book
        self.reading: AccountSnapshot | BalanceReading | None = None
        """The last reading; None: no reading since the start."""
        self._changed = 0.0
        """Time when own orders last changed held or free balances, monotonic seconds."""

    def note_change(self) -> None:
        """Note that an own order has changed held or free balances."""
        self._changed = time.monotonic()

    @property
    def is_fresh(self) -> bool:
        """Return whether the last reading is current: no own order has changed balances since."""
        return self.reading is not None and self.reading.begun > self._changed

    def get_balance(self, currency: str) -> Balance | None:
        """Return the current balance of a currency; None: unknown."""
        if self.reading is None or not self.is_fresh:
            return None
        return self.reading.balances.get(currency, Balance(_ZERO, _ZERO))

    @property
    def base(self) -> Balance | None:
        """Return the current balance of the base currency; None: unknown."""
        return self.get_balance(self._book.context.market.base)

    @property
    def total_base(self) -> Decimal:
        """Return the balance of the base currency at the last reading."""
        reading = self.reading
        held = None if reading is None else reading.balances.get(self._book.context.market.base)
        return _ZERO if held is None else held.total

    @property
    def total_now(self) -> Decimal | None:
        """Return the base currency of the account: the last reading plus the executions since.

        None: the account was not read since the start.
        """
        reading, market = self.reading, self._book.context.market
        if reading is None:
            return None
        since = [
            fill
            for fill in self._book.fills
            if fill.executed_ms > reading.requested_ms
            and not fill.exchange_trade_id.startswith(CORRECTION_PREFIX)
        ]
        return self.total_base + sum_position(since, market.base, market.quote).base

    def note_before_send(self, live_order: LiveOrder) -> None:
        """Set the base balance before the send of an order, as the last reading shows it.

        `resolving.py` compares later balances with it. Without a reading nothing is set.
        """
        if self.reading is not None:
            live_order.total_before, live_order.read_ms = self.total_base, self.reading.requested_ms

    def is_after(self, deadline_ms: int | None) -> bool:
        """Return whether the last reading began after an exchange time, epoch milliseconds.

        False if the time is unknown, or there is no reading.
        """
        reading = self.reading
        return (
            reading is not None and deadline_ms is not None and reading.requested_ms > deadline_ms
        )

    def compute_growth(self, live_order: LiveOrder) -> Decimal | None:
        """Return the coins that an order may have bought, by the last reading, base currency.

        Args:
            live_order: A buy of which no execution is booked.

        Returns:
            At least 0; None: no reading since the order is over, or no balance before its send.
        """
        reading = self.reading
        if reading is None or not self.is_fresh:
            return None
        change = compute_unknown_change(
            self._book, live_order, reading.balances, reading.requested_ms
        )
        return None if change is None else max(change, _ZERO)

    def has_unsold_coins(self, live_order: LiveOrder, amount: Decimal) -> bool:
        """Return whether the coins of a sell that was not acknowledged are still there, and free.

        Args:
            live_order: The sell; the last reading must be from after its deadline.
            amount: Amount of the sell, base currency.
        """
        if self.reading is None:
            return False
        held = self.reading.balances.get(self._book.context.market.base)
        # The free balance alone does not show the sale: the account may have other coins.
        reading = self.reading
        is_moved = has_moved_coins(self._book, live_order, reading.balances, reading.requested_ms)
        return held is not None and held.free >= amount and not is_moved
