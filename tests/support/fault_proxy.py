"""A proxy before the simulator that loses, delays and inserts responses and frames.

REST responds and WebSocket frames pass through it unchanged unless a switch is set.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from yarl import URL


class FaultProxy:
    """The proxy, an async context manager; `url` is its address."""

    def __init__(self, behind: str) -> None:
        """Stand before the simulator at `behind`."""
        self._behind = behind
        self._runner: web.AppRunner | None = None
        self._sockets: dict[web.WebSocketResponse, web.Request] = {}
        self.url = ""
        self.rest_is_down = False
        """Reset every REST connection."""
        self.rest_delay_seconds = 0.0
        """Delay of each REST response."""
        self.delayed_path = ""
        """End of the path of REST requests whose response is held back; empty: all requests."""
        self.hidden_candles: set[int] = set()
        """Opens, in milliseconds, of candles that REST responses leave out."""
        self.untraded_candles: set[int] = set()
        """Opens, in milliseconds, of candles that REST responses show without a trade."""
        self.hidden_market = ""
        """Binance's name of the market whose candles are left out, as ETHUSDT; empty: of all."""
        self.refuses_sockets = False
        """Reset every new WebSocket."""
        self.resets_new_sockets = False
        """Reset every new WebSocket right after its handshake."""
        self.is_half_open = False
        """Swallow everything on the WebSockets, pings too, and keep them open."""
        self.lets_pass: Callable[[dict[str, Any]], bool] = lambda _: True
        """Frames for which it returns False are dropped."""
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda frame: frame
        """Returns the frame to send in place of a frame; the same frame: unchanged."""
        self.delay_seconds: Callable[[dict[str, Any]], float] = lambda _: 0.0
        """Delay of each frame; equal delays keep the frames of a stream in order."""
        self._late: set[asyncio.Task[None]] = set()
        self.kline_requests: list[dict[str, str]] = []
        """The query of every request for candles, with a response or without."""
        self.signed_paths: list[str] = []
        """Path of every REST request with an API key or a signature."""
        self.commands: list[dict[str, Any]] = []
        """Every message that a program sent over a WebSocket."""
        self.dials = 0
        """WebSockets that were requested, refused ones included."""

    def cut(self) -> int:
        """Reset every WebSocket and return the number that were open."""
        cut = list(self._sockets.items())
        self._sockets.clear()
        for _, request in cut:
            if request.transport is not None:
                request.transport.abort()
        return len(cut)

    async def inject(self, frame: dict[str, Any] | str) -> None:
        """Send an additional frame on every socket."""
        text = frame if isinstance(frame, str) else json.dumps(frame)
        for socket in list(self._sockets):
            await socket.send_str(text)

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        app = web.Application()
        app.router.add_get("/stream/ws/{number}", self._stream)
        app.router.add_get("/ws-api/v3", self._stream)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        self.refuses_sockets = True
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _rest(self, request: web.Request) -> web.Response:
        if request.path.endswith("/klines"):
            self.kline_requests.append(dict(request.query))
        if "X-MBX-APIKEY" in request.headers or "signature=" in request.query_string:
            self.signed_paths.append(request.path)
        if self.rest_is_down:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        # The query goes on as it was signed.
        url = URL(f"{self._behind}{request.raw_path}", encoded=True)
        body = await request.read()
        names = ("X-MBX-APIKEY", "Content-Type")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        async with (
            ClientSession() as session,
            session.request(request.method, url, data=body, headers=headers) as response,
        ):
            content = await response.read()
            if request.path.endswith(self.delayed_path):
                await asyncio.sleep(self.rest_delay_seconds)
            is_hidden = self.hidden_market in ("", request.query.get("symbol"))
            if request.path.endswith("/klines") and is_hidden and response.status == 200:
                content = self._change_candles(content)
            return web.Response(
                body=content, status=response.status, content_type="application/json"
            )

    def _change_candles(self, content: bytes) -> bytes:
        """Return a response with candles, without what this proxy hides."""
        if not self.hidden_candles and not self.untraded_candles:
            return content
        rows = [row for row in json.loads(content) if row[0] not in self.hidden_candles]
        for row in rows:
            if row[0] in self.untraded_candles:
                row[1:6] = [*([row[1]] * 4), "0"]
        return json.dumps(rows).encode()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.dials += 1
        if self.refuses_sockets:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        if self.resets_new_sockets:
            if request.transport is not None:
                request.transport.abort()
            return socket
        self._sockets[socket] = request
        try:
            async with self._upstream(request) as upstream:
                tasks = [
                    asyncio.create_task(self._up(socket, upstream)),
                    asyncio.create_task(self._down(upstream, socket)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._sockets.pop(socket, None)
            if request.transport is not None:
                request.transport.abort()
        return socket

    @asynccontextmanager
    async def _upstream(self, request: web.Request) -> AsyncGenerator[ClientWebSocketResponse]:
        url = f"{self._behind}{request.path_qs}"
        async with ClientSession() as session, session.ws_connect(url) as upstream:
            yield upstream

    async def _up(self, socket: web.WebSocketResponse, upstream: ClientWebSocketResponse) -> None:
        async for message in socket:
            if self.is_half_open:
                continue
            if message.type is WSMsgType.TEXT:
                self.commands.append(json.loads(message.data))
                await upstream.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)

    async def _down(self, upstream: ClientWebSocketResponse, socket: web.WebSocketResponse) -> None:
        async for message in upstream:
            if message.type is not WSMsgType.TEXT or self.is_half_open:
                continue
            frame = json.loads(message.data)
            if not self.lets_pass(frame):
                continue
            seconds = self.delay_seconds(frame)
            changed = self.change(frame)
            text = message.data if changed is frame else json.dumps(changed)
            if not seconds:
                await socket.send_str(text)
                continue
            late = asyncio.create_task(self._send_late(socket, text, seconds))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _send_late(self, socket: web.WebSocketResponse, text: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if socket in self._sockets:
            await socket.send_str(text)


def make_kline(open_ms: int, close: float | str, **other: object) -> dict[str, Any]:
    """Return a kline event of BTC/USDT 1h as Binance sends it; `other` replaces keys of `k`."""
    bar = {
        "t": open_ms, "T": open_ms + 3_599_999, "s": "BTCUSDT", "i": "1h", "f": 1, "L": 2,
        "o": str(close), "c": str(close), "h": str(close), "l": str(close), "v": "7", "n": 2,
        "x": False, "q": "700", "V": "3", "Q": "300", "B": "0",
    }  # fmt: skip
    return {"e": "kline", "E": open_ms, "s": "BTCUSDT", "k": bar | other}
