"""Requests over the WebSocket API count as those over REST do, and are refused as Binance does."""

import asyncio
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.server import limits
from onetape.simulator.server.simulator import Simulator
from onetape.simulator.server.weights import DIAL_WEIGHT, get_method_weight
from wall_clocks import AdjustableSeconds

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001"}


@dataclass
class ApiSocket:
    """A socket of the WebSocket API, and the numbers of its requests."""

    simulator: Simulator
    socket: aiohttp.ClientWebSocketResponse
    numbers: Any = field(default_factory=itertools.count)

    async def ask(self, method: str, **params: str) -> Any:
        whole = {**params, "apiKey": "simulator", "timestamp": str(MARCH_MS)}
        text = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        seal = hmac.new(b"simulator", text.encode(), hashlib.sha256).hexdigest()
        number = next(self.numbers)
        request = {"id": number, "method": method, "params": {**whole, "signature": seal}}
        await self.socket.send_json(request)
        reply = json.loads(await self.socket.receive_str(timeout=60))
        assert reply["id"] == number
        return reply

    async def use(self, weight: int) -> None:
        """Use an amount of weight, a multiple of 20."""
        for _ in range(weight // 20):
            assert (await self.ask("account.status"))["status"] == 200


@asynccontextmanager
async def open_api_socket(
    clock: Clock, query: str = "", *, enforced: bool = True
) -> AsyncGenerator[ApiSocket]:
    async with (
        Simulator(clock=clock, limits=enforced) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/ws-api/v3{query}") as socket,
    ):
        yield ApiSocket(simulator, socket)


@pytest.mark.parametrize(
    ("method", "params", "weight"),
    [
        ("ping", {}, 1),
        ("account.status", {}, 20),
        ("order.place", BUY, 1),
        ("order.test", BUY, 1),
        ("order.test", {**BUY, "computeCommissionRates": "true"}, 20),
        ("order.status", {}, 4),
        ("order.cancel", {}, 1),
        ("openOrders.status", {}, 80),
        ("openOrders.status", {"symbol": "BTCUSDT"}, 6),
        ("openOrders.cancelAll", {}, 1),
        ("myTrades", {}, 20),
        ("userDataStream.subscribe.signature", {}, 2),
    ],
)
def test_a_method_has_the_same_weight_as_at_binance(
    method: str, params: dict[str, str], weight: int
) -> None:
    assert get_method_weight(method, params) == weight


def list_limit_counts(reply: Any) -> list[tuple[str, str, int]]:
    return [(one["rateLimitType"], one["interval"], one["count"]) for one in reply["rateLimits"]]


def test_a_reply_shows_the_limits_that_its_request_counts_in(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with open_api_socket(stepped(0), enforced=False) as at:
            used = DIAL_WEIGHT + 1
            assert list_limit_counts(await at.ask("ping")) == [("REQUEST_WEIGHT", "MINUTE", used)]
            for orders in (1, 2):
                used += 1
                assert list_limit_counts(await at.ask("order.place", **BUY)) == [
                    ("ORDERS", "SECOND", orders),
                    ("ORDERS", "DAY", orders),
                    ("REQUEST_WEIGHT", "MINUTE", used),
                ]
            refused = await at.ask("order.place", **{**BUY, "quantity": "5"})
            assert refused["error"]["code"] == -2010
            assert list_limit_counts(refused)[0] == ("ORDERS", "SECOND", 2), (
                "refused orders do not count"
            )
            wall.now += 60
            assert list_limit_counts(await at.ask("account.status"))[0][2] == 20

    run(scene())


def test_rest_and_the_websocket_api_count_together(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    del wall

    async def scene() -> None:
        async with open_api_socket(stepped(0)) as at, aiohttp.ClientSession() as session:
            async with session.get(f"{at.simulator.url}/api/v3/exchangeInfo") as response:
                assert response.headers["X-MBX-USED-WEIGHT-1M"] == str(20 + DIAL_WEIGHT)
            assert list_limit_counts(await at.ask("ping"))[0][2] == 20 + DIAL_WEIGHT + 1

    run(scene())


def test_a_client_may_ask_for_replies_without_limits(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    del wall

    async def scene() -> None:
        async with open_api_socket(stepped(0), "?returnRateLimits=false") as at:
            assert set(await at.ask("ping")) == {"id", "status", "result"}
            assert "rateLimits" in await at.ask("ping", returnRateLimits="true")

    run(scene())


def test_beyond_the_weight_comes_429_with_the_time_to_wait_and_then_a_ban_that_disconnects(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with open_api_socket(stepped(0)) as at:
            wall.now += 23
            await at.use(5_980)
            refused = [await at.ask("account.status") for _ in range(limits.REFUSALS_BEFORE_BAN)]
            assert {one["status"] for one in refused} == {429}
            assert refused[0]["error"] == {
                "code": -1003,
                "msg": "Too much request weight used; current limit is 6000 request weight per 1 "
                "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
                "data": {"serverTime": MARCH_MS, "retryAfter": MARCH_MS + 37_000},
            }
            banned = await at.ask("ping")
            assert (banned["status"], banned["error"]["code"]) == (418, -1003)
            assert banned["error"]["data"]["retryAfter"] == MARCH_MS + 120_000
            end = await at.socket.receive(timeout=60)
            assert end.type is aiohttp.WSMsgType.CLOSE
            with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
                async with aiohttp.ClientSession() as session:
                    await session.ws_connect(f"{at.simulator.url}/ws-api/v3")
            assert failure.value.status == 418

    run(scene())


def test_too_many_orders_are_refused_until_the_window_ends(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with open_api_socket(stepped(0)) as at:
            wall.now += 4
            for _ in range(100):
                assert (await at.ask("order.place", **BUY))["status"] == 200
            refused = await at.ask("order.place", **BUY)
            assert refused["status"] == 429
            assert refused["error"] == {
                "code": -1015,
                "msg": "Too many new orders; current limit is 100 orders per 10 SECOND.",
                "data": {"serverTime": MARCH_MS, "retryAfter": MARCH_MS + 6_000},
            }
            wall.now += 6
            assert (await at.ask("order.place", **BUY))["status"] == 200

    run(scene())


def test_pings_are_limited_by_their_number_and_requests_are_not(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    del wall

    async def scene() -> None:
        async with open_api_socket(stepped(0)) as at:
            for _ in range(20):
                assert (await at.ask("ping"))["status"] == 200
            await asyncio.gather(*(at.socket.ping() for _ in range(6)))
            end = await at.socket.receive(timeout=60)
            assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1008)

    run(scene())
