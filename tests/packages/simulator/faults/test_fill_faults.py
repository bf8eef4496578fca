"""Fills that are lost, late or reported twice, as the unchanged CCXT Pro class passes them on."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
BTC = "BTC/USDT"
#: How late a fill is that comes after the next one's. The longer one is for a machine that stands
#: still before the next order.
LATE_SECONDS = (1.0, 10.0)


@asynccontextmanager
async def open_watching_client(
    faulty: Opened, shape: str, seconds: float
) -> AsyncGenerator[tuple[Simulator, Any]]:
    """Open a client that reads events of its account, with a fault of the second fill."""
    fault = Fault("fills", shape=shape, nth=2, seconds=seconds)
    async with faulty([fault], pro=True) as (simulator, client):
        client.apiKey = client.secret = "simulator"  # noqa: S105 - nothing is secret there
        client.milliseconds = simulator.clock.now_ms
        address = simulator.url.replace("http://", "ws://") + "/ws-api/v3"
        client.urls["api"]["ws"]["ws-api"]["spot"] = address
        await client.ensure_user_data_stream_ws_subscribe_signature("spot")
        yield simulator, client


async def buy_several(client: Any, times: int) -> None:
    for _ in range(times):
        await client.create_order(BTC, "market", "buy", 0.001)


async def buy_until_reported(
    client: Any, watch: Callable[..., Any], last: str
) -> list[dict[str, Any]]:
    """Buy three times, one after another; return the results of CCXT's calls up to the last."""
    reported: list[dict[str, Any]] = []

    async def listen() -> None:
        while not reported or reported[-1]["id"] != last or reported[-1]["status"] == "open":
            reported.extend(dict(one) for one in await watch(BTC))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await buy_several(client, 3)
    await listening
    return reported


async def collect_reported_trades(
    faulty: Opened, shape: str, last: str, seconds: float
) -> list[str]:
    async with open_watching_client(faulty, shape, seconds) as (_, client):

        async def watch(symbol: str) -> Any:
            return [{**one, "status": "closed"} for one in await client.watch_my_trades(symbol)]

        reported = [one["id"] for one in await buy_until_reported(client, watch, last)]
        assert [one["id"] for one in client.myTrades] == list(dict.fromkeys(reported))
        requested = await client.fetch_my_trades(BTC)
        assert [one["id"] for one in requested] == ["1", "2", "3"], "REST returns all of them"
        # A repeated frame is reported twice where a call of CCXT ended between the two.
        return list(dict.fromkeys(reported))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("lost", ["1", "3"]),
        ("delayed", ["1", "3", "2"]),
        ("reordered", ["1", "3", "2"]),
        # CCXT stores trades by their ids, so none is stored twice.
        ("duplicated", ["1", "2", "3"]),
    ],
)
def test_row_61_watch_my_trades_returns_the_expected_fills_for_each_fault(
    run: Run, faulty: Opened, shape: str, expected: list[str]
) -> None:
    found = (
        run(collect_reported_trades(faulty, shape, expected[-1], seconds))
        for seconds in (LATE_SECONDS if shape == "delayed" else LATE_SECONDS[:1])
    )
    assert any(ids == expected for ids in found)


async def collect_reported_orders(
    faulty: Opened, shape: str, last: str, seconds: float
) -> dict[str, list[str]]:
    """Return the states of each order as CCXT reported them."""
    async with open_watching_client(faulty, shape, seconds) as (_, client):
        reported = await buy_until_reported(client, client.watch_orders, last)
        states: dict[str, list[str]] = {}
        for one in reported:
            states.setdefault(one["id"], []).append(one["status"])
        requested = await client.fetch_orders(BTC)
        assert [one["status"] for one in requested] == ["closed"] * 3, "REST returns all of them"
        return states


@pytest.mark.parametrize(
    ("shape", "last", "ends"),
    [
        ("lost", "3", {"1": "closed", "2": "open", "3": "closed"}),
        ("delayed", "2", {"1": "closed", "2": "closed", "3": "closed"}),
        ("duplicated", "3", {"1": "closed", "2": "closed", "3": "closed"}),
    ],
)
def test_row_61_watch_orders_returns_the_expected_states_for_each_fault(
    run: Run, faulty: Opened, shape: str, last: str, ends: dict[str, str]
) -> None:
    found = (
        run(collect_reported_orders(faulty, shape, last, seconds))
        for seconds in (LATE_SECONDS if shape == "delayed" else LATE_SECONDS[:1])
    )
    assert any({order: states[-1] for order, states in each.items()} == ends for each in found)


def test_a_lost_fill_leaves_the_order_open_in_the_cache_of_ccxt(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        async with open_watching_client(faulty, "lost", LATE_SECONDS[0]) as (_, client):
            await buy_until_reported(client, client.watch_orders, "3")
            remembered = {one["id"]: one["status"] for one in client.orders}
            return remembered["2"], (await client.fetch_order("2", BTC))["status"]

    assert run(scene()) == ("open", "closed")
