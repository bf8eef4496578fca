"""The interface of a broker, for real exchanges and for paper."""

from typing import Protocol

from msgspec import Struct

from onetape.core.trading import Order
from onetape.execution.events import OrderEvent


class OrderReport(Struct, frozen=True):
    """An event and the order that it belongs to."""

    client_order_id: str
    event: OrderEvent


class Broker(Protocol):
    """Takes orders and reports their states as events.

    No call waits for the exchange: responses arrive through `events`, like everything that the
    exchange reports on its own. If a call gets no response, an `Unanswered` arrives.
    """

    @property
    def name(self) -> str:
        """Name of the broker, stored as the source of its events."""
        ...

    def submit(self, order: Order) -> None:
        """Send an order whose intent is stored; once, whatever happens."""
        ...

    def cancel(self, client_order_id: str) -> None:
        """Request that an open order is cancelled."""
        ...

    def look_up(self, client_order_id: str) -> None:
        """Request status and fills of an order, or the proof that it never existed."""
        ...

    def take_events(self) -> list[OrderReport]:
        """Return the events since the last call, in the order of their arrival."""
        ...
