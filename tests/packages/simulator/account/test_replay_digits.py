"""A replay serves every price with the digits of its file."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candle, SeriesKey
from onetape.core.errors import UsageError
from onetape.simulator.market.clock import make_clock
from onetape.simulator.recorded.replay import Replay, read_replay
from onetape.simulator.recorded.replay_market import ReplayMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from repeatable import count_examples

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[Any]]
#: 2024-03-01 00:00 UTC.
MARCH, HOUR = 1_709_251_200, 3_600
SYMBOL = "PEPE/FDUSD"
HEADER = "timestamp,open,high,low,close,volume"
TINY = [
    ("0.0000003100", "0.0000003108", "0.0000003088", "0.0000003104", "20034340000"),
    ("0.0000003104", "0.0000003104", "0.0000003073", "0.0000003081", "71250650000"),
    ("0.0000003081", "0.0000003099", "0.0000003080", "0.0000003097", "51250650000"),
]
#: Below the eighth digit altogether.
TINIER = [(*(f"{float(cell) / 1e4:.14f}" for cell in row[:4]), row[4]) for row in TINY]


def write_hours(folder: Path, rows: list[tuple[str, ...]], kind: str = "csv") -> Replay:
    """Write hours as text, or store them, and read them for a replay."""
    times = [MARCH + number * HOUR for number in range(len(rows))]
    if kind == "csv":
        path = folder / "binance_PEPE-FDUSD_1h.csv"
        lines = [",".join((str(time), *row)) for time, row in zip(times, rows, strict=True)]
        path.write_text("\n".join([HEADER, *lines]) + "\n")
        return read_replay(path)
    path = folder / "onetape.db"
    candles = [Candle(time, *map(float, row)) for time, row in zip(times, rows, strict=True)]
    with open_store(path, create=True) as store:
        key = SeriesKey("binance", SYMBOL, "1h")
        insert_closed_rows(store, key, candles, source="import", seen_ms=0)
    return read_replay(path)


def open_replay(scene: Opened, replay: Replay) -> AbstractAsyncContextManager[Any]:
    clock = make_clock(start_ms=(MARCH + 2 * HOUR) * 1_000, stepped=True)
    return scene(clock=clock, replay=replay, FDUSD="10000", PEPE="0")


@pytest.mark.parametrize("kind", ["csv", "database"])
@pytest.mark.parametrize(("rows", "tick"), [(TINY, 1e-10), (TINIER, 1e-14)])
def test_ccxt_gets_candles_tick_and_tickers_with_the_digits_of_the_file(
    run: Run, scene: Opened, tmp_path: Path, kind: str, rows: list[tuple[str, ...]], tick: float
) -> None:
    replay = write_hours(tmp_path, rows, kind)

    async def look() -> None:
        async with open_replay(scene, replay) as at:
            candles = await at.client.fetch_ohlcv(SYMBOL, "1h", MARCH * 1_000)
            assert [row[1:5] for row in candles[:2]] == [[*map(float, row[:4])] for row in rows[:2]]
            market = at.client.market(SYMBOL)
            assert market["precision"]["price"] == tick
            ticker = await at.client.fetch_ticker(SYMBOL)
            low, high = (float(cell) for cell in (rows[1][2], rows[0][1]))
            for name in ("last", "open", "high", "low", "vwap", "previousClose"):
                assert low <= ticker[name] <= high, name
            book = await at.client.fetch_order_book(SYMBOL)
            bid, ask = book["bids"][0][0], book["asks"][0][0]
            assert round((ask - bid) / tick) == 1
            trades = await at.client.fetch_trades(SYMBOL, limit=50)
            assert all(low <= trade["price"] <= high for trade in trades)
            average = await at.client.public_get_avgprice({"symbol": "PEPEFDUSD"})
            assert low <= float(average["price"]) <= high

    run(look())


@pytest.mark.parametrize(("rows", "digits"), [(TINY, 10), (TINIER, 14)])
def test_orders_are_filled_and_booked_at_prices_with_the_digits_of_the_file(
    run: Run, scene: Opened, tmp_path: Path, rows: list[tuple[str, ...]], digits: int
) -> None:
    replay = write_hours(tmp_path, rows)

    async def trade() -> None:
        async with open_replay(scene, replay) as at:
            limit = float(rows[2][2])
            order = await at.client.create_order(
                SYMBOL, "market", "buy", None, None, {"quoteOrderQty": "5000"}
            )
            assert order["status"] == "closed"
            low, high = float(rows[2][2]), float(rows[2][1])
            assert low * 0.99 <= order["average"] <= high * 1.01
            coins = float(at.client.amount_to_precision(SYMBOL, 1_000 / limit))
            await at.client.create_order(SYMBOL, "limit", "buy", coins, limit)
            await at.step(HOUR)
            texts = [row["price"] for row in at.ledger.fills]
            assert {len(text.partition(".")[2]) for text in texts} == {digits}
            assert all(float(text) > 0 for text in texts)
            spent = sum(Decimal(row["value"]) for row in at.ledger.fills)
            total = sum(Decimal(row["price"]) * Decimal(row["quantity"]) for row in at.ledger.fills)
            assert abs(spent - total) < Decimal("0.0001")

    run(trade())


def test_a_limit_price_between_two_ticks_is_refused(
    run: Run, scene: Opened, tmp_path: Path
) -> None:
    replay = write_hours(tmp_path, TINY)

    async def refuse() -> None:
        async with open_replay(scene, replay) as at:
            order = {"symbol": "PEPEFDUSD", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
            fine = {"quantity": "10000000000", "price": "0.00000030971"}
            with pytest.raises(ccxt.ExchangeError, match="too much precision"):
                await at.client.private_post_order(order | fine)
            await at.client.private_post_order(order | fine | {"price": "0.0000003097"})

    run(refuse())


def test_digits_that_cannot_be_served_are_refused_with_their_number(tmp_path: Path) -> None:
    rows = [("2500000",) * 4 + ("1",), ("0.00000031",) * 4 + ("1",)]
    with pytest.raises(UsageError) as refusal:
        write_hours(tmp_path, rows)
    assert "has prices with 8 digits after the point, such as 0.00000031" in str(refusal.value)
    assert "a replay of prices up to 2500000 serves at most 6" in str(refusal.value)


def test_prices_that_were_computed_change_by_less_than_a_part_of_1e_9(tmp_path: Path) -> None:
    prices = [100 / 3, 1e-7 / 3 + 30]
    replay = write_hours(tmp_path, [(repr(price),) * 4 + ("1",) for price in prices])
    served = ReplayMarket(7, replay).get_candles(SYMBOL, "1h", MARCH, MARCH + 2 * HOUR)
    assert served.close.tolist() == pytest.approx(prices, rel=1e-9)


def test_rounding_errors_of_floats_do_not_count_as_digits(tmp_path: Path) -> None:
    price = repr(0.1 + 0.2)
    replay = write_hours(tmp_path, [(price, price, price, price, "1")])
    assert replay.series[0].symbol.price_digits == 1


@settings(max_examples=count_examples(60))
@given(st.integers(0, 16), st.lists(st.integers(1, 10**6), min_size=4, max_size=40))
def test_candles_of_any_number_of_digits_are_served_unchanged(
    tmp_path_factory: pytest.TempPathFactory, digits: int, counts: list[int]
) -> None:
    texts = [f"{Decimal(count).scaleb(-digits):f}" for count in counts]
    replay = write_hours(tmp_path_factory.mktemp("x"), [(text,) * 4 + ("5",) for text in texts])
    end = MARCH + len(texts) * HOUR
    served = ReplayMarket(7, replay).get_candles(SYMBOL, "1h", MARCH, end)
    assert served.close.tolist() == [float(text) for text in texts]


def test_recorded_pepe_candles_are_served_unchanged(run: Run, scene: Opened, shared: Path) -> None:
    path = shared / "data/cases/small_prices/binance_PEPE-FDUSD_1h.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    replay = read_replay(path)

    async def look() -> list[list[float]]:
        end = (int(rows[-1][0]) + HOUR) * 1_000
        async with scene(clock=make_clock(start_ms=end, stepped=True), replay=replay) as at:
            return await at.client.fetch_ohlcv(SYMBOL, "1h", int(rows[0][0]) * 1_000, 1_000)

    assert [row[1:5] for row in run(look())] == [[*map(float, row[1:5])] for row in rows]
