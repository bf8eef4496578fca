"""The exchange on paper: takes orders, and reports events like a real exchange.

Its open orders are in memory. After a restart it has the orders that it had acknowledged, because
their events are stored; an order without an acknowledgement never arrived.
"""

from collections.abc import Iterable
from typing import Final

from onetape.core.candles import Candle
from onetape.core.trading import Order
from onetape.engine import (
    AccountConfig,
    ModelFill,
    RefusedOrder,
    make_booked_fill,
    make_rules_of_candle,
)
from onetape.exchange.rest import MarketInfo
from onetape.execution.broker import OrderReport
from onetape.execution.events import (
    Acknowledged,
    CancelRefused,
    FillReport,
    OrderEvent,
    ProvenAbsent,
    StatusReport,
)


class PaperExchange:
    """Takes orders, and fills each in full when `execute` is called; its events are collected."""

    name: Final = "paper"
    """Source of the events, as it is stored."""

    def __init__(self, open_orders: Iterable[str] = ()) -> None:
        """Initialise with the orders that are open.

        Args:
            open_orders: Client order ids of orders that an earlier process had acknowledged.
        """
        self._open = set(open_orders)
        self._reports: list[OrderReport] = []

    def submit(self, order: Order) -> None:
        """Take an order, and report that it is acknowledged."""
        self._open.add(order.client_order_id)
        self._report(order.client_order_id, Acknowledged(f"paper-{order.client_order_id}"))

    def cancel(self, client_order_id: str) -> None:
        """Cancel an order, and report that; or report a refusal if it is not open."""
        if client_order_id in self._open:
            self._open.remove(client_order_id)
            self._report(client_order_id, StatusReport("canceled"))
        else:
            self._report(client_order_id, CancelRefused("no such open order"))

    def look_up(self, client_order_id: str) -> None:
        """Report whether an order is open, or absent."""
        is_open = client_order_id in self._open
        absent = ProvenAbsent("it was not acknowledged before the process ended")
        self._report(client_order_id, StatusReport("open") if is_open else absent)

    def execute(
        self,
        order: Order,
        fill: ModelFill | RefusedOrder,
        row: Candle,
        rules: AccountConfig,
        market: MarketInfo,
    ) -> None:
        """Fill an open order in full, or reject it.

        Args:
            order: The order.
            fill: Fill of the order by the engine's rules, or the reason why it is rejected.
            row: The candle that fills it.
            rules: Costs of the account.
            market: Market with the currencies of fees.
        """
        identity = order.client_order_id
        self._open.discard(identity)
        if isinstance(fill, RefusedOrder):
            self._report(identity, StatusReport("rejected", reason=fill.reason))
            return
        booked = make_booked_fill(fill, make_rules_of_candle(rules, row))
        currency = market.quote if booked.fee_in == "quote" else market.base
        self._report(
            identity,
            FillReport(f"paper-{identity}", booked.price, booked.amount, booked.fee, currency),
        )
        self._report(identity, StatusReport("closed", booked.amount))

    def take_events(self) -> list[OrderReport]:
        """Return the events since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def _report(self, client_order_id: str, event: OrderEvent) -> None:
        self._reports.append(OrderReport(client_order_id, event))
