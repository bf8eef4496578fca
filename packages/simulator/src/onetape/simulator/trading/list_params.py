"""The parameters of order lists (OCO), in Binance's present and in its previous form."""

from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.trading.orders import RequestedOrder
from onetape.simulator.trading.params import Params, check_known, read_order, require

Legs = tuple[RequestedOrder, RequestedOrder]
#: Parameters of one order of a list, behind `above` or `below`, and their names in an order.
_LEG: Final = {
    "Type": "type",
    "ClientOrderId": "newClientOrderId",
    "Price": "price",
    "StopPrice": "stopPrice",
    "TimeInForce": "timeInForce",
    "StrategyId": "strategyId",
    "StrategyType": "strategyType",
}
_COMMON: Final = (
    "symbol", "side", "quantity", "listClientOrderId", "newOrderRespType",
    "selfTradePreventionMode",
)  # fmt: skip
_OLD: Final = (
    "limitClientOrderId", "price", "limitStrategyId", "limitStrategyType", "stopClientOrderId",
    "stopPrice", "stopStrategyId", "stopStrategyType", "stopLimitPrice", "stopLimitTimeInForce",
)  # fmt: skip


def read_oco(params: Params, symbol: SpotSymbol) -> Legs:
    """Read `POST /api/v3/orderList/oco`: the order below the price, then the one above it.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    check_known(params, {*_COMMON, *(side + name for side in ("above", "below") for name in _LEG)})
    common = {name: require(params, name) for name in ("symbol", "side", "quantity")}

    def read_leg(side: str) -> RequestedOrder:
        require(params, f"{side}Type")
        found = {name: params[side + key] for key, name in _LEG.items() if params.get(side + key)}
        return read_order({**common, **found}, symbol)

    return read_leg("below"), read_leg("above")


def read_old_oco(params: Params, symbol: SpotSymbol) -> Legs:
    """Read `POST /api/v3/order/oco`, which Binance has deprecated and many programs still send.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    check_known(params, {*_COMMON, *_OLD})
    common = {name: require(params, name) for name in ("symbol", "side", "quantity")}
    target = {"type": "LIMIT_MAKER", "price": require(params, "price")}
    stop = {"type": "STOP_LOSS", "stopPrice": require(params, "stopPrice")}
    if params.get("stopLimitPrice"):
        stop |= {
            "type": "STOP_LOSS_LIMIT",
            "price": params["stopLimitPrice"],
            "timeInForce": require(params, "stopLimitTimeInForce"),
        }
    for name, order in (("limitClientOrderId", target), ("stopClientOrderId", stop)):
        if params.get(name):
            order["newClientOrderId"] = params[name]
    if common["side"] not in ("BUY", "SELL"):
        raise error_replies.make_invalid_value_refusal("side")
    one = read_order({**common, **target}, symbol)
    other = read_order({**common, **stop}, symbol)
    return (other, one) if one.side == "SELL" else (one, other)
