"""A server on loopback that responds to private requests by a script, and real CCXT clients."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import ccxt.async_support as ccxt_async

from onetape.exchange.dialects import get_dialect
from onetape.exchange.request_tap import RequestTap

#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000
NAMES = {
    "binance": "BTCUSDT", "kraken": "XXBTZUSD", "okx": "BTC-USDT", "bybit": "BTCUSDT",
    "coinbase": "BTC-USDT",
}  # fmt: skip


class ServerResponse(NamedTuple):
    """Response of the server to one request."""

    body: bytes
    status: int = 200
    ending: str = "whole"
    """whole, cut (the body ends early), reset (no response at all)."""


class OrderServer:
    """Sends the response that `script` returns for each request; the connection stays open."""

    def __init__(self, script: Callable[[str, str], ServerResponse]) -> None:
        self.script = script
        self.url = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "OrderServer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answered(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target = head.split(" ", 2)[:2]
        lengths = [line for line in head.split("\r\n") if line.lower().startswith("content-length")]
        body = await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b""
        response = self.script(method, f"{target} {body.decode()}")
        if response.ending == "reset":
            writer.transport.abort()
            return False
        length = len(response.body) + (50 if response.ending == "cut" else 0)
        writer.write(
            f"HTTP/1.1 {response.status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
            + response.body
        )
        await writer.drain()
        return response.ending == "whole"


@asynccontextmanager
async def open_private_client(
    exchange: str, url: str, *, before: Callable[[Any], None] | None = None, **settings: Any
) -> AsyncGenerator[RequestTap]:
    """Yield a tap on CCXT's unchanged class of an exchange, whose every address is `url`.

    Args:
        exchange: CCXT exchange id.
        url: Address of the test's server.
        before: Called with the client before the tap is put into it.
        settings: Settings of the client, in place of the usual ones.
    """
    client: Any = getattr(ccxt_async, exchange)(
        {
            "apiKey": "key",
            "secret": "c2VjcmV0c2VjcmV0",
            "password": "phrase",
            "enableRateLimit": False,
            "timeout": 10_000,
            "options": dict(get_dialect(exchange).client_options),
            **settings,
        }
    )
    client.timeout_on_exit = 0
    client.set_markets([make_market(NAMES[exchange])])
    client.options |= {"enableUnifiedMargin": False, "enableUnifiedAccount": True}
    redirect(client.urls["api"], url)
    if before is not None:
        before(client)
    try:
        yield RequestTap(client, lambda: NOW_MS)
    finally:
        await client.close()


def make_market(name: str) -> dict[str, Any]:
    """Return a spot market as CCXT has it."""
    return {
        "id": name, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC",
        "quoteId": "USDT", "type": "spot", "spot": True, "margin": False, "swap": False,
        "future": False, "option": False, "contract": False, "active": True, "linear": None,
        "inverse": None, "limits": {}, "precision": {"price": 0.01, "amount": 0.0001},
        "info": {"orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"]},
    }  # fmt: skip


def redirect(urls: dict[str, Any], url: str) -> None:
    """Let every address be the server's; the paths stay."""
    for name, value in urls.items():
        if isinstance(value, dict):
            redirect(value, url)  # pyright: ignore[reportUnknownArgumentType] - CCXT's own
        elif str(value).startswith("http"):
            path = str(value).split("://", 1)[1].partition("/")[2]
            urls[name] = f"{url}/{path}" if path else url
