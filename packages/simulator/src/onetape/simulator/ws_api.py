"""The WebSocket API under /ws-api/v3: the user data stream, and the account's operations."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import WSMsgType, web

from onetape.core.clock import Clock, SteppedClock
from onetape.simulator.account_api import TRADING, AccountApi
from onetape.simulator.connection import (
    GONE,
    LIFE_MS,
    PING_SECONDS,
    SEND_SECONDS,
    SILENT_SECONDS,
    WARNING_MS,
)
from onetape.simulator.faults.gate import Gate
from onetape.simulator.faults.transport import reset, send_frame
from onetape.simulator.house import House
from onetape.simulator.keys import KeyRing
from onetape.simulator.limits import MessageLimit
from onetape.simulator.refusals import Refusal
from onetape.simulator.trading.exchange import Exchange
from onetape.simulator.wire import JsonObject

#: Wall seconds between two looks for fills while nobody asks anything.
LOOK_SECONDS: Final = 0.1
SUBSCRIBE: Final = "userDataStream.subscribe.signature"
UNSUBSCRIBE: Final = "userDataStream.unsubscribe"
#: Name of the user data stream where faults are told which stream they are for.
STREAM: Final = "user"


class WsApi:
    """All sockets of the WebSocket API."""

    def __init__(
        self, exchange: Exchange, api: AccountApi, keys: KeyRing, clock: Clock, house: House
    ) -> None:
        """Serve this account by the rules of the house."""
        self.exchange = exchange
        self.api = api
        self.keys = keys
        self.clock = clock
        self.house = house
        self._open: set[ApiSocket] = set()
        self._refuse_until = 0.0

    def add_to(self, app: web.Application) -> None:
        """Add the endpoint to an application."""
        app.router.add_get("/ws-api/v3", self._serve)

    def wake(self) -> None:
        """Let every socket look for new events."""
        for socket in self._open:
            socket.wake()

    async def reached(self, market_ms: int) -> None:
        """Match everything up to this market time and wait until every socket has sent it."""
        self.exchange.settle(market_ms)
        self.wake()
        await asyncio.gather(*(one.reached(market_ms) for one in list(self._open)))

    def disconnect(self, refuse_seconds: float = 0.0) -> int:
        """Cut all sockets at once and refuse new ones for some wall time; return how many."""
        self._refuse_until = time.monotonic() + refuse_seconds
        return self.cut()

    def cut(self) -> int:
        """Cut all sockets at once; return how many there were."""
        cut = list(self._open)
        self._open.clear()
        for socket in cut:
            socket.abort()
        return len(cut)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if time.monotonic() < self._refuse_until:
            reset(request.transport)
            return web.Response(status=503)
        response = web.WebSocketResponse(autoping=False, compress=False)
        if not response.can_prepare(request).ok:
            return web.Response(status=400, text="this address speaks WebSocket only")
        socket = ApiSocket(self, response, request)
        await response.prepare(request)
        self._open.add(socket)
        try:
            await socket.serve()
        finally:
            self._open.discard(socket)
        return response


class ApiSocket:
    """One client: its requests, and the account's events while it is subscribed to them."""

    def __init__(self, hub: WsApi, socket: web.WebSocketResponse, request: web.Request) -> None:
        """Take an open socket."""
        self._hub = hub
        self._socket = socket
        self._transport = request.transport
        self._subscription: int | None = None
        self._subscriptions = 0
        self._sent_events = 0
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._reached_ms = -1
        self._last_heard = time.monotonic()
        self._closed = False
        self._began_ms = hub.clock.now_ms()
        self._warned = False
        house = hub.house
        self._messages = MessageLimit(enforced=house.limits.enforced)
        self._gate = Gate(socket, self._transport, house.faults, house.states, self._put)

    def wake(self) -> None:
        """Look for new events now."""
        self._wake.set()

    def abort(self) -> None:
        """Cut the connection at once, without a word."""
        self._closed = True
        self._wake.set()
        reset(self._transport)

    async def reached(self, market_ms: int) -> None:
        """Wait until all events up to this market time were sent, or the connection ended."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._closed or self._reached_ms >= market_ms)

    async def serve(self) -> None:
        """Answer requests and send events until the socket ends."""
        tasks = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._ping_loop())]
        try:
            await self._read_loop()
        finally:
            self._closed = True
            self._gate.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with self._progress:
                self._progress.notify_all()

    async def _read_loop(self) -> None:
        async for message in self._socket:
            self._last_heard = time.monotonic()
            if self._gate.half_open:
                continue
            if self._messages.is_over():
                await self._socket.close(code=1008, message=b"Too many requests")
                return
            if message.type is WSMsgType.TEXT:
                await self._send(self._answer(cast("str", message.data)))
                self._hub.wake()
            elif message.type is WSMsgType.PING:
                await self._socket.pong(cast("bytes", message.data))

    async def _ping_loop(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self._gate.half_open:
                continue
            if time.monotonic() - self._last_heard > SILENT_SECONDS:
                self.abort()
                return
            try:
                await self._socket.ping(str(self._hub.clock.now_ms()).encode())
            except GONE:
                return

    async def _send_loop(self) -> None:
        """Send events as they come; a running market is looked at again and again for fills."""
        stepped = isinstance(self._hub.clock, SteppedClock)
        while not self._closed:
            self._wake.clear()
            now_ms = self._hub.clock.now_ms()
            try:
                await self._grow_old(now_ms)
                await self._send_new(now_ms)
            except GONE:
                self.abort()
                return
            async with self._progress:
                self._reached_ms = now_ms
                self._progress.notify_all()
            try:
                async with asyncio.timeout(None if stepped else LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _grow_old(self, now_ms: int) -> None:
        """Warn the client before the end of the socket's life, and end it then."""
        if not self._hub.house.sockets_end:
            return
        age_ms = now_ms - self._began_ms
        if age_ms >= LIFE_MS - WARNING_MS and not self._warned:
            self._warned = True
            await self._send({"e": "serverShutdown", "E": now_ms}, "serverShutdown")
        if age_ms >= LIFE_MS:
            self._closed = True
            await self._socket.close(code=1001, message=b"24 hours are over")

    async def _send_new(self, now_ms: int) -> None:
        if self._subscription is not None:
            self._hub.exchange.settle(now_ms)
        while (value := self._next_event()) is not None:
            await self._send(value, STREAM)

    def _next_event(self) -> JsonObject | None:
        """Return the next event of the subscription; counted as sent, whether it arrives or not."""
        events = self._hub.exchange.ledger.events
        if self._closed or self._subscription is None or self._sent_events >= len(events):
            return None
        self._sent_events += 1
        return {"subscriptionId": self._subscription, "event": events[self._sent_events - 1]}

    async def _send(self, value: JsonObject, stream: str = "") -> None:
        """Send an event or (without a stream) a reply; every message passes here."""
        await self._gate.send(value, stream)

    async def _put(self, frame: str | bytes) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send_frame(self._socket, frame)
        except TimeoutError:
            self.abort()

    def _answer(self, text: str) -> JsonObject:
        """Return the reply to a request, in the form of the WebSocket API."""
        number: object = None
        try:
            request = _parsed(text)
            number = request.get("id")
            params = _text_params(request.get("params"))
            result = self._done(str(request.get("method")), params)
        except Refusal as refusal:
            return {"id": number, "status": refusal.status, "error": refusal.body()}
        reply: JsonObject = {"id": number, "status": 200, "result": result}
        quiet = params.get("returnRateLimits") == "false"
        if quiet or request.get("method") in (SUBSCRIBE, UNSUBSCRIBE):
            return reply
        weight = {
            "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
            "limit": 6000, "count": 1,
        }  # fmt: skip
        return reply | {"rateLimits": [weight]}

    def _done(self, method: str, params: dict[str, str]) -> object:
        hub = self._hub
        plain: dict[str, Callable[[], object]] = {
            "ping": dict,
            "time": lambda: {"serverTime": hub.clock.now_ms()},
            UNSUBSCRIBE: self._unsubscribed,
        }
        if method in plain:
            return plain[method]()
        if method != SUBSCRIBE and method not in hub.api.operations:
            raise Refusal(-1000, f"Unknown method '{method}'.")
        key = hub.keys.known(params.get("apiKey"), trading=method in TRADING)
        hub.keys.check(key, params, _signed_text(params))
        if method == SUBSCRIBE:
            return self._subscribed()
        return hub.api.run(method, params)

    def _subscribed(self) -> JsonObject:
        hub = self._hub
        hub.exchange.settle(hub.clock.now_ms())
        if self._subscription is None:
            self._subscription = self._subscriptions
            self._subscriptions += 1
            self._sent_events = len(hub.exchange.ledger.events)
        return {"subscriptionId": self._subscription}

    def _unsubscribed(self) -> JsonObject:
        self._subscription = None
        return {}


def _signed_text(params: dict[str, str]) -> str:
    """Return what a WebSocket request is signed over: the parameters by name, but the signature."""
    names = sorted(name for name in params if name != "signature")
    return "&".join(f"{name}={params[name]}" for name in names)


def _text_params(params: object) -> dict[str, str]:
    if params is None:
        return {}
    if not isinstance(params, dict):
        raise Refusal(-1102, "Mandatory parameter 'params' was malformed.")
    found = cast("dict[str, object]", params)
    return {name: _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parsed(text: str) -> JsonObject:
    try:
        request = cast("object", json.loads(text))
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise Refusal(-1000, "Request must be a JSON object.")
    return cast("JsonObject", request)
