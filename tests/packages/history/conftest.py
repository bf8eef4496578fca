"""An exchange with the simulator's protocol, whose candles a test chooses."""

import asyncio
import json
import threading
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import pytest

from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock
from onetape.store.database import Store, open_store
from wall_clocks import QuickWall

T = TypeVar("T")
HOUR = 3_600
#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000
FORMING = NOW_MS // 1_000 - 20 * 60


class ChosenCandlesServer(ThreadingHTTPServer):
    """Serves chosen hours, each flat at its price, and records the requested times."""

    daemon_threads = True

    def __init__(self, exchange_info: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._exchange_info = exchange_info
        self.clear()

    def clear(self) -> None:
        """Remove all candles and reset the time."""
        self.now_ms = NOW_MS
        self.prices: dict[int, float] = {}
        self.requests = 0
        self.requested: list[int] = []
        """Requested times, epoch seconds."""
        self.response: Callable[[list[int], int, int], list[int]] = _select_from
        """Returns the opens of a response, given all opens, the requested time and the limit."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("simulator", f"http://127.0.0.1:{self.server_port}")

    def has(self, *hours_before: int, price: float = 100.0) -> None:
        """Add candles that opened these numbers of hours before the forming one."""
        self.prices |= {FORMING - hours * HOUR: price for hours in hours_before}

    def later(self, minutes: float) -> None:
        """Let market time pass; no candle opens meanwhile."""
        self.now_ms += int(minutes * 60_000)

    def fixed(self, path: str) -> bytes | None:
        """Return the body of a path that is not about candles."""
        clock = {"market_ms": self.now_ms, "speed": 0, "kind": "stepped", "seed": 7}
        bodies = {"/simulator/clock": json.dumps(clock).encode()}
        return {**bodies, "/api/v3/exchangeInfo": self._exchange_info}.get(path)

    def klines(self, since: int, limit: int) -> list[list[Any]]:
        self.requests += 1
        self.requested.append(since)
        opens = self.response(sorted(self.prices), since, limit)
        return [[opened * 1_000, *[str(self.prices[opened])] * 4, "1"] for opened in opens]


def _select_from(opens: list[int], since: int, limit: int) -> list[int]:
    """Respond as Binance does: the first candles at or after a time."""
    first = bisect_left(opens, since)
    return opens[first : first + limit]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("ChosenCandlesServer", self.server)
        parts = urlsplit(self.path)
        payload = server.fixed(parts.path)
        if payload is None:
            query = dict(parse_qsl(parts.query))
            rows = server.klines(int(query["startTime"]) // 1_000, int(query["limit"]))
            payload = json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent."""


@pytest.fixture(scope="session")
def _listening() -> Iterator[ChosenCandlesServer]:
    with (
        embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as simulator,
        urllib.request.urlopen(f"{simulator.url}/api/v3/exchangeInfo") as response,  # noqa: S310
    ):
        server = ChosenCandlesServer(response.read())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def exchange(_listening: ChosenCandlesServer) -> ChosenCandlesServer:
    """Return an exchange that has no candle yet."""
    _listening.clear()
    return _listening


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    with open_store(tmp_path / "simulator.db", create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def runner() -> Generator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Return a function that runs a coroutine for a bounded time, always in the same loop."""
    with asyncio.Runner() as one:
        yield lambda work: one.run(asyncio.wait_for(work, 60))


@pytest.fixture(scope="session")
def call_exchange(
    _listening: ChosenCandlesServer,
) -> Generator[Callable[[Callable[[RestExchange], Coroutine[Any, Any, T]]], T]]:
    """Return a function that works with a client of the exchange, kept from test to test."""
    with asyncio.Runner() as runner:
        with pytest.MonkeyPatch.context() as patch:
            # On a busy machine the clock would else take an old time for the moved one.
            patch.setattr("onetape.exchange.market_clock.TIMEOUT_SECONDS", 60.0)
            client = RestExchange(_listening.endpoint, retry_seconds=4, wall=QuickWall(), seed=1)

        def send(work: Callable[[RestExchange], Coroutine[Any, Any, T]]) -> T:
            return runner.run(asyncio.wait_for(work(client), 60))

        yield send
        runner.run(client.__aexit__(None, None, None))
