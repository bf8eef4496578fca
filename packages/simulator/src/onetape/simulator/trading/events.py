"""JSON events of the user data stream (Binance's stream of account events): orders and balances."""

from collections.abc import Iterable
from decimal import Decimal

from onetape.simulator.server.wire import JsonObject, NumberFormat
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.orders import OrderList, SimulatedFill, SimulatedOrder

#: Binance states this mode with each order; orders here never trade with each other.
SELF_TRADE_PREVENTION = "EXPIRE_MAKER"


def make_execution_report(
    order: SimulatedOrder,
    execution: str,
    time_ms: int,
    fill: SimulatedFill | None = None,
    cancel_id: str = "",
    number: int = 0,
) -> JsonObject:
    """Return an `executionReport`.

    Args:
        order: Order after the event.
        execution: `NEW`, `TRADE`, `CANCELED` or `EXPIRED`.
        time_ms: Time of the event, epoch milliseconds.
        fill: Fill of a TRADE.
        cancel_id: Client id of the cancel request, for CANCELED.
        number: Number of the event, which rises from event to event.
    """
    numbers, request = NumberFormat(order.symbol), order.request
    zero = numbers.format_amount(0)
    report: JsonObject = {
        "e": "executionReport",
        "E": time_ms,
        "s": order.symbol.id,
        "c": cancel_id or order.client_id,
        "S": order.side,
        "o": request.type,
        "f": request.time_in_force,
        "q": numbers.format_amount(order.quantity),
        "p": numbers.format_price(request.price),
        "P": numbers.format_price(request.stop),
        "F": zero,
        "g": order.list_id,
        "C": order.client_id if cancel_id else "",
        "x": execution,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": numbers.format_amount(fill.quantity) if fill else zero,
        "z": numbers.format_amount(order.filled),
        "L": numbers.format_price(fill.price) if fill else numbers.format_price(0),
        "n": format_money(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": time_ms,
        "t": fill.id if fill else -1,
        "I": number,
        "w": order.is_open and not order.is_waiting and request.type != "MARKET",
        "m": fill.maker if fill else False,
        "M": fill is not None,
        "O": order.time_ms,
        "Z": format_money(order.value),
        "Y": format_money(fill.value) if fill else zero,
        "Q": format_money(request.quote_quantity),
    }
    if not order.is_waiting:
        report["W"] = order.working_ms
    report["V"] = SELF_TRADE_PREVENTION
    if execution == "EXPIRED":
        report["eR"] = order.expiry_reason
    return report


def make_list_status(order_list: OrderList, time_ms: int) -> JsonObject:
    """Return a `listStatus`: an order list began or ended."""
    is_open = order_list.is_open
    first = order_list.orders[0]
    return {
        "e": "listStatus",
        "E": time_ms,
        "s": first.symbol.id,
        "g": order_list.id,
        "c": "OCO",
        "l": "EXEC_STARTED" if is_open else "ALL_DONE",
        "L": "EXECUTING" if is_open else "ALL_DONE",
        "r": "NONE",
        "C": order_list.client_id,
        "T": time_ms,
        "O": [
            {"s": order.symbol.id, "i": order.id, "c": order.client_id}
            for order in order_list.orders
        ],
    }


def make_account_position(rows: Iterable[tuple[str, Decimal, Decimal]], time_ms: int) -> JsonObject:
    """Return an `outboundAccountPosition`: the assets that may have changed, free and locked."""
    return {
        "e": "outboundAccountPosition",
        "E": time_ms,
        "u": time_ms,
        "B": [
            {"a": asset, "f": format_money(free), "l": format_money(locked)}
            for asset, free, locked in rows
        ],
    }


def make_balance_update(asset: str, change: Decimal, time_ms: int) -> JsonObject:
    """Return a `balanceUpdate`: something other than an order changed a balance."""
    return {"e": "balanceUpdate", "E": time_ms, "a": asset, "d": format_money(change), "T": time_ms}
