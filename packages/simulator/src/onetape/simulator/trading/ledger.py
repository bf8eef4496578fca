"""The ledger of a simulator: a list of all events of orders, fills and balances; append-only.

Tests and `trader drill` compare it with the database of a trader.
"""

from onetape.simulator.server.wire import JsonObject, NumberFormat
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.orders import SimulatedFill, SimulatedOrder


class Ledger:
    """Rows of the account's history, oldest first, as JSON objects.

    Decimals are strings with eight decimals, times are epoch milliseconds. A row never changes. The
    same seed, clock steps and requests make the same rows.
    """

    def __init__(self) -> None:
        """Initialise without rows."""
        self.orders: list[JsonObject] = []
        """A row for each event of an order, with the order after the event. `event` is NEW,
        TRIGGERED, TRADE, CANCELED, EXPIRED or REJECTED."""
        self.fills: list[JsonObject] = []
        """A row for each execution."""
        self.balances: list[JsonObject] = []
        """A row for each change of an asset: the changes of free and locked, and both after it."""
        self.events: list[JsonObject] = []
        """Events of the user data stream, in order."""

    def record_order(
        self, order: SimulatedOrder, event: str, time_ms: int, reason: str = ""
    ) -> None:
        """Add the row of an order's event.

        Args:
            order: Order after the event.
            event: NEW, TRIGGERED, TRADE, CANCELED, EXPIRED or REJECTED.
            time_ms: Market time of the event, epoch milliseconds.
            reason: Refusal of a REJECTED order; empty for other events.
        """
        numbers = NumberFormat(order.symbol)
        request = order.request
        self.orders.append(
            {
                "n": len(self.orders),
                "time_ms": time_ms,
                "event": event,
                "order_id": order.id,
                "client_order_id": order.client_id,
                "symbol": order.symbol.id,
                "side": order.side,
                "type": request.type,
                "time_in_force": request.time_in_force,
                "price": numbers.format_price(request.price),
                "stop_price": numbers.format_price(request.stop),
                "quantity": numbers.format_amount(order.quantity),
                "quote_quantity": format_money(request.quote_quantity),
                "status": order.status,
                "filled": numbers.format_amount(order.filled),
                "value": format_money(order.value),
                "locked": format_money(order.locked),
                "reason": reason,
                "order_list_id": order.list_id,
            }
        )

    def record_fill(self, fill: SimulatedFill) -> None:
        """Add the row of an execution."""
        numbers = NumberFormat(fill.symbol)
        self.fills.append(
            {
                "n": len(self.fills),
                "time_ms": fill.time_ms,
                "trade_id": fill.id,
                "order_id": fill.order_id,
                "symbol": fill.symbol.id,
                "side": fill.side,
                "price": numbers.format_price(fill.price),
                "quantity": numbers.format_amount(fill.quantity),
                "value": format_money(fill.value),
                "fee": format_money(fill.fee),
                "fee_asset": fill.fee_asset,
                "maker": fill.maker,
            }
        )
