"""A simulator embedded in the program, or the one that already runs."""

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

import aiohttp
import pytest

from onetape.core.errors import ConfigurationError, ExchangeUnreachable
from onetape.simulator import embedded
from onetape.simulator.embedded import embedded_simulator, find_or_start_simulator, is_running
from onetape.simulator.market.clock import make_clock

#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


@contextmanager
def listen_as(response: bytes | None) -> Generator[str]:
    """Listen on a port as something that is not a simulator; None accepts and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(10_000)
                if response is not None:
                    connection.sendall(response)
                else:
                    connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def fetch_market_ms(url: str) -> int:
    with urllib.request.urlopen(f"{url}/simulator/clock", timeout=60) as response:  # noqa: S310 - loopback
        return json.loads(response.read())["market_ms"]


@pytest.fixture
def free_url(refusing_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an address where nothing listens, and let it be the usual one."""
    url = f"http://127.0.0.1:{refusing_port}"
    monkeypatch.setattr(embedded, "DEFAULT_URL", url)
    return url


def test_an_embedded_simulator_serves_while_the_block_lasts_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with embedded_simulator(clock=make_clock(start_ms=MARCH_MS, stepped=True)) as simulator:
        url = simulator.url
        assert fetch_market_ms(url) == MARCH_MS
    assert set(threading.enumerate()) <= before
    assert is_running(url) is False


def test_an_embedded_simulator_ends_after_an_error_in_the_block_and_with_open_sockets() -> None:
    before = set(threading.enumerate())

    async def scene() -> None:
        with embedded_simulator(clock=make_clock()) as simulator:
            async with aiohttp.ClientSession() as session:
                await session.ws_connect(f"{simulator.url}/ws/btcusdt@kline_1m")
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scene())
    assert set(threading.enumerate()) <= before


def test_an_embedded_simulator_is_stepped_and_disconnected_from_outside() -> None:
    with embedded_simulator(clock=make_clock(start_ms=MARCH_MS, stepped=True)) as simulator:
        simulator.advance_to_ms(MARCH_MS + 60_000)
        assert fetch_market_ms(simulator.url) == MARCH_MS + 60_000
        assert simulator.clock.now_ms() == MARCH_MS + 60_000
        assert simulator.disconnect() == 0


def test_a_port_in_use_is_reported_to_the_caller() -> None:
    before = set(threading.enumerate())
    with embedded_simulator() as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigurationError, match="in use"), embedded_simulator(port=port):
            pass
    assert set(threading.enumerate()) <= before


def test_a_running_simulator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_simulator() as running:
        monkeypatch.setattr(embedded, "DEFAULT_URL", running.url)
        with find_or_start_simulator() as url:
            assert url == running.url
        with find_or_start_simulator(running.url + "/") as url:
            assert url == running.url


def test_without_one_an_embedded_one_is_started(free_url: str) -> None:
    with find_or_start_simulator(clock=make_clock(start_ms=MARCH_MS, stepped=True)) as url:
        assert url != free_url
        assert fetch_market_ms(url) == MARCH_MS
    assert is_running(url) is False


def test_an_address_that_was_given_is_not_replaced_by_another_market(free_url: str) -> None:
    with (
        pytest.raises(ExchangeUnreachable, match="uv run simulator --port"),
        find_or_start_simulator(free_url),
    ):
        pass


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"220 mail.example ready\r\n",
        b"",
        None,
    ],
)
def test_another_program_on_the_port_is_reported_as_such(
    response: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PROBE_SECONDS", 0.3)
    with listen_as(response) as url, pytest.raises(ConfigurationError, match="is not a simulator"):
        is_running(url)


@pytest.mark.parametrize("url", ["127.0.0.1:8790", "ftp://127.0.0.1", "http://", ""])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the address"):
        is_running(url)


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with embedded_simulator() as simulator:
        assert is_running(simulator.url)
