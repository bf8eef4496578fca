"""Makes the JSON replies of Binance's signed REST endpoints: orders, order lists, fills, fees."""

from collections.abc import Iterable

from onetape.simulator.server.wire import JsonObject, NumberFormat
from onetape.simulator.trading.events import SELF_TRADE_PREVENTION
from onetape.simulator.trading.fees import BNB_SHARE, Fees
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.orders import OrderList, SimulatedFill, SimulatedOrder

#: Default number of an account (`uid`).
USER_ID = 354_937_868


def make_new_order_reply(
    order: SimulatedOrder, kind: str, fills: Iterable[SimulatedFill], now_ms: int
) -> JsonObject:
    """Return the reply to a new order.

    Args:
        order: The order after it was accepted.
        kind: `ACK` (ids only), `RESULT` (with the state) or `FULL` (with the fills).
        fills: Fills of the order, for FULL.
        now_ms: Market time, epoch milliseconds.
    """
    reply: JsonObject = {
        "symbol": order.symbol.id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": now_ms,
    }
    if kind == "ACK":
        return reply
    reply |= _make_order_state(order)
    if order.request.stop:
        reply["stopPrice"] = NumberFormat(order.symbol).format_price(order.request.stop)
    reply["workingTime"] = order.working_ms
    if kind == "FULL":
        reply["fills"] = [_make_short_fill(fill) for fill in fills]
    reply["selfTradePreventionMode"] = SELF_TRADE_PREVENTION
    return reply | _make_expiry(order)


def make_order_reply(order: SimulatedOrder) -> JsonObject:
    """Return an order as `GET /api/v3/order`, `openOrders` and `allOrders` show it."""
    numbers = NumberFormat(order.symbol)
    state = _make_order_state(order)
    quote_quantity = state.pop("origQuoteOrderQty")
    return {
        "symbol": order.symbol.id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        **state,
        "stopPrice": numbers.format_price(order.request.stop),
        "icebergQty": numbers.format_amount(0),
        "time": order.time_ms,
        "updateTime": order.update_ms,
        "isWorking": not order.is_waiting,
        "workingTime": order.working_ms,
        "origQuoteOrderQty": quote_quantity,
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
        **_make_expiry(order),
    }


def make_cancelled_order_reply(order: SimulatedOrder, cancel_id: str) -> JsonObject:
    """Return the reply to a cancellation.

    Args:
        order: The cancelled order.
        cancel_id: Client id of the cancel request.
    """
    reply: JsonObject = {
        "symbol": order.symbol.id,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": cancel_id,
        "transactTime": order.update_ms,
        **_make_order_state(order),
    }
    if order.request.stop:
        reply["stopPrice"] = NumberFormat(order.symbol).format_price(order.request.stop)
    reply["selfTradePreventionMode"] = SELF_TRADE_PREVENTION
    return reply


def make_list_reply(order_list: OrderList, reports: list[JsonObject] | None = None) -> JsonObject:
    """Return an order list as its endpoints show it.

    Args:
        order_list: Current state of the order list.
        reports: Reports of its orders, in the reply to a placement or a cancellation.
    """
    is_open, symbol = order_list.is_open, order_list.orders[0].symbol.id
    reply: JsonObject = {
        "orderListId": order_list.id,
        "contingencyType": "OCO",
        "listStatusType": "EXEC_STARTED" if is_open else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if is_open else "ALL_DONE",
        "listClientOrderId": order_list.client_id,
        "transactionTime": order_list.time_ms,
        "symbol": symbol,
        "orders": [
            {"symbol": symbol, "orderId": order.id, "clientOrderId": order.client_id}
            for order in order_list.orders
        ],
    }
    return reply if reports is None else reply | {"orderReports": reports}


def make_own_fill_reply(fill: SimulatedFill, list_id: int = -1) -> JsonObject:
    """Return a fill as `GET /api/v3/myTrades` shows it."""
    numbers = NumberFormat(fill.symbol)
    return {
        "symbol": fill.symbol.id,
        "id": fill.id,
        "orderId": fill.order_id,
        "orderListId": list_id,
        "price": numbers.format_price(fill.price),
        "qty": numbers.format_amount(fill.quantity),
        "quoteQty": format_money(fill.value),
        "commission": format_money(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.time_ms,
        "isBuyer": fill.side == "BUY",
        "isMaker": fill.maker,
        "isBestMatch": True,
    }


def make_commission_reply(symbol: str, fees: Fees) -> JsonObject:
    """Return `GET /api/v3/account/commission`."""
    none = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000",
            "seller": "0.00000000"}  # fmt: skip
    return {
        "symbol": symbol,
        "standardCommission": make_fee_rates(fees),
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": fees.in_bnb,
            "enabledForSymbol": True,
            "discountAsset": "BNB",
            "discount": format_money(BNB_SHARE),
        },
    }


def make_fee_rates(fees: Fees) -> JsonObject:
    """Return the fee rates of maker, taker, buyer and seller, as texts."""
    return {
        "maker": format_money(fees.maker),
        "taker": format_money(fees.taker),
        "buyer": "0.00000000",
        "seller": "0.00000000",
    }


def _make_order_state(order: SimulatedOrder) -> JsonObject:
    numbers, request = NumberFormat(order.symbol), order.request
    return {
        "price": numbers.format_price(request.price),
        "origQty": numbers.format_amount(order.quantity),
        "executedQty": numbers.format_amount(order.filled),
        "origQuoteOrderQty": format_money(request.quote_quantity),
        "cummulativeQuoteQty": format_money(order.value),
        "status": order.status,
        "timeInForce": request.time_in_force,
        "type": request.type,
        "side": order.side,
    }


def _make_expiry(order: SimulatedOrder) -> JsonObject:
    """Return the fields with the reason of an order's expiry; empty for other orders."""
    return {"expiryReason": order.expiry_reason} if order.status == "EXPIRED" else {}


def _make_short_fill(fill: SimulatedFill) -> JsonObject:
    numbers = NumberFormat(fill.symbol)
    return {
        "price": numbers.format_price(fill.price),
        "qty": numbers.format_amount(fill.quantity),
        "commission": format_money(fill.fee),
        "commissionAsset": fill.fee_asset,
        "tradeId": fill.id,
    }
