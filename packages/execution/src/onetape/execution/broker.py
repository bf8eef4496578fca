"""The interface of a broker: it sends orders and reports what happens to them as events.

The trader has two brokers with this interface: `trader/brokers/live.py` for a real exchange, and
`trader/brokers/paper.py`, which fills orders by the rules of a backtest.
"""

from typing import Protocol

from msgspec import Struct

from onetape.core.trading import Order
from onetape.execution.events import OrderEvent


class OrderReport(Struct, frozen=True):
    """An event and the order that it belongs to."""

    client_order_id: str
    """Client order id of the order."""
    event: OrderEvent
    """The event; its amounts are in base currency."""


class Broker(Protocol):
    """Sends orders and reports their states as events.

    No call waits for the exchange: `take_events` returns each response later, and also the events
    that the exchange sends without a request. A request without a usable response becomes an
    `UnclearResponse`.
    """

    @property
    def name(self) -> str:
        """Name of the broker, stored as the source of its events."""
        ...

    def submit(self, order: Order) -> None:
        """Send an order whose intent is stored. The order is sent once, and never again."""
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
