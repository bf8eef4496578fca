"""Sends the orders of one symbol: on paper, or to an exchange.

The rules, the exits and the commands of a person use this interface alone. Each implementation is
the only place that sends orders of its kind: `trader.brokers.paper_executor` and
`trader.live.live_executor`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal

from onetape.core.candles import Candle
from onetape.core.trading import ExitObligation, Order
from onetape.engine import (
    BarExit,
)
from onetape.exchange.rest import MarketInfo
from trader.order_booking import OrderBooking


class Executor(OrderBooking, ABC):
    """The orders of one symbol of an account. At most one order is open at a time."""

    @property
    @abstractmethod
    def is_live(self) -> bool:
        """Return whether orders are sent to an exchange."""
        ...

    @property
    @abstractmethod
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over; always False on paper."""
        ...

    @property
    @abstractmethod
    def is_position_known(self) -> bool:
        """Return whether the position is certain: no earlier order may have opened another."""
        ...

    @property
    def is_market_due(self) -> bool:
        """Return whether the market should be read again; always False on paper."""
        return False

    def note_market(self, market: MarketInfo | None) -> None:
        """Take the present market from the exchange; None: the market is not listed."""

    @property
    @abstractmethod
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent now."""
        ...

    @property
    @abstractmethod
    def open_order(self) -> Order | None:
        """Return the order that waits for its price, or None."""
        ...

    @abstractmethod
    def resume(self, now_ms: int, reason: str) -> int:
        """Look up the orders that an earlier session, or this one before an error, left behind.

        An order to sell the open position goes on. An order to buy is cancelled, because its signal
        is old, and so is an order that sells an earlier position. An order that the broker does not
        have is absent.

        Args:
            now_ms: Market time, epoch milliseconds.
            reason: Reason for the cancellation of orders to buy.

        Returns:
            The number of cancelled orders to buy.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed an order.
        """
        ...

    @abstractmethod
    def compute_entry_price(self, opened: float) -> float:
        """Return the price that stops are measured from, quote currency.

        Args:
            opened: Open of the candle that filled the entry.
        """
        ...

    @abstractmethod
    def set_level_source(self, source: Callable[[], tuple[str, Decimal] | None]) -> None:
        """Set the function that returns kind and price of the position's stop; unused on paper."""
        ...

    @abstractmethod
    def set_level_exit(self, leave: Callable[[str, Decimal, str], None]) -> None:
        """Set the function that sells at a passed level (kind, price, reason); unused on paper."""
        ...

    @abstractmethod
    def make_order_id(self) -> str:
        """Return a client order id that was never used."""
        ...

    @abstractmethod
    def describe_new_wait(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return a text with the reason why the open order waits; once for each order.

        Args:
            decided: The candle that was decided on last, epoch seconds.
            is_live: Whether the stream is up; without it no price is fresh.
        """
        ...

    @abstractmethod
    def place(self, order: Order, now_ms: int) -> None:
        """Send an order whose intent is stored already.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...

    @abstractmethod
    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Fill the open order at the open of a candle; return a text with the result.

        Args:
            row: The candle.
            now_ms: Dates the fill.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        ...

    @abstractmethod
    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Fill the open order to sell at the newest price; return a text with the result.

        Args:
            row: The newest candle; its close is the price.
            now_ms: Dates the fill.
            note: Difference from the decided exit, as a text that is stored with the order; empty
                if nothing differs.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        ...

    @abstractmethod
    def sell_at_level(
        self,
        order: Order,
        obligation: ExitObligation,
        row: Candle,
        found: BarExit,
        now_ms: int,
    ) -> str:
        """Sell at a level that a candle reached; return a text with the result.

        Raises:
            StoreError: order or trade could not be stored.
            SafetyRefusal: another process trades the account.
        """
        ...

    @abstractmethod
    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Cancel the order to buy that still waits, if any; return a text with the result.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...

    @abstractmethod
    def cancel(self, now_ms: int, reason: str) -> bool:
        """Cancel the open order, if there is one that can be; return whether there was.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...
