"""The WebSocket API under /ws-api/v3: the user data stream, and the account's operations."""

from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock, SteppedClock
from onetape.simulator.faults.requests import RequestFaults
from onetape.simulator.server.context import ServerContext
from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.server.limits import WS_API_PATH, Excess
from onetape.simulator.server.weights import get_method_order_count, get_method_weight
from onetape.simulator.server.wire import JsonObject, parse_json
from onetape.simulator.streams.sockets import Socket, Sockets
from onetape.simulator.trading.account_api import TRADING, AccountApi
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.trading.keys import KeyRing

#: Wall seconds between two checks for fills without a request.
CHECK_SECONDS: Final = 0.1
SUBSCRIBE: Final = "userDataStream.subscribe.signature"
UNSUBSCRIBE: Final = "userDataStream.unsubscribe"
#: Name of the user data stream in the setting `stream` of faults.
STREAM: Final = "user"


#: Methods whose replies have no `rateLimits`, as recorded.
METHODS_WITHOUT_RATE_LIMITS: Final = (SUBSCRIBE, UNSUBSCRIBE)
#: Methods that a halted market refuses.
NEW_ORDER_METHODS: Final = (
    "order.place", "order.test", "order.cancelReplace", "orderList.place", "orderList.place.oco",
)  # fmt: skip


class WsApi(Sockets):
    """All sockets of the WebSocket API."""

    def __init__(
        self,
        exchange: Exchange,
        api: AccountApi,
        keys: KeyRing,
        clock: Clock,
        context: ServerContext,
    ) -> None:
        """Serve this account with these faults and limits."""
        super().__init__()
        self.exchange = exchange
        self.api = api
        self.keys = keys
        self.clock = clock
        self.context = context

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoint to an application."""
        app.router.add_get(WS_API_PATH, self._serve)

    async def wait_until_sent(self, market_ms: int) -> None:
        """Match everything up to this market time and wait until every socket has sent it."""
        self.exchange.settle(market_ms)
        self.wake()
        await super().wait_until_sent(market_ms)

    def _make_socket(self, response: web.WebSocketResponse, request: web.Request) -> "ApiSocket":
        return ApiSocket(self, response, request)


class ApiSocket(Socket):
    """One client: its requests, and the account's events while it is subscribed to them."""

    #: Requests are limited by their weight; pings and pongs alone by their number.
    counts_texts = False

    def __init__(self, hub: WsApi, socket: web.WebSocketResponse, request: web.Request) -> None:
        """Take an open socket."""
        super().__init__(socket, request, hub.clock, hub.context)
        self._hub = hub
        self._limits = hub.context.limits
        self._address = request.remote or ""
        self._returns_limits = request.query.get("returnRateLimits", "true")
        self._faults = RequestFaults(hub.context.faults, self._injector, hub.clock)
        self._subscription: int | None = None
        self._subscriptions = 0
        self._sent_events = 0

    def _compute_idle_seconds(self) -> float | None:
        """Return the interval of the check for fills in a running market."""
        return None if isinstance(self._clock, SteppedClock) else CHECK_SECONDS

    async def _send_due(self, now_ms: int) -> None:
        if self._subscription is not None:
            self._hub.exchange.settle(now_ms)
        while (event := self._take_next_event()) is not None:
            await self._send(event, STREAM)

    def _take_next_event(self) -> JsonObject | None:
        """Return the next event of the subscription, and count it as sent; None: there is none."""
        events = self._hub.exchange.ledger.events
        if self._is_closed or self._subscription is None or self._sent_events >= len(events):
            return None
        self._sent_events += 1
        return events[self._sent_events - 1]

    async def _send(self, event: JsonObject, stream: str) -> None:
        value: JsonObject = {"event": event}
        if stream == STREAM:
            value = {"subscriptionId": self._subscription, "event": event}
        await super()._send(value, stream)

    async def _process_message(self, text: str) -> None:
        """Respond to a request, unless a fault drops the response."""
        number: object = None
        try:
            request = _parse_request(text)
            number = request.get("id")
            method, params = (
                str(request.get("method")),
                _convert_params_to_text(request.get("params")),
            )
        except Refusal as refusal:
            await self._injector.send(_make_error_reply(number, refusal))
            return
        on, symbol = f"{method} over WebSocket", params.get("symbol", "")
        if self._hub.context.lasting_faults.is_in_maintenance(on):
            self.abort()
            return

        def work() -> JsonObject:
            self._hub.wake()
            return self._make_reply(number, method, params)

        await self._faults.respond(method, symbol, number, work)
        if self._limits.is_banned(self._address):
            await self._socket.close(code=1008, message=b"IP banned")

    def _make_reply(self, number: object, method: str, params: dict[str, str]) -> JsonObject:
        """Return the reply to a request, in the form of the WebSocket API."""
        orders = get_method_order_count(method)
        excess = self._limits.count(self._address, get_method_weight(method, params), orders=orders)
        if excess is not None:
            reply = self._make_excess_reply(number, excess)
        else:
            try:
                reply: JsonObject = {"id": number, "status": 200}
                reply["result"] = self._run_request(method, params)
                if orders:
                    self._limits.count_orders(orders)
            except Refusal as refusal:
                reply = _make_error_reply(number, refusal)
        if (
            params.get("returnRateLimits", self._returns_limits) == "false"
            or method in METHODS_WITHOUT_RATE_LIMITS
        ):
            return reply
        return reply | {"rateLimits": self._limits.list_used_limits(self._address, orders=orders)}

    def _make_excess_reply(self, number: object, excess: Excess) -> JsonObject:
        data = {
            "serverTime": self._clock.now_ms(),
            "retryAfter": self._limits.compute_served_ms(excess),
        }
        error: JsonObject = {"code": excess.code, "msg": excess.text, "data": data}
        return {"id": number, "status": excess.status, "error": error}

    def _run_request(self, method: str, params: dict[str, str]) -> object:
        hub = self._hub
        plain: dict[str, Callable[[], object]] = {
            "ping": dict,
            "time": lambda: {
                "serverTime": hub.clock.now_ms() + hub.context.lasting_faults.compute_skew_ms()
            },
            UNSUBSCRIBE: self._unsubscribe,
        }
        if method in plain:
            return plain[method]()
        if method != SUBSCRIBE and method not in hub.api.operations:
            raise Refusal(-1000, f"Unknown method '{method}'.")
        on, symbol = f"{method} over WebSocket", params.get("symbol", "")
        closed = hub.context.lasting_faults.find_market_refusal(
            on, symbol, orders=method in NEW_ORDER_METHODS
        )
        if closed is not None:
            raise closed
        key = hub.keys.get_permitted_key(params.get("apiKey"), trading=method in TRADING)
        hub.keys.check(key, params, _make_signed_text(params))
        if method == SUBSCRIBE:
            return self._subscribe()
        return hub.api.run(method, params)

    def _subscribe(self) -> JsonObject:
        hub = self._hub
        hub.exchange.settle(hub.clock.now_ms())
        if self._subscription is None:
            self._subscription = self._subscriptions
            self._subscriptions += 1
            self._sent_events = len(hub.exchange.ledger.events)
        return {"subscriptionId": self._subscription}

    def _unsubscribe(self) -> JsonObject:
        self._subscription = None
        return {}


def _make_error_reply(number: object, refusal: Refusal) -> JsonObject:
    return {"id": number, "status": refusal.status, "error": refusal.make_body()}


def _make_signed_text(params: dict[str, str]) -> str:
    """Return the text that a WebSocket request signs: its parameters by name, but the signature."""
    names = sorted(name for name in params if name != "signature")
    return "&".join(f"{name}={params[name]}" for name in names)


def _convert_params_to_text(params: object) -> dict[str, str]:
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise Refusal(-1102, "Mandatory parameter 'params' was malformed.")
    found = cast("dict[str, object]", params)
    return {name: _format_param(value) for name, value in found.items()}


def _format_param(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parse_request(text: str) -> JsonObject:
    try:
        request = parse_json(text)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise Refusal(-1000, "Request must be a JSON object.")
    return cast("JsonObject", request)
