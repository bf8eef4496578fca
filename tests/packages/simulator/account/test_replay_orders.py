"""Orders in a replay: they fill at prices inside the recorded candles."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import Replay, read_replay
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
#: 2024-03-01 00:00 UTC.
MARCH = 1_709_251_200
HOUR = 3_600
BTC = "BTC/USDT"
HELD = {"BTC": "10", "USDT": "5000"}
CANDLES = [
    Candle(MARCH, 100.0, 102.25, 98.5, 101.0, 40.5),
    Candle(MARCH + HOUR, 101.5, 110.75, 101.25, 109.5, 31.75),
    Candle(MARCH + 2 * HOUR, 109.5, 112.0, 90.25, 91.0, 77.125),
    # Opens far below where the last one ended.
    Candle(MARCH + 3 * HOUR, 80.0, 84.5, 79.25, 84.0, 52.0),
    Candle(MARCH + 5 * HOUR, 85.0, 120.0, 84.0, 119.0, 60.0),
]


@pytest.fixture(params=["csv", "database"])
def replay(request: pytest.FixtureRequest, tmp_path: Path) -> Replay:
    """Return the candles as read from a file of either kind."""
    if request.param == "csv":
        path = tmp_path / "x_BTC-USDT_1h_1.csv"
        rows = [",".join(map(repr, row)) for row in CANDLES]
        path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    else:
        path = tmp_path / "onetape.db"
        with open_store(path, create=True) as store:
            key = SeriesKey("binance", BTC, "1h")
            insert_closed_rows(store, key, CANDLES, source="rest", seen_ms=0)
    return read_replay(path)


def open_replay(scene: Opened, replay: Replay) -> AbstractAsyncContextManager[Any]:
    """Open the scene where the first candle ends and the second begins."""
    clock = make_clock(start_ms=(MARCH + HOUR) * 1_000, stepped=True)
    return scene(clock=clock, replay=replay, **HELD)


async def check_fills(at: Any) -> list[Any]:
    """Check that each fill is inside its candle and fills add up to the balances; return them."""
    fills = await at.client.fetch_my_trades(BTC)
    balance = {asset: Decimal(amount) for asset, amount in HELD.items()}
    for fill in (one["info"] for one in fills):
        (candle,) = (
            one for one in CANDLES if 0 <= int(fill["time"]) // 1_000 - one.timestamp < HOUR
        )
        assert candle.low <= float(fill["price"]) <= candle.high
        sign = 1 if fill["isBuyer"] else -1
        balance["BTC"] += sign * Decimal(fill["qty"])
        balance["USDT"] -= sign * Decimal(fill["quoteQty"])
        balance[fill["commissionAsset"]] -= Decimal(fill["commission"])
    rows = (await at.client.fetch_balance())["info"]["balances"]
    found = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
    assert {asset: found[asset] for asset in HELD} == balance
    return fills


def test_a_market_order_fills_at_the_open_of_the_candle_that_begins(
    run: Run, scene: Opened, replay: Replay
) -> None:
    async def play() -> None:
        async with open_replay(scene, replay) as at:
            await at.client.load_markets()
            for candle in CANDLES[1:4]:
                await at.simulator.advance_to_ms(candle.timestamp * 1_000)
                order = await at.client.create_order(BTC, "market", "buy", 0.5)
                assert (order["status"], order["average"]) == ("closed", candle.open)
            assert len(await check_fills(at)) == 3

    run(play())


def test_limit_orders_fill_at_their_price_in_the_first_candle_that_goes_beyond_it(
    run: Run, scene: Opened, replay: Replay
) -> None:
    async def play() -> None:
        async with open_replay(scene, replay) as at:
            client = at.client
            await client.load_markets()
            sale = await client.create_order(BTC, "limit", "sell", 0.75, 111)
            purchase = await client.create_order(BTC, "limit", "buy", 1.25, 82.5)
            await at.step(HOUR)
            assert len(await client.fetch_open_orders(BTC)) == 2
            await at.step(2 * HOUR - 1)
            assert (await client.fetch_order(sale["id"], BTC))["status"] == "closed"
            await at.step(1 + HOUR)
            assert (await client.fetch_order(purchase["id"], BTC))["status"] == "closed"
            fills = await check_fills(at)
            assert {(fill["side"], fill["price"]) for fill in fills} == {
                ("sell", 111.0), ("buy", 82.5)
            }  # fmt: skip

    run(play())


def test_a_stop_fills_at_the_open_of_a_candle_that_gaps_beyond_it(
    run: Run, scene: Opened, replay: Replay
) -> None:
    async def play() -> None:
        async with open_replay(scene, replay) as at:
            await at.client.load_markets()
            stop = {"stopLossPrice": 88}
            placed = await at.client.create_order(BTC, "market", "sell", 2, None, stop)
            await at.step(3 * HOUR)
            order = await at.client.fetch_order(placed["id"], BTC)
            (fill,) = await check_fills(at)
            assert (order["status"], order["average"], fill["price"]) == ("closed", 80.0, 80.0)
            assert fill["timestamp"] == CANDLES[3].timestamp * 1_000

    run(play())
