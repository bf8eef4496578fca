"""Reads the parameters of an order list (OCO), in Binance's present and in its previous form."""

from typing import Final

from onetape.simulator.market.symbols import SpotSymbol
from onetape.simulator.server import error_replies
from onetape.simulator.trading.orders import RequestedOrder
from onetape.simulator.trading.params import Params, check_known, read_order, require

#: The order below the market's price, then the one above it.
Legs = tuple[RequestedOrder, RequestedOrder]
#: Endings of parameters that begin with `above` or `below`, and their names in a single order.
_LEG_PARAMETERS: Final = {
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
#: Parameters of the previous form alone.
_OLD_PARAMETERS: Final = (
    "limitClientOrderId", "price", "limitStrategyId", "limitStrategyType", "stopClientOrderId",
    "stopPrice", "stopStrategyId", "stopStrategyType", "stopLimitPrice", "stopLimitTimeInForce",
)  # fmt: skip


def read_oco(params: Params, symbol: SpotSymbol) -> Legs:
    """Read the parameters of `POST /api/v3/orderList/oco`.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    legs = (side + name for side in ("above", "below") for name in _LEG_PARAMETERS)
    check_known(params, {*_COMMON, *legs})
    common = {name: require(params, name) for name in ("symbol", "side", "quantity")}

    def read_leg(side: str) -> RequestedOrder:
        require(params, f"{side}Type")
        names = _LEG_PARAMETERS.items()
        found = {name: params[side + key] for key, name in names if params.get(side + key)}
        return read_order({**common, **found}, symbol)

    return read_leg("below"), read_leg("above")


def read_old_oco(params: Params, symbol: SpotSymbol) -> Legs:
    """Read the parameters of `POST /api/v3/order/oco`, which is deprecated and still widely used.

    Raises:
        Refusal: with Binance's code and text for the first thing that is wrong.
    """
    check_known(params, {*_COMMON, *_OLD_PARAMETERS})
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
    target_order = read_order({**common, **target}, symbol)
    stop_order = read_order({**common, **stop}, symbol)
    is_sell = target_order.side == "SELL"
    return (stop_order, target_order) if is_sell else (target_order, stop_order)
