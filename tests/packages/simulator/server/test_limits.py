"""Limits of weight, orders, dials and messages; bans; the end of a socket after a day."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.server import limits
from onetape.simulator.server.exchange_info import RATE_LIMITS
from onetape.simulator.server.limits import get_rates
from onetape.simulator.server.simulator import Simulator
from onetape.simulator.server.weights import get_request_weight
from wall_clocks import AdjustableSeconds

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
HOUR_MS = 3_600_000
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
HEAVY = "/api/v3/ticker/24hr"


async def send_request(
    session: aiohttp.ClientSession, simulator: Simulator, path: str, method: str = "GET"
) -> tuple[int, dict[str, str], Any]:
    async with session.request(method, simulator.url + path) as response:
        return response.status, dict(response.headers), await response.json(content_type=None)


@pytest.mark.parametrize(
    ("method", "path", "query", "weight"),
    [
        ("GET", "ping", {}, 1),
        ("GET", "exchangeInfo", {}, 20),
        ("GET", "klines", {"symbol": "BTCUSDT"}, 2),
        ("GET", "depth", {"limit": "100"}, 5),
        ("GET", "depth", {"limit": "5000"}, 250),
        ("GET", "ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("GET", "ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'}, 2),
        ("GET", "ticker/24hr", {}, 80),
        ("GET", "ticker/price", {}, 4),
        ("GET", "openOrders", {}, 80),
        ("GET", "openOrders", {"symbol": "BTCUSDT"}, 6),
        ("GET", "myTrades", {"symbol": "BTCUSDT"}, 20),
        ("POST", "order", {"symbol": "BTCUSDT"}, 1),
        ("GET", "order", {"symbol": "BTCUSDT"}, 4),
    ],
)
def test_a_request_has_the_same_weight_as_at_binance(
    method: str, path: str, query: dict[str, str], weight: int
) -> None:
    assert get_request_weight(method, f"/api/v3/{path}", query) == weight


def test_the_limits_are_those_of_exchange_info() -> None:
    stated = {
        (one.kind, one.unit, one.count, one.limit)
        for kind in ("REQUEST_WEIGHT", "ORDERS", "RAW_REQUESTS")
        for one in get_rates(kind)
    }
    assert len(stated) == len(RATE_LIMITS)
    assert ("REQUEST_WEIGHT", "MINUTE", 1, 6_000) in stated


def test_the_used_weight_is_reported_and_nothing_is_refused_without_limits(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator, aiohttp.ClientSession() as session:
            await send_request(session, simulator, "/api/v3/exchangeInfo")
            _, headers, _ = await send_request(session, simulator, "/api/v3/exchangeInfo")
            assert headers["X-MBX-USED-WEIGHT"] == headers["X-MBX-USED-WEIGHT-1M"] == "40"
            wall.now += 60
            _, headers, _ = await send_request(session, simulator, "/api/v3/ping")
            assert headers["X-MBX-USED-WEIGHT-1M"] == "1"
            statuses = [(await send_request(session, simulator, HEAVY))[0] for _ in range(80)]
            assert set(statuses) == {200}
            _, headers, _ = await send_request(session, simulator, "/api/v3/ping")
            assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 6_000

    run(scene())


def test_beyond_the_limit_comes_429_then_a_ban_that_grows(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0), limits=True) as simulator,
            aiohttp.ClientSession() as session,
        ):
            wall.now += 23
            for _ in range(75):
                assert (await send_request(session, simulator, HEAVY))[0] == 200
            status, headers, body = await send_request(session, simulator, "/api/v3/ping")
            assert (status, headers["Retry-After"]) == (429, "37")
            assert body == {
                "code": -1003,
                "msg": "Too much request weight used; current limit is 6000 request weight per 1 "
                "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
            }
            for _ in range(limits.REFUSALS_BEFORE_BAN - 1):
                assert (await send_request(session, simulator, "/api/v3/ping"))[0] == 429
            for ban_seconds in (120, 240):
                status, headers, body = await send_request(session, simulator, "/api/v3/ping")
                assert (status, headers["Retry-After"]) == (418, str(ban_seconds))
                until_ms = MARCH_MS + ban_seconds * 1_000
                assert body["msg"].startswith(
                    f"Way too much request weight used; IP banned until {until_ms}."
                )
                wall.now += ban_seconds
                for _ in range(75):
                    assert (await send_request(session, simulator, HEAVY))[0] == 200
                for _ in range(limits.REFUSALS_BEFORE_BAN):
                    assert (await send_request(session, simulator, "/api/v3/ping"))[0] == 429

    run(scene())


def test_a_client_that_waits_for_the_stated_time_is_served_again(
    run: Run, stepped: Stepped, wall: AdjustableSeconds
) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0), limits=True) as simulator,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(75):
                await send_request(session, simulator, HEAVY)
            status, headers, _ = await send_request(session, simulator, "/api/v3/ping")
            assert status == 429
            wall.now += int(headers["Retry-After"])
            assert (await send_request(session, simulator, "/api/v3/ping"))[0] == 200

    run(scene())


def test_the_301st_dial_in_five_minutes_is_refused(
    run: Run, stepped: Stepped, wall: AdjustableSeconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_DIALS", 3)

    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0), limits=True) as simulator,
            aiohttp.ClientSession() as session,
        ):
            for _ in range(3):
                socket = await session.ws_connect(f"{simulator.url}/ws")
                await socket.close()
                wall.now += 1
            with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
                await session.ws_connect(f"{simulator.url}/ws")
            assert failure.value.status == 429
            headers = failure.value.headers
            assert headers is not None
            assert headers["Retry-After"] == "297"
            wall.now += 297
            await (await session.ws_connect(f"{simulator.url}/ws")).close()

    run(scene())


@pytest.mark.parametrize(("enforced", "ends"), [(True, True), (False, False)])
def test_more_than_five_messages_a_second_end_a_socket(
    run: Run, stepped: Stepped, wall: AdjustableSeconds, enforced: bool, ends: bool
) -> None:
    del wall

    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0), limits=enforced) as simulator,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{simulator.url}/ws") as socket,
        ):
            for number in range(6):
                await socket.send_str(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            messages = [await socket.receive(timeout=60) for _ in range(6)]
            assert (messages[-1].type is aiohttp.WSMsgType.CLOSE) is ends
            if ends:
                assert (messages[-1].data, messages[-1].extra) == (1008, "Too many requests")

    run(scene())


def test_a_socket_gets_a_notice_of_its_end_and_ends_after_a_day_of_market_time(
    run: Run, stepped: Stepped
) -> None:
    async def scene() -> Any:
        async with (
            Simulator(clock=stepped(0), limits=True) as simulator,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{simulator.url}/ws/btcusdt@kline_1d") as socket,
        ):
            await socket.receive(timeout=60)
            notice_ms = MARCH_MS + 24 * HOUR_MS - 600_000
            steps = asyncio.ensure_future(simulator.advance_to_ms(notice_ms))
            reported = json.loads((await socket.receive(timeout=60)).data)
            await steps
            assert reported == {"e": "serverShutdown", "E": notice_ms}
            await socket.receive(timeout=60)
            steps = asyncio.ensure_future(simulator.advance_to_ms(MARCH_MS + 24 * HOUR_MS))
            end = await socket.receive(timeout=60)
            await steps
            return end.type, end.data

    assert run(scene()) == (aiohttp.WSMsgType.CLOSE, 1001)
