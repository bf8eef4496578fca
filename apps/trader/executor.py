"""Interface of the object that sends the orders of one symbol, on paper or to an exchange.

The rules, the exits and the commands of persons use this interface alone. Each implementation is
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
    """Sends and books the orders of one symbol. At most one entry or exit is open at a time."""

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
        """Return whether the position is certain: no order of unknown outcome may change it."""
        ...

    @property
    def is_market_due(self) -> bool:
        """Return whether `note_market` should be called with the present market; False on paper."""
        return False

    def note_market(self, market: MarketInfo | None) -> None:
        """Note the present market, with the limits of its orders; does nothing on paper.

        Args:
            market: The market as the exchange lists it; None: it is not listed any more.
        """

    @property
    @abstractmethod
    def may_send_exit(self) -> bool:
        """Return whether a pending exit may be sent now; always True on paper."""
        ...

    @property
    @abstractmethod
    def open_order(self) -> Order | None:
        """Return the entry or exit that is placed and not over, or None.

        On paper the order waits for the candle that fills it.
        """
        ...

    @abstractmethod
    def resume(self, now_ms: int, reason: str) -> int:
        """Look up the orders that an earlier session, or this one before an error, left behind.

        An order to sell the open position goes on. An order to buy is cancelled, because its signal
        is old, and so is an order that sells an earlier position. An order that the exchange lacks
        is absent.

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

        On paper that is the open, as in a backtest; live, the price that was paid.

        Args:
            opened: Open price of the candle that filled the entry.
        """
        ...

    @abstractmethod
    def set_level_source(
        self,
        source: Callable[[], tuple[str, Decimal] | None],
        knows_position: Callable[[], bool] | None = None,
    ) -> None:
        """Set the function that returns kind and price of the position's stop; unused on paper.

        Args:
            source: Returns `stop_loss` or `trailing_stop`, and the price in quote currency; None:
                the position has no stop.
            knows_position: Returns whether the rules know the position; while they do not, a stop
                that rests stays. None: they always do.
        """
        ...

    @abstractmethod
    def set_level_exit(self, leave: Callable[[str, Decimal, str], None]) -> None:
        """Set the function that sells because the price has passed the stop; unused on paper.

        Args:
            leave: Called with the kind of the stop, its price in quote currency, and the reason.
        """
        ...

    @abstractmethod
    def make_order_id(self) -> str:
        """Return a client order id that was never used."""
        ...

    @abstractmethod
    def describe_new_wait(self, decided: int | None, *, is_live: bool) -> str | None:
        """Return a text with the reason why the open order waits, once for each order; or None.

        Args:
            decided: Open of the candle that was decided on last, epoch seconds.
            is_live: Whether the stream is up; without it no price is fresh.
        """
        ...

    @abstractmethod
    def place(self, order: Order, now_ms: int) -> None:
        """Send an order whose intent is stored already.

        Args:
            order: The order.
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...

    @abstractmethod
    def fill_open_order(self, row: Candle, now_ms: int) -> str | None:
        """Fill the open order at the open of a candle; return a text with the result.

        Live, the entry is sent now, or the exit goes on; None, because the fill is printed later.

        Args:
            row: The candle.
            now_ms: Market time of the fill, epoch milliseconds.

        Raises:
            StoreError: the fill could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
        """
        ...

    def send_limit(self, row: Candle, limit: float, now_ms: int) -> str | None:
        """Reserve the money of the open limit order to buy; return a text with the result.

        None: there is no such order. If the order is refused, it is not open any more.

        Args:
            row: The candle at whose open the order is sent.
            limit: Price of the order, of whole price steps, quote currency.
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be written.
            SafetyRefusal: another process trades the account, or finished the order.
            NotImplementedError: orders are sent to an exchange, where limit entries do not exist.
        """
        del row, limit, now_ms
        msg = "limit entries exist on paper only"
        raise NotImplementedError(msg)

    def fill_limit(self, row: Candle, price: float, now_ms: int, *, is_inside: bool) -> str | None:
        """Fill the open limit order to buy; return a text with the result; None: no such order.

        Args:
            row: The candle that fills the order.
            price: Open of the candle, or the limit; quote currency, before slippage.
            now_ms: Market time of the fill, epoch milliseconds.
            is_inside: Whether the order is filled at the limit, and not at an open below it.

        Raises:
            StoreError: the trade could not be stored; the order stays open.
            SafetyRefusal: another process trades the account, or finished the order.
            NotImplementedError: orders are sent to an exchange, where limit entries do not exist.
        """
        del row, price, now_ms, is_inside
        msg = "limit entries exist on paper only"
        raise NotImplementedError(msg)

    @abstractmethod
    def fill_late(self, row: Candle, now_ms: int, note: str) -> str | None:
        """Fill the open order to sell at the newest price; return a text with the result.

        Live, the exit goes on; None, because the fill is printed later.

        Args:
            row: The newest candle; its close is the price.
            now_ms: Market time of the fill, epoch milliseconds.
            note: Difference from the decided exit, as a text that is stored with the order; empty
                if nothing differs.

        Raises:
            StoreError: the fill could not be stored; the order stays open.
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
        """Store and send an exit at a level that a candle reached; return a text with the result.

        Args:
            order: The order, which is not stored yet.
            obligation: The exit, which is stored with the order.
            row: The candle.
            found: Price and kind of the exit by the rules.
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: order or fill could not be stored.
            SafetyRefusal: another process trades the account.
        """
        ...

    @abstractmethod
    def cancel_entry(self, now_ms: int, reason: str) -> str | None:
        """Cancel the order to buy that still waits; return a text with the result, or None.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...

    @abstractmethod
    def cancel(self, now_ms: int, reason: str) -> bool:
        """Cancel the open order, unless it was sent to an exchange; return whether it is cancelled.

        Raises:
            StoreError: the order could not be cancelled; it stays open.
            SafetyRefusal: another process trades the account, or changed the order.
        """
        ...
