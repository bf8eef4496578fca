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
    """One symbol of an account. At most one order of it is open at a time."""

    @property
    @abstractmethod
    def is_live(self) -> bool:
        """Return whether orders reach an exchange."""
        ...

    @property
    @abstractmethod
    def is_entry_in_flight(self) -> bool:
        """Return whether an order to buy was sent and is not over: on paper none is."""
        ...

    @property
    @abstractmethod
    def is_position_known(self) -> bool:
        """Return whether no earlier order can turn out to have opened another position."""
        ...

    @property
    def is_market_due(self) -> bool:
        """Return whether the market should be read again; on paper it never changes."""
        return False

    def note_market(self, market: MarketInfo | None) -> None:
        """Take the market as the exchange states it now; None: it is not listed."""

    @property
    @abstractmethod
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent by now."""
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
        is old, and so is one that sells an earlier position. What the broker does not have is
        absent.

        Args:
            now_ms: Market time, epoch milliseconds.
            reason: Reason for the cancellation of orders to buy.

        Returns:
            How many orders to buy were cancelled.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed an order.
        """
        ...

    @abstractmethod
    def entry_price(self, opened: float) -> float:
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
    def new_order_id(self) -> str:
        """Return a client order id that was never used."""
        ...

    @abstractmethod
    def waiting_line(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return once for each order what it waits for, in words.

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
        """Fill the open order at the open of a candle; return what happened, in words.

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
        """Fill the open order to sell at the newest price; return what happened, in words.

        Args:
            row: The newest candle; its close is the price.
            now_ms: Dates the fill.
            note: How that differs from the exit that was decided, stored with the order; empty
                where nothing differs.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        ...

    @abstractmethod
    def leave(
        self,
        order: Order,
        obligation: ExitObligation,
        row: Candle,
        found: BarExit,
        now_ms: int,
    ) -> str:
        """Sell at a level that a candle reached; return what happened, in words.

        Raises:
            StoreError: order or trade could not be stored.
            SafetyRefusal: another process trades the account.
        """
        ...

    @abstractmethod
    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Cancel the order to buy that still waits, if any; return what happened, in words.

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
