"""Own trades are read from several pages completely and once, under any paging."""

import asyncio
import json
import time
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest
from msgspec import structs

from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import get_dialect
from onetape.exchange.own_trades import find_next_position, iterate_time_windows
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials, OrderRequest
from onetape.simulator.embedded import embedded_simulator
from order_server import NOW_MS, OrderServer, ServerResponse, make_market

DAY_MS = 86_400_000
ORDER = "da8e4ad59b78481c93e589746b0cf91f"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def buy() -> OrderRequest:
    return OrderRequest(uuid4().hex, "BTC/USDT", "buy", Decimal("0.01"), now_ms())


def test_row_61_trades_of_several_pages_are_complete_and_unique() -> None:
    async def work(url: str) -> None:
        # Two trades on each page.
        dialect = structs.replace(get_dialect("simulator"), trades_limit=2)
        endpoint, key = Endpoint("simulator", url), Credentials("simulator", "simulator")
        async with PrivateClient(endpoint, key, now_ms=now_ms, dialect=dialect) as client:
            await client.load_markets()
            sent = [await client.submit(buy()) for _ in range(5)]
            own = [trade.trade_id for one in sent for trade in one.trades]
            assert len(own) >= 5
            since = now_ms() - 600_000
            found = await client.fetch_fills("BTC/USDT", since_ms=since)
            assert [trade.trade_id for trade in found] == own
            number = sent[2].exchange_order_id
            one = await client.fetch_fills("BTC/USDT", since_ms=since, exchange_order_id=number)
            assert one == sent[2].trades

    with embedded_simulator(balance={"USDT": Decimal(100_000)}) as simulator:
        asyncio.run(work(simulator.url))


def test_an_acknowledgement_without_status_and_fills_is_an_open_order_to_look_up() -> None:
    async def work() -> None:
        document = {"symbol": "BTCUSDT", "orderId": 28, "clientOrderId": ORDER}
        response = ServerResponse(json.dumps(document).encode())
        async with (
            OrderServer(lambda _, __: response) as server,
            PrivateClient(
                Endpoint("simulator", server.url), Credentials("k", "s"), now_ms=lambda: NOW_MS
            ) as client,
        ):
            client._client.set_markets([make_market("BTCUSDT")])  # pyright: ignore[reportPrivateUsage]
            request = OrderRequest(ORDER, "BTC/USDT", "sell", Decimal("0.0123"), NOW_MS)
            sent = await client.submit(request)
            assert (sent.exchange_order_id, sent.status, sent.filled) == ("28", "open", None)
            assert (sent.side, sent.symbol) == ("sell", "BTC/USDT")

    asyncio.run(work())


#: Rows as CCXT has read them, a response, how many rows were read by then, and the next page.
PAGES: dict[str, tuple[str, list[dict[str, Any]], Any, int, str | None]] = {
    "binance, full": ("binance", [{"id": str(one)} for one in range(1_000)], [], 1_000, "999"),
    "binance, last": ("binance", [{"id": "1"}], [], 1, None),
    "kraken, more": ("kraken", [{"id": "a"}] * 50, {"result": {"count": 120}}, 50, "50"),
    "kraken, last": ("kraken", [{"id": "a"}] * 20, {"result": {"count": 120}}, 120, None),
    "kraken, empty": ("kraken", [], {"result": {"count": 120}}, 50, None),
    "okx, full": ("okx", [{"id": "7", "info": {"billId": "b7"}}] * 100, {}, 100, "b7"),
    "okx, last": ("okx", [{"id": "7", "info": {"billId": "b7"}}], {}, 1, None),
    "bybit, more": ("bybit", [{"id": "a"}], {"result": {"nextPageCursor": "c%3D"}}, 1, "c%3D"),
    "bybit, last": ("bybit", [{"id": "a"}], {"result": {"nextPageCursor": ""}}, 1, None),
    "coinbase, more": ("coinbase", [{"id": "a"}], {"fills": [], "cursor": "789"}, 1, "789"),
    "coinbase, last": ("coinbase", [{"id": "a"}], {"fills": [], "cursor": ""}, 1, None),
}


@pytest.mark.parametrize("name", list(PAGES))
def test_the_next_page_begins_where_the_exchange_states(name: str) -> None:
    exchange, rows, document, read, expected = PAGES[name]
    assert find_next_position(get_dialect(exchange), rows, json.dumps(document), read) == expected


def test_bybits_times_are_cut_into_ranges_that_meet() -> None:
    since = NOW_MS - 16 * DAY_MS
    found = list(iterate_time_windows(get_dialect("bybit"), since, NOW_MS))
    assert [first for first, _ in found] == [since, since + 7 * DAY_MS, since + 14 * DAY_MS]
    assert [last for _, last in found] == [first + 7 * DAY_MS for first, _ in found]
    assert list(iterate_time_windows(get_dialect("binance"), since, NOW_MS)) == [(since, None)]


def test_krakens_pages_are_read_until_its_count_is_reached() -> None:
    """Its response counts all trades and holds fifty of them."""
    trades = {
        f"T{number:03}": {
            "ordertxid": "O-1", "pair": "XXBTZUSD", "time": NOW_MS / 1_000 + number, "type": "buy",
            "ordertype": "market", "price": "100.0", "cost": "1.0", "fee": "0.0", "vol": "0.01",
        }
        for number in range(120)
    }  # fmt: skip
    requested: list[str] = []

    def script(_: str, request: str) -> ServerResponse:
        target, _, body = request.partition(" ")
        values = dict(parse_qsl(body) + parse_qsl(urlsplit(target).query))
        requested.append(values.get("ofs", ""))
        begin = int(values.get("ofs", 0))
        page = dict(list(trades.items())[::-1][begin : begin + 50])
        return ServerResponse(
            json.dumps({"error": [], "result": {"count": 120, "trades": page}}).encode()
        )

    async def work() -> None:
        async with (
            OrderServer(script) as server,
            PrivateClient(
                Endpoint("kraken"), Credentials("k", "c2VjcmV0c2VjcmV0"), now_ms=lambda: NOW_MS
            ) as client,
        ):
            inner: Any = client._client  # pyright: ignore[reportPrivateUsage]
            inner.set_markets([make_market("XXBTZUSD")])
            inner.urls["api"] = dict.fromkeys(inner.urls["api"], server.url)
            found = await client.fetch_fills("BTC/USDT", since_ms=NOW_MS)
            assert [one.trade_id for one in found] == sorted(trades)

    asyncio.run(work())
    assert requested == ["", "50", "100"]
