"""The real WebSocket manager on a simulator, and on a server with scripted faults."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import ccxt.async_support
import pytest
from aiohttp import ClientSession, WSMsgType, web

from bounded_run import run_bounded
from onetape.core.clock import Clock, SystemClock
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.market.clock import make_clock
from onetape.simulator.server.simulator import Simulator
from onetape.websocket.events import CandleUpdate, StreamEvent
from onetape.websocket.websocket import WebSocketManager

T = TypeVar("T")
#: 2024-03-01 00:00 UTC, epoch milliseconds.
MARCH_MS = 1_709_251_200_000
#: Only a test that hangs takes so long, also on a busy machine.
MAX_WAIT_SECONDS = 180.0


class EventReader:
    """Reads a manager's events in a separate task and keeps them."""

    def __init__(self, manager: WebSocketManager, symbol: str, timeframe: str) -> None:
        self.manager = manager
        self.events: list[StreamEvent] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read(symbol, timeframe))

    async def _read(self, symbol: str, timeframe: str) -> None:
        try:
            async with aclosing(self.manager.events(symbol, timeframe)) as events:
                async for event in events:
                    self.events.append(event)
                    self._news.set()
        finally:
            self._news.set()

    async def until(self, found: Callable[[list[StreamEvent]], T | None]) -> T:
        """Wait until something is found among the events; an error of the stream is raised."""
        while True:
            what = found(self.events)
            if what:
                return what
            if self._task.done():
                await self._task
            self._news.clear()
            await self._news.wait()

    @property
    def candle_updates(self) -> list[CandleUpdate]:
        return [event for event in self.events if isinstance(event, CandleUpdate)]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class FaultyServer:
    """Responds to REST as the simulator does, and WebSockets only as a test sets it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.sockets: list[web.WebSocketResponse] = []
        self.dials = 0
        self.dial_status: int | None = None
        """Respond to handshakes with this HTTP status."""
        self.dial_headers: dict[str, str] = {}
        self.rest_status: int | None = None
        """Respond to REST requests with this HTTP status."""
        self.mute = False
        """Read nothing from a socket, so that not even a ping gets a response."""
        self._opened = asyncio.Event()
        self._dialled = asyncio.Event()
        self.url = ""

    async def send(self, *frames: object) -> None:
        """Send on the newest socket: text as it is, everything else as JSON."""
        for frame in frames:
            await self.sockets[-1].send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def send_until(self, has_arrived: Callable[[], object], frame: object) -> None:
        """Send a frame again and again on the newest socket, as any of them may be cut."""
        while not has_arrived():
            if self.sockets:
                with contextlib.suppress(ConnectionResetError):
                    await self.send(frame)
            await asyncio.sleep(0.02)

    async def wait_for_socket(self, count: int = 1) -> None:
        """Wait until a total number of sockets have been subscribed on."""
        while len(self.sockets) < count:
            self._opened.clear()
            await self._opened.wait()

    async def wait_for_dials(self, count: int) -> None:
        """Wait until the server was dialled a total number of times."""
        while self.dials < count:
            self._dialled.clear()
            await self._dialled.wait()

    async def rest(self, request: web.Request) -> web.Response:
        if self.rest_status is not None:
            return web.Response(status=self.rest_status)
        url = f"{self.simulator.url}{request.path_qs}"
        async with ClientSession() as session, session.get(url) as response:
            return web.Response(
                body=await response.read(), status=response.status, content_type="application/json"
            )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.dials += 1
        self._dialled.set()
        if self.dial_status is not None:
            return web.Response(status=self.dial_status, headers=self.dial_headers)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        # The two streams are subscribed to by one message, or by two.
        streams = 0
        while streams < 2:
            message = await socket.receive()
            if message.type is not WSMsgType.TEXT:
                return socket
            streams += len(json.loads(message.data)["params"])
        self.sockets.append(socket)
        self._opened.set()
        if self.mute:
            await asyncio.sleep(MAX_WAIT_SECONDS)
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def _run_faulty_server() -> AsyncGenerator[FaultyServer]:
    clock = make_clock(start_ms=MARCH_MS + 600_000, stepped=True)
    async with Simulator(clock=clock) as simulator:
        server = FaultyServer(simulator)
        app = web.Application()
        app.router.add_get("/stream/ws/{number}", server.stream)
        app.router.add_get("/{path:.*}", server.rest)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _open_manager(
    url: str,
    symbols: Sequence[str] = ("BTC/USDT",),
    *,
    stale_after_seconds: float = 30.0,
    clock: Clock | None = None,
    dial_file: Path | None = None,
) -> AsyncGenerator[WebSocketManager]:
    # Requesting the time waits, and the simulator responds in this very loop.
    exchange = await asyncio.to_thread(RestExchange, Endpoint("simulator", url))
    exchange.clock = clock or SystemClock()
    async with (
        exchange,
        WebSocketManager(
            exchange, symbols, stale_after_seconds=stale_after_seconds, dial_file=dial_file
        ) as manager,
    ):
        yield manager


@asynccontextmanager
async def _open_watch(
    url: str,
    *,
    timeframe: str = "1h",
    stale_after_seconds: float = 30.0,
    clock: Clock | None = None,
    dial_file: Path | None = None,
) -> AsyncGenerator[EventReader]:
    async with _open_manager(
        url, stale_after_seconds=stale_after_seconds, clock=clock, dial_file=dial_file
    ) as manager:
        stream = EventReader(manager, "BTC/USDT", timeframe)
        try:
            yield stream
        finally:
            await stream.stop()


def _make_kline(hour: int, close: float | str | None, **other: object) -> dict[str, Any]:
    """Return a kline event of Binance; `other` replaces or adds keys of `k`."""
    opened = MARCH_MS + hour * 3_600_000
    bar = {
        "t": opened, "T": opened + 3_599_999, "s": "BTCUSDT", "i": "1h", "f": 1, "L": 2,
        "o": "100", "c": close if close is None else str(close), "h": "200", "l": "50", "v": "7",
        "n": 2, "x": False, "q": "700", "V": "3", "Q": "300", "B": "0",
    }  # fmt: skip
    return {"e": "kline", "E": opened, "s": "BTCUSDT", "k": bar | other}


def _make_ticker(last: float) -> dict[str, Any]:
    """Return a ticker event of Binance."""
    text = str(last)
    return {
        "e": "24hrTicker", "E": MARCH_MS, "s": "BTCUSDT", "p": "0", "P": "0", "w": text, "x": text,
        "c": text, "Q": "1", "b": text, "B": "1", "a": text, "A": "1", "o": text, "h": text,
        "l": text, "v": "1", "q": "1", "O": MARCH_MS, "C": MARCH_MS, "F": 1, "L": 2, "n": 2,
    }  # fmt: skip


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return a function that runs a coroutine for a bounded time and expects nothing left behind.

    Whatever asyncio would only log (an exception that was not fetched) fails the test.
    """

    return lambda work: run_bounded(work, MAX_WAIT_SECONDS)


@pytest.fixture
def watching() -> Callable[..., AbstractAsyncContextManager[EventReader]]:
    """Return a function that watches BTC/USDT at an address."""
    return _open_watch


@pytest.fixture
def manager() -> Callable[..., AbstractAsyncContextManager[WebSocketManager]]:
    """Return a function that opens a manager at an address."""
    return _open_manager


@pytest.fixture
def run_faulty_server() -> Callable[[], AbstractAsyncContextManager[FaultyServer]]:
    """Return a function that starts the server that misbehaves."""
    return _run_faulty_server


@pytest.fixture
def stepped() -> Callable[[int], Simulator]:
    """Return a function that makes a simulator, stepped from a time in ms after March 2024."""
    return lambda after_ms: Simulator(clock=make_clock(start_ms=MARCH_MS + after_ms, stepped=True))


@pytest.fixture
def kline() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a kline event: hour after March 2024, close."""
    return _make_kline


@pytest.fixture
def ticker() -> Callable[[float], dict[str, Any]]:
    """Return a function that makes a ticker event with this last price."""
    return _make_ticker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten pauses that only matter to an exchange far away."""
    # CCXT sleeps in each close for the sake of TLS, which is not used here.
    monkeypatch.setattr(ccxt.async_support.Exchange, "timeout_on_exit", 10)
    monkeypatch.setattr("onetape.websocket.redial_pause.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("onetape.websocket.client.CLOSE_SECONDS", 0.5)
