"""Responses that only other exchanges than Binance send, read by an account's client."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from onetape.exchange.clients import Endpoint
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials
from order_server import NAMES, NOW_MS, OrderServer, ServerResponse, make_market

STOP = "da8e4ad59b78481c93e589746b0cf91f"
Script = Callable[[str, str], ServerResponse]


@asynccontextmanager
async def account(exchange: str, script: Script) -> AsyncGenerator[PrivateClient]:
    """Yield the client of an account on an exchange that responds by a script."""
    key = Credentials("key", "c2VjcmV0c2VjcmV0", "phrase")
    async with (
        OrderServer(script) as server,
        PrivateClient(Endpoint(exchange), key, now_ms=lambda: NOW_MS) as client,
    ):
        inner: Any = client._client  # pyright: ignore[reportPrivateUsage]
        inner.set_markets([make_market(NAMES[exchange])])
        redirect_addresses(inner.urls, server.url)
        inner.timeout_on_exit = 0
        yield client


def redirect_addresses(urls: dict[str, Any], url: str) -> None:
    """Let every address be the server's."""
    urls["api"] = dict.fromkeys(urls["api"], url)


def make_response(*rows: dict[str, Any]) -> ServerResponse:
    return ServerResponse(json.dumps({"code": "0", "msg": "", "data": rows}).encode())


def test_a_fired_stop_of_okx_is_read_as_its_new_order() -> None:
    """Its fills belong to a new order, whose number the stop names."""
    stop = {
        "algoId": "681096944655273984", "algoClOrdId": STOP, "ordId": "", "instId": "BTC-USDT",
        "instType": "SPOT", "side": "sell", "ordType": "trigger", "sz": "0.01", "state": "live",
        "triggerPx": "60000", "orderPx": "-1", "cTime": str(NOW_MS), "uTime": str(NOW_MS),
    }  # fmt: skip
    sold = {
        "ordId": "77", "clOrdId": "", "algoId": "681096944655273984", "algoClOrdId": STOP,
        "instId": "BTC-USDT", "instType": "SPOT", "side": "sell", "ordType": "market", "sz": "0.01",
        "accFillSz": "0.01", "avgPx": "59990", "fillPx": "59990", "state": "filled", "px": "",
        "cTime": str(NOW_MS), "uTime": str(NOW_MS), "fee": "-0.6", "feeCcy": "USDT",
    }  # fmt: skip
    rows = {"/api/v5/trade/order-algo": stop, "/api/v5/trade/order": sold}

    def script(_: str, request: str) -> ServerResponse:
        return make_response(rows[urlsplit(request.split(" ")[0]).path])

    async def work() -> None:
        async with account("okx", script) as client:
            found = await client.look_up("BTC/USDT", STOP, since_ms=0, is_stop=True)
            assert found is not None
            assert (found.exchange_order_id, found.status) == ("681096944655273984", "open")
            stop.update(state="effective", ordId="77")
            found = await client.look_up("BTC/USDT", STOP, since_ms=0, is_stop=True)
            assert found is not None
            assert (found.exchange_order_id, found.client_order_id) == ("77", STOP)
            assert (found.status, found.filled) == ("closed", Decimal("0.01"))
            # An execution names the new order: it is known as ours by the stop's id.
            assert (await client.look_up_number("BTC/USDT", "77")).client_order_id == STOP

    asyncio.run(work())


def test_kraken_requests_are_sent_one_at_a_time_with_rising_nonces() -> None:
    nonces: list[int] = []

    def script(_: str, request: str) -> ServerResponse:
        nonces.append(int(dict(parse_qsl(request.partition(" ")[2]))["nonce"]))
        return ServerResponse(b'{"error": [], "result": {"open": {}, "closed": {}, "count": 0}}')

    async def work() -> None:
        async with account("kraken", script) as client:
            look = [client.look_up("BTC/USDT", STOP, since_ms=0) for _ in range(4)]
            assert await asyncio.gather(*look) == [None] * 4

    asyncio.run(work())
    assert len(nonces) == 8
    # The clock of the test stands still.
    assert nonces == sorted(set(nonces))
