"""Weight of each request, and its number of orders, from Binance's documentation of the spot API.

Binance limits the sum of the weights of a client's requests in a minute (`limits.py`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from onetape.simulator.server.wire import parse_json

Query = Mapping[str, str]


def _weigh_depth(query: Query) -> int:
    limit = query.get("limit", "")
    limit = int(limit) if re.fullmatch("[0-9]{1,20}", limit) else 100
    if limit <= 100:
        return 5
    return 25 if limit <= 500 else 50 if limit <= 1_000 else 250


def _weigh_day_ticker(query: Query) -> int:
    if "symbol" in query:
        return 2
    count = _count_named_markets(query)
    return 80 if count == 0 or count > 100 else 40 if count > 20 else 2


def _count_named_markets(query: Query) -> int:
    """Return the number of markets in `symbols`; 0: all markets."""
    try:
        names = parse_json(query.get("symbols", ""))
    except ValueError:
        return 0
    return len(cast("list[object]", names)) if isinstance(names, list) else 0


def _make_one_or_all_weight(one: int, every: int) -> Callable[[Query], int]:
    return lambda query: one if "symbol" in query else every


def _weigh_own_trades(query: Query) -> int:
    return 5 if "orderId" in query else 20


def _weigh_test_order(query: Query) -> int:
    return 20 if query.get("computeCommissionRates") == "true" else 1


#: Number of orders that a request places, over REST and over the WebSocket API.
_REST_ORDER_COUNTS: Final = {
    ("POST", "/api/v3/order"): 1, ("POST", "/api/v3/order/cancelReplace"): 1,
    ("POST", "/api/v3/order/oco"): 2, ("POST", "/api/v3/orderList/oco"): 2,
}  # fmt: skip
_METHOD_ORDER_COUNTS: Final = {
    "order.place": 1, "order.cancelReplace": 1, "orderList.place": 2, "orderList.place.oco": 2,
}  # fmt: skip
#: Weight of a dial of the WebSocket API.
DIAL_WEIGHT: Final = 2
_FIXED_WEIGHTS: Final = {
    ("GET", "exchangeInfo"): 20, ("GET", "klines"): 2, ("GET", "uiKlines"): 2,
    ("GET", "trades"): 25, ("GET", "historicalTrades"): 25, ("GET", "aggTrades"): 4,
    ("GET", "avgPrice"): 2, ("GET", "account"): 20, ("GET", "order"): 4, ("GET", "allOrders"): 20,
    ("GET", "orderList"): 4, ("GET", "allOrderList"): 20, ("GET", "openOrderList"): 6,
    ("GET", "account/commission"): 20, ("GET", "rateLimit/order"): 40, ("GET", "myFilters"): 40,
    ("POST", "userDataStream"): 2, ("PUT", "userDataStream"): 2, ("DELETE", "userDataStream"): 2,
}  # fmt: skip
_WEIGHTS_BY_QUERY: Final[dict[tuple[str, str], Callable[[Query], int]]] = {
    ("GET", "depth"): _weigh_depth,
    ("GET", "ticker/24hr"): _weigh_day_ticker,
    ("GET", "ticker/price"): _make_one_or_all_weight(2, 4),
    ("GET", "ticker/bookTicker"): _make_one_or_all_weight(2, 4),
    ("GET", "openOrders"): _make_one_or_all_weight(6, 80),
    ("GET", "myTrades"): _weigh_own_trades,
    ("POST", "order/test"): _weigh_test_order,
}
#: The request over REST that weighs the same as a method of the WebSocket API.
_REST_EQUIVALENTS: Final = {
    "account.status": ("GET", "account"),
    "account.commission": ("GET", "account/commission"),
    "account.rateLimits.orders": ("GET", "rateLimit/order"),
    "order.test": ("POST", "order/test"),
    "order.status": ("GET", "order"),
    "openOrders.status": ("GET", "openOrders"),
    "allOrders": ("GET", "allOrders"),
    "myTrades": ("GET", "myTrades"),
    "orderList.status": ("GET", "orderList"),
    "openOrderLists.status": ("GET", "openOrderList"),
    "allOrderLists": ("GET", "allOrderList"),
    "userDataStream.subscribe.signature": ("POST", "userDataStream"),
    "userDataStream.unsubscribe": ("DELETE", "userDataStream"),
}


def get_request_weight(method: str, path: str, query: Query) -> int:
    """Return the weight of a request; it is 1 where the documentation does not list the request."""
    key = method, path.removeprefix("/api/v3/")
    if key in _WEIGHTS_BY_QUERY:
        return _WEIGHTS_BY_QUERY[key](query)
    return _FIXED_WEIGHTS.get(key, 1)


def get_method_weight(method: str, params: Query) -> int:
    """Return the weight of a method of the WebSocket API; a method that is not listed has 1."""
    verb, path = _REST_EQUIVALENTS.get(method, ("", ""))
    return get_request_weight(verb, path, params)


def get_order_count(method: str, path: str) -> int:
    """Return the number of orders that a request over REST places."""
    return _REST_ORDER_COUNTS.get((method, path), 0)


def get_method_order_count(method: str) -> int:
    """Return the number of orders that a method of the WebSocket API places."""
    return _METHOD_ORDER_COUNTS.get(method, 0)
