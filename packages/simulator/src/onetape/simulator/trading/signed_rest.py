"""The signed REST endpoints: the account under /api/v3, and the wallet's that CCXT reads."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.server.wire import JsonObject, json_text
from onetape.simulator.trading import order_refusals
from onetape.simulator.trading.account_api import TRADING, AccountApi
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.keys import ApiKey, KeyRing
from onetape.simulator.trading.money import text_8
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
Answer = Callable[[Params, ApiKey], object]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class SignedRest:
    """Checks key, permission, time and signature of each request, then handles it.

    Parameters come in the query, in a form body, or in both; the signature is made of the two, one
    behind the other, without itself.
    """

    def __init__(
        self,
        exchange: Exchange,
        api: AccountApi,
        keys: KeyRing,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        """Serve this account; `changed` is called after every request."""
        self._exchange = exchange
        self._api = api
        self._keys = keys
        self._clock = clock
        self._changed = changed

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        for method, path, operation in _ENDPOINTS:
            answer = self._operation(operation)
            handler = self._handler(answer, trading=operation in TRADING)
            app.router.add_route(method, path, handler)
        wallet: dict[str, Answer] = {
            "/sapi/v1/account/apiRestrictions": self._restrictions,
            "/sapi/v1/asset/tradeFee": self._trade_fees,
            "/sapi/v1/capital/config/getall": self._coins,
            "/sapi/v1/bnbBurn": self._bnb_burn,
            # CCXT requests them with a key while it loads markets; no market here has margin.
            "/sapi/v1/margin/allPairs": _nothing,
            "/sapi/v1/margin/isolated/allPairs": _nothing,
        }
        for path, answer in wallet.items():
            app.router.add_get(path, self._handler(answer))
        app.router.add_post("/sapi/v1/bnbBurn", self._handler(self._set_bnb_burn, trading=True))
        app.router.add_get("/sapi/v1/system/status", _system_status)

    def _operation(self, name: str) -> Answer:
        return lambda params, _: self._api.run(name, params)

    def _handler(self, answer: Answer, *, trading: bool = False) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            key = self._keys.known(request.headers.get("X-MBX-APIKEY"), trading=trading)
            params, signed_text = await _signed_params(request)
            self._keys.check(key, params, signed_text)
            try:
                body = answer(params, key)
            finally:
                self._changed()
            return web.Response(text=json_text(body), content_type="application/json")

        return handle

    def _restrictions(self, params: Params, key: ApiKey) -> JsonObject:
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

    def _trade_fees(self, params: Params, key: ApiKey) -> list[JsonObject]:
        del key
        symbols = [self._api.symbol(params)] if params.get("symbol") else self._exchange.symbols
        fees = self._exchange.fees
        return [
            {
                "symbol": symbol.id,
                "makerCommission": f"{fees.maker:f}",
                "takerCommission": f"{fees.taker:f}",
            }
            for symbol in symbols
        ]

    def _coins(self, params: Params, key: ApiKey) -> list[JsonObject]:
        del params, key
        account = self._exchange.account
        assets = {asset for one in self._exchange.symbols for asset in (one.base, one.quote)}
        return [
            _coin(asset, text_8(free), text_8(locked))
            for asset, free, locked in account.rows(sorted(assets | set(account.assets())))
        ]

    def _bnb_burn(self, params: Params, key: ApiKey) -> JsonObject:
        del params, key
        return {"spotBNBBurn": self._exchange.fees.in_bnb, "interestBNBBurn": False}

    def _set_bnb_burn(self, params: Params, key: ApiKey) -> JsonObject:
        self._exchange.settle(self._clock.now_ms())
        if "spotBNBBurn" in params:
            self._exchange.fees.in_bnb = require(params, "spotBNBBurn") == "true"
        return self._bnb_burn(params, key)


def _nothing(params: Params, key: ApiKey) -> list[JsonObject]:
    del params, key
    return []


async def _system_status(request: web.Request) -> web.Response:
    del request
    text = json_text({"status": 0, "msg": "normal"})
    return web.Response(text=text, content_type="application/json")


async def _signed_params(request: web.Request) -> tuple[dict[str, str], str]:
    """Return all parameters of a request, and the text that its signature was made of."""
    query = request.raw_path.partition("?")[2]
    # Bytes that are no text fail at the signature, as they do with Binance.
    body = (await request.read()).decode(errors="replace")
    # What both name is taken from the query, and Binance joins them without a `&` between them.
    return _named(body) | _named(query), _unsigned(query) + _unsigned(body)


def _named(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise order_refusals.sent_twice()
    return found


def _unsigned(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def _coin(asset: str, free: str, locked: str) -> JsonObject:
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
