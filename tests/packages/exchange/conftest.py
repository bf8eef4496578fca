"""The simulator at a fixed time, and a server whose responses a test sets."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import pytest

from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from wall_clocks import QuickWall

T = TypeVar("T")
#: 2024-03-01 00:20 UTC: twenty minutes into an hour.
NOW_MS = 1_709_252_400_000
#: No test waits longer for anything.
MAX_WAIT_SECONDS = 180.0
Query = dict[str, str]


@dataclass(frozen=True)
class ScriptedResponse:
    """What the server sends: a status, a body and, of the body, only a part if `cut` is set."""

    body: Any = "[]"
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    cut: bool = False

    def payload(self) -> bytes:
        body: object = self.body
        return (body if isinstance(body, str) else json.dumps(body)).encode()


Script = Callable[[Query], ScriptedResponse]


class ScriptedServer(ThreadingHTTPServer):
    """Serves klines by a script, with a stopped clock and the markets of the simulator."""

    daemon_threads = True

    def __init__(self, exchange_info: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fixed = {
            "/simulator/clock": json.dumps(
                {"market_ms": NOW_MS, "speed": 0, "kind": "stepped", "seed": 7}
            ).encode(),
            "/api/v3/time": json.dumps({"serverTime": NOW_MS}).encode(),
            "/api/v3/exchangeInfo": exchange_info,
        }
        self.script: Script = lambda _: ScriptedResponse()
        self.requested: list[Query] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("simulator", self.url)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("ScriptedServer", self.server)
        parts = urlsplit(self.path)
        fixed = server.fixed.get(parts.path)
        if fixed is not None:
            self._send(ScriptedResponse(), fixed)
            return
        query = dict(parse_qsl(parts.query))
        server.requested.append(query)
        response = server.script(query)
        self._send(response, response.payload())

    def _send(self, response: ScriptedResponse, payload: bytes) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(payload) * (2 if response.cut else 1)))
        self.send_header("Connection", "close")
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent."""


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    clock = make_clock(start_ms=NOW_MS, stepped=True)
    with embedded_simulator(clock=clock) as simulator:
        yield simulator.url


@pytest.fixture(scope="session")
def _exchange_info(simulator_url: str) -> bytes:
    with urllib.request.urlopen(f"{simulator_url}/api/v3/exchangeInfo") as response:  # noqa: S310
        return response.read()


@pytest.fixture(scope="session")
def _server(_exchange_info: bytes) -> Generator[ScriptedServer]:
    with _serve(ScriptedServer(_exchange_info)) as listening:
        yield listening


@pytest.fixture
def server(_server: ScriptedServer) -> ScriptedServer:
    """Return the scripted server, which responds with an empty list by default."""
    _server.script = lambda _: ScriptedResponse()
    _server.requested.clear()
    return _server


@contextmanager
def _serve(server: ScriptedServer) -> Generator[ScriptedServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def run() -> Generator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Return a function that runs a coroutine for a bounded time, always in the same loop."""
    with asyncio.Runner() as runner:

        def bounded(work: Coroutine[Any, Any, T]) -> T:
            return runner.run(asyncio.wait_for(work, MAX_WAIT_SECONDS))

        yield bounded


@pytest.fixture(scope="session")
def call_exchange(
    run: Callable[[Coroutine[Any, Any, T]], T],
) -> Generator[Callable[[Endpoint, Callable[[RestExchange], Coroutine[Any, Any, T]]], T]]:
    """Return a function that sends requests to an exchange.

    Clients are kept from test to test: CCXT takes a quarter of a second to close one.
    """
    opened: dict[Endpoint, RestExchange] = {}

    def send(endpoint: Endpoint, work: Callable[[RestExchange], Coroutine[Any, Any, T]]) -> T:
        if endpoint not in opened:
            opened[endpoint] = RestExchange(endpoint, retry_seconds=4, wall=QuickWall(), seed=1)
        return run(work(opened[endpoint]))

    yield send

    async def close() -> None:
        await asyncio.gather(*(one.__aexit__(None, None, None) for one in opened.values()))

    run(close())  # pyright: ignore[reportArgumentType] - returns nothing
