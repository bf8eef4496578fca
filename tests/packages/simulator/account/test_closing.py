"""Open orders when trading stops: a delisting, an outage, maintenance."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from onetape.core.clock import Clock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.outages import Outage, compute_minute_index, make_outages
from onetape.simulator.market.price_path import ORIGIN_SECONDS
from onetape.simulator.market.symbols import SYMBOLS

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC, BCC = "BTC/USDT", "BCC/USDT"
#: The seed of the scene.
SEED = 3
(CLOSING,) = (symbol for symbol in SYMBOLS if symbol.delisted is not None)
CLOSED_MS = (CLOSING.delisted or 0) * 1_000


def make_clock_at(start_ms: int) -> Clock:
    return make_clock(start_ms=start_ms, stepped=True)


def compute_minute_ms(minute: int) -> int:
    return (ORIGIN_SECONDS + 60 * minute) * 1_000


def scale_to_cents(price: Decimal, factor: str) -> float:
    return float((price * Decimal(factor)).quantize(Decimal("0.01")))


async def place_three_orders(at: Any) -> list[str]:
    """Place a purchase, a sale and a stop that no price of the next minutes reaches."""
    last = await at.last(BCC)
    stop = {"stopLossPrice": scale_to_cents(last, "0.5")}
    placed = [
        await at.client.create_order(BCC, "limit", "buy", 1, scale_to_cents(last, "0.5")),
        await at.client.create_order(BCC, "limit", "sell", 2, scale_to_cents(last, "2")),
        await at.client.create_order(BCC, "market", "sell", 3, None, stop),
    ]
    return [order["id"] for order in placed]


def test_open_orders_of_a_delisted_market_expire_and_free_their_money(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(clock=make_clock_at(CLOSED_MS - 600_000), BCC="9", USDT="5000") as at:
            client = at.client
            assert (await client.load_markets())[BCC]["active"]
            ids = await place_three_orders(at)
            assert (await client.fetch_balance())["BCC"]["used"] == 5
            await at.step(660)
            orders = [await client.fetch_order(number, BCC) for number in ids]
            assert [order["status"] for order in orders] == ["expired"] * 3
            assert {order["lastUpdateTimestamp"] for order in orders} == {CLOSED_MS}
            assert await client.fetch_open_orders(BCC) == []
            balance = await client.fetch_balance()
            assert (balance["BCC"]["free"], balance["USDT"]["free"]) == (9, 5_000)
            assert not (await client.load_markets(reload=True))[BCC]["active"]

    run(play())


def test_a_delisted_market_takes_no_new_order_and_no_cancel(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(clock=make_clock_at(CLOSED_MS - 600_000), BCC="9", USDT="5000") as at:
            await at.client.load_markets()
            number = (await place_three_orders(at))[0]
            await at.step(600)
            with pytest.raises(ccxt.MarketClosed, match="Market is closed"):
                await at.client.create_order(BCC, "limit", "sell", 1, 500)
            assert json.loads(at.client.last_http_response)["code"] == -2010
            with pytest.raises(ccxt.OrderNotFound, match="Unknown order sent"):
                await at.client.cancel_order(number, BCC)

    run(play())


def test_the_user_data_stream_reports_orders_that_a_delisting_ended(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(
            pro=True, clock=make_clock_at(CLOSED_MS - 600_000), BCC="9", USDT="5000"
        ) as at:
            await at.client.load_markets()
            await at.client.ensure_user_data_stream_ws_subscribe_signature("spot")
            reported: dict[str, str] = {}

            async def watch() -> None:
                while set(reported.values()) != {"expired"} or len(reported) < 3:
                    for order in await at.client.watch_orders(BCC):
                        reported[order["id"]] = order["status"]

            watching = asyncio.create_task(watch())
            ids = await place_three_orders(at)
            await at.step(600)
            await watching
            assert reported == dict.fromkeys(ids, "expired")
            last = at.ledger.events[-2:]
            assert [event["e"] for event in last] == ["executionReport", "outboundAccountPosition"]
            assert (last[0]["x"], last[0]["X"], last[0]["E"]) == ("EXPIRED", "EXPIRED", CLOSED_MS)

    run(play())


def test_fills_of_other_markets_before_and_after_a_delisting_are_booked_in_order(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(
            clock=make_clock_at(CLOSED_MS - 600_000), BCC="9", USDT="50000", BTC="50"
        ) as at:
            await at.client.load_markets()
            await place_three_orders(at)
            price = scale_to_cents(await at.last(BTC), "1.0001")
            await at.client.create_order(BTC, "limit", "sell", 40, price)
            await at.step(86_400)
            await at.client.fetch_open_orders(BTC)
            times = [row["time_ms"] for row in at.ledger.orders]
            assert times == sorted(times)
            assert times[-1] > CLOSED_MS

    run(play())


@pytest.fixture(scope="module")
def outage() -> Outage:
    """Return an outage of the scene's market that begins with minutes without a trade."""
    return next(
        one
        for one in make_outages(SEED)
        if one.halt > compute_minute_index(SYMBOLS[0].listed) and one.start - one.halt > 30
    )


def test_orders_are_refused_in_an_outage_and_open_ones_survive_it_and_fill_after(
    run: Run, scene: Opened, outage: Outage
) -> None:
    async def play() -> None:
        async with scene(clock=make_clock_at(compute_minute_ms(outage.start) - 60_000)) as at:
            client = at.client
            await client.load_markets()
            price = scale_to_cents(await at.last(), "1.0001")
            placed = await client.create_order(BTC, "limit", "sell", 0.001, price)
            await at.step(120)
            for kind in ("market", "limit"):
                with pytest.raises(ccxt.MarketClosed, match="Market is closed"):
                    await client.create_order(BTC, kind, "sell", 0.001, price)
            assert [one["id"] for one in await client.fetch_open_orders(BTC)] == [placed["id"]]
            assert (await client.fetch_balance())["BTC"]["used"] == 0.001
            await at.simulator.advance_to_ms(compute_minute_ms(outage.end) - 1)
            assert (await client.fetch_order(placed["id"], BTC))["filled"] == 0
            await at.step(86_400)
            (fill,) = await client.fetch_my_trades(BTC)
            assert fill["timestamp"] >= compute_minute_ms(outage.end)
            assert (await client.fetch_order(placed["id"], BTC))["status"] == "closed"
            assert (await client.create_order(BTC, "market", "sell", 0.001))["status"] == "closed"

    run(play())


def test_an_open_order_can_be_cancelled_in_an_outage(
    run: Run, scene: Opened, outage: Outage
) -> None:
    async def play() -> None:
        async with scene(clock=make_clock_at(compute_minute_ms(outage.start) - 60_000)) as at:
            await at.client.load_markets()
            price = scale_to_cents(await at.last(), "1.1")
            placed = await at.client.create_order(BTC, "limit", "sell", 0.001, price)
            await at.step(120)
            assert (await at.client.cancel_order(placed["id"], BTC))["status"] == "canceled"
            assert (await at.client.fetch_balance())["BTC"]["used"] == 0

    run(play())


def test_maintenance_refuses_everything_and_leaves_open_orders_as_they_are(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            far = scale_to_cents(await at.last(), "1.5")
            resting = await client.create_order(BTC, "limit", "sell", 0.001, far)
            at.simulator.faults.add(kind="maintenance")
            attempts = (
                lambda: client.create_order(BTC, "market", "buy", 0.001),
                lambda: client.cancel_order(resting["id"], BTC),
                lambda: client.fetch_open_orders(BTC),
            )
            for attempt in attempts:
                with pytest.raises(ccxt.ExchangeNotAvailable):
                    await attempt()
            await at.step(600)
            at.simulator.faults.clear()
            assert [one["id"] for one in await client.fetch_open_orders(BTC)] == [resting["id"]]
            assert [row["event"] for row in at.ledger.orders] == ["NEW"]
            near = scale_to_cents(await at.last(), "1.0001")
            placed = await client.create_order(BTC, "limit", "sell", 0.001, near)
            await at.step(86_400)
            assert (await client.fetch_order(placed["id"], BTC))["status"] == "closed"

    run(play())


@pytest.mark.parametrize(("kind", "ends"), [("halted", "NEW"), ("delisted", "EXPIRED")])
def test_a_fault_that_stops_a_market_fills_no_order_and_a_delisting_ends_it(
    run: Run, scene: Opened, kind: str, ends: str
) -> None:
    async def play() -> None:
        async with scene() as at:
            client = at.client
            await client.load_markets()
            price = scale_to_cents(await at.last(), "1.00001")
            await client.create_order(BTC, "limit", "sell", 0.001, price)
            at.simulator.faults.add(kind=kind, symbol=BTC)
            began_ms = at.now_ms
            await at.step(86_400)
            used = (await client.fetch_balance())["BTC"]["used"]
            assert used == (0 if kind == "delisted" else 0.001)
            row = at.ledger.orders[-1]
            assert (row["event"], row["time_ms"]) == (ends, began_ms)
            at.simulator.faults.clear()
            await at.step(86_400)
            fills = await client.fetch_my_trades(BTC)
            halted = kind == "halted"
            assert len(fills) == halted
            assert all(fill["timestamp"] > began_ms + 86_400_000 for fill in fills)

    run(play())
