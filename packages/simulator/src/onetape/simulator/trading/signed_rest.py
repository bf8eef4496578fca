"""The signed REST endpoints: the account under /api/v3, and those under /sapi that CCXT reads.

Each request is signed with an API key (`keys.py`). The operations are in `account_api.py`.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.server.wire import JsonObject, format_json
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.account_api import TRADING, AccountApi
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.keys import ApiKey, KeyRing
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.params import Params, require

#: Method, path and operation of each endpoint of the account.
_ENDPOINTS: Final = (
    ("GET", "/api/v3/account", "account.status"),
    ("GET", "/api/v3/account/commission", "account.commission"),
    ("GET", "/api/v3/rateLimit/order", "account.rateLimits.orders"),
    ("POST", "/api/v3/order", "order.place"),
    ("POST", "/api/v3/order/test", "order.test"),
    ("GET", "/api/v3/order", "order.status"),
    ("DELETE", "/api/v3/order", "order.cancel"),
    ("GET", "/api/v3/openOrders", "openOrders.status"),
    ("DELETE", "/api/v3/openOrders", "openOrders.cancelAll"),
    ("GET", "/api/v3/allOrders", "allOrders"),
    ("GET", "/api/v3/myTrades", "myTrades"),
    ("POST", "/api/v3/order/cancelReplace", "order.cancelReplace"),
    ("POST", "/api/v3/order/oco", "orderList.place"),
    ("POST", "/api/v3/orderList/oco", "orderList.place.oco"),
    ("GET", "/api/v3/orderList", "orderList.status"),
    ("DELETE", "/api/v3/orderList", "orderList.cancel"),
    ("GET", "/api/v3/openOrderList", "openOrderLists.status"),
    ("GET", "/api/v3/allOrderList", "allOrderLists"),
)
#: Function that returns the JSON reply to the parameters of a request and its key.
Respond = Callable[[Params, ApiKey], object]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class SignedRest:
    """Checks key, permission, time and signature of each request, then carries it out.

    Parameters are in the query, in a form body, or in both. The signed text is the query followed
    by the body, without the parameter `signature`.
    """

    def __init__(
        self,
        exchange: Exchange,
        api: AccountApi,
        keys: KeyRing,
        clock: Clock,
        on_request: Callable[[], None],
    ) -> None:
        """Initialise with an account.

        Args:
            exchange: The account and its orders.
            api: Operations of the account.
            keys: API keys of the account.
            clock: Market time.
            on_request: Called after each request, so that streams send the new events.
        """
        self._exchange = exchange
        self._api = api
        self._keys = keys
        self._clock = clock
        self._on_request = on_request

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        for method, path, operation in _ENDPOINTS:
            respond = self._make_operation_call(operation)
            handler = self._make_handler(respond, trading=operation in TRADING)
            app.router.add_route(method, path, handler)
        wallet: dict[str, Respond] = {
            "/sapi/v1/account/apiRestrictions": self._get_restrictions,
            "/sapi/v1/asset/tradeFee": self._get_trade_fees,
            "/sapi/v1/capital/config/getall": self._get_coins,
            "/sapi/v1/bnbBurn": self._get_bnb_burn,
            # CCXT requests these lists while it loads markets; no market here has margin.
            "/sapi/v1/margin/allPairs": _get_empty_list,
            "/sapi/v1/margin/isolated/allPairs": _get_empty_list,
        }
        for path, respond in wallet.items():
            app.router.add_get(path, self._make_handler(respond))
        app.router.add_post(
            "/sapi/v1/bnbBurn", self._make_handler(self._set_bnb_burn, trading=True)
        )
        app.router.add_get("/sapi/v1/system/status", _get_system_status)

    def _make_operation_call(self, name: str) -> Respond:
        return lambda params, _: self._api.run(name, params)

    def _make_handler(self, respond: Respond, *, trading: bool = False) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            key = self._keys.get_permitted_key(request.headers.get("X-MBX-APIKEY"), trading=trading)
            params, signed_text = await _read_signed_params(request)
            self._keys.check(key, params, signed_text)
            try:
                body = respond(params, key)
            finally:
                self._on_request()
            return web.Response(text=format_json(body), content_type="application/json")

        return handle

    def _get_restrictions(self, params: Params, key: ApiKey) -> JsonObject:
        del params
        return {
            "ipRestrict": key.ip_restricted,
            "createTime": self._exchange.opened_ms,
            "enableReading": key.reading,
            "enableWithdrawals": key.withdrawals,
            "enableInternalTransfer": key.internal_transfer,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": key.universal_transfer,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": key.trading,
            "enablePortfolioMarginTrading": False,
        }

    def _get_trade_fees(self, params: Params, key: ApiKey) -> list[JsonObject]:
        del key
        symbols = (
            [self._api.parse_symbol(params)] if params.get("symbol") else self._exchange.symbols
        )
        fees = self._exchange.fees
        return [
            {
                "symbol": symbol.id,
                "makerCommission": f"{fees.maker:f}",
                "takerCommission": f"{fees.taker:f}",
            }
            for symbol in symbols
        ]

    def _get_coins(self, params: Params, key: ApiKey) -> list[JsonObject]:
        del params, key
        account = self._exchange.account
        assets = {
            asset for symbol in self._exchange.symbols for asset in (symbol.base, symbol.quote)
        }
        return [
            _make_coin(asset, format_money(free), format_money(locked))
            for asset, free, locked in account.get_rows(sorted(assets | set(account.get_assets())))
        ]

    def _get_bnb_burn(self, params: Params, key: ApiKey) -> JsonObject:
        del params, key
        return {"spotBNBBurn": self._exchange.fees.in_bnb, "interestBNBBurn": False}

    def _set_bnb_burn(self, params: Params, key: ApiKey) -> JsonObject:
        self._exchange.settle(self._clock.now_ms())
        if "spotBNBBurn" in params:
            self._exchange.fees.in_bnb = require(params, "spotBNBBurn") == "true"
        return self._get_bnb_burn(params, key)


def _get_empty_list(params: Params, key: ApiKey) -> list[JsonObject]:
    del params, key
    return []


async def _get_system_status(request: web.Request) -> web.Response:
    del request
    text = format_json({"status": 0, "msg": "normal"})
    return web.Response(text=text, content_type="application/json")


async def _read_signed_params(request: web.Request) -> tuple[dict[str, str], str]:
    """Return all parameters of a request, and the text that its signature was made of."""
    query = request.raw_path.partition("?")[2]
    # A body that is no text fails at the check of the signature, as with Binance.
    body = (await request.read()).decode(errors="replace")
    # A parameter in both is read from the query; Binance joins both texts without a `&`.
    return _parse_params(body) | _parse_params(query), _remove_signature(query) + _remove_signature(
        body
    )


def _parse_params(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise order_refusals.make_duplicate_parameter_refusal()
    return found


def _remove_signature(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def _make_coin(asset: str, free: str, locked: str) -> JsonObject:
    zero = "0"
    return {
        "coin": asset,
        "depositAllEnable": True,
        "free": free,
        "freeze": zero,
        "ipoable": zero,
        "ipoing": zero,
        "isLegalMoney": False,
        "locked": locked,
        "name": asset,
        "networkList": [],
        "storage": zero,
        "trading": True,
        "withdrawAllEnable": True,
        "withdrawing": zero,
    }
