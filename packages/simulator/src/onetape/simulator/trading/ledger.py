"""The ledger: every event of orders, fills and balances, in order; append-only."""

from onetape.simulator.server.wire import JsonObject, Texts
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.orders import SimulatedFill, SimulatedOrder


class Ledger:
    """Rows are plain JSON objects; decimals are strings of eight digits, times epoch milliseconds.

    A row, once written, stays as it is. The same seed, clock steps and requests give the same rows.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.orders: list[JsonObject] = []
        """A row for each event of an order (`event`): NEW, TRIGGERED, TRADE,
        CANCELED, EXPIRED, REJECTED, with the order as it was after it."""
        self.fills: list[JsonObject] = []
        """A row for each execution."""
        self.balances: list[JsonObject] = []
        """A row for each change of one asset: the changes of free and locked, and the balances
        after them."""
        self.events: list[JsonObject] = []
        """Events of the user data stream, in order."""

    def record_order(
        self, order: SimulatedOrder, event: str, time_ms: int, reason: str = ""
    ) -> None:
        """Write an event of an order."""
        texts = Texts(order.symbol)
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
                "price": texts.format_price(request.price),
                "stop_price": texts.format_price(request.stop),
                "quantity": texts.format_amount(order.quantity),
                "quote_quantity": format_money(request.quote_quantity),
                "status": order.status,
                "filled": texts.format_amount(order.filled),
                "value": format_money(order.value),
                "locked": format_money(order.locked),
                "reason": reason,
                "order_list_id": order.list_id,
            }
        )

    def record_fill(self, fill: SimulatedFill) -> None:
        """Write an execution."""
        texts = Texts(fill.symbol)
        self.fills.append(
            {
                "n": len(self.fills),
                "time_ms": fill.time_ms,
                "trade_id": fill.id,
                "order_id": fill.order_id,
                "symbol": fill.symbol.id,
                "side": fill.side,
                "price": texts.format_price(fill.price),
                "quantity": texts.format_amount(fill.quantity),
                "value": format_money(fill.value),
                "fee": format_money(fill.fee),
                "fee_asset": fill.fee_asset,
                "maker": fill.maker,
            }
        )
