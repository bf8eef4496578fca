"""The ledger: every event of orders, fills and balances, in order; append-only."""

from onetape.simulator.server.wire import JsonObject, Texts
from onetape.simulator.trading.money import text_8
from onetape.simulator.trading.orders import SimulatedFill, SimulatedOrder


class Ledger:
    """Rows are plain JSON objects; decimals are strings of eight digits, times epoch milliseconds.

    A row, once written, stays as it is. The same seed, clock steps and requests give the same rows.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.orders: list[JsonObject] = []
        """A row for each thing that happened to an order (`event`): NEW, TRIGGERED, TRADE,
        CANCELED, EXPIRED, REJECTED, with the order as it was after it."""
        self.fills: list[JsonObject] = []
        """A row for each execution."""
        self.balances: list[JsonObject] = []
        """A row for each change of one asset: what was added to free and to locked, and the state
        after it."""
        self.events: list[JsonObject] = []
        """Events of the user data stream, in order."""

    def order(self, order: SimulatedOrder, event: str, time_ms: int, reason: str = "") -> None:
        """Write what happened to an order."""
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
                "price": texts.price(request.price),
                "stop_price": texts.price(request.stop),
                "quantity": texts.amount(order.quantity),
                "quote_quantity": text_8(request.quote_quantity),
                "status": order.status,
                "filled": texts.amount(order.filled),
                "value": text_8(order.value),
                "locked": text_8(order.locked),
                "reason": reason,
                "order_list_id": order.list_id,
            }
        )

    def fill(self, fill: SimulatedFill) -> None:
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
                "price": texts.price(fill.price),
                "quantity": texts.amount(fill.quantity),
                "value": text_8(fill.value),
                "fee": text_8(fill.fee),
                "fee_asset": fill.fee_asset,
                "maker": fill.maker,
            }
        )
