"""Public REST beyond candles: depth, trades, mean price, filters of exchangeInfo, long lists."""

import itertools
import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from onetape.core.clock import Clock
from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.outages import compute_minute_index, make_outages
from onetape.simulator.market.price_path import ORIGIN_SECONDS
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SYMBOLS, make_symbols
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
Client = Callable[..., AbstractAsyncContextManager[Any]]
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


async def request_bodies(simulator: Simulator, *paths: str) -> list[Any]:
    """Return the bodies of some requests under /api/v3."""
    found: list[Any] = []
    async with aiohttp.ClientSession() as session:
        for path in paths:
            async with session.get(f"{simulator.url}/api/v3/{path}") as response:
                found.append(json.loads(await response.text()))
    return found


def request_bodies_at(run: Run, clock: Clock, *paths: str, **settings: Any) -> list[Any]:
    async def scene() -> list[Any]:
        async with Simulator(clock=clock, **settings) as simulator:
            return await request_bodies(simulator, *paths)

    return run(scene())


def test_the_book_begins_with_the_best_offers_and_grows_away_from_them(
    run: Run, stepped: Stepped
) -> None:
    depth, best = request_bodies_at(
        run, stepped(61_000), "depth?symbol=BTCUSDT&limit=5", "ticker/bookTicker?symbol=BTCUSDT"
    )
    assert depth["bids"][0] == [best["bidPrice"], best["bidQty"]]
    assert depth["asks"][0] == [best["askPrice"], best["askQty"]]
    bids, asks = ([Decimal(price) for price, _ in depth[side]] for side in ("bids", "asks"))
    assert (len(bids), len(asks)) == (5, 5)
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


def test_ccxt_fetches_trades_that_make_up_the_minutes_candle(
    run: Run, stepped: Stepped, ccxt_client: Client
) -> None:
    async def scene() -> None:
        clock = stepped(3_600_000)
        async with Simulator(clock=clock) as simulator, ccxt_client(simulator) as client:
            since = MARCH_MS + 600_000
            trades = await client.fetch_trades("ETH/USDT", since, 1_000, {"until": since + 59_999})
            (candle,) = await client.fetch_ohlcv("ETH/USDT", "1m", since, 1)
            book = await client.fetch_order_book("ETH/USDT", 10)
        prices = [trade["price"] for trade in trades]
        found = [since, prices[0], max(prices), min(prices), prices[-1]]
        assert found == candle[:5]
        assert sum(Decimal(str(trade["amount"])) for trade in trades) == Decimal(str(candle[5]))
        assert book["bids"][0][0] < book["asks"][0][0]

    run(scene())


def test_the_last_trades_end_now_and_older_ones_begin_at_the_requested_id(
    run: Run, stepped: Stepped
) -> None:
    last, few = request_bodies_at(
        run, stepped(90_500), "trades?symbol=BTCUSDT", "trades?symbol=BTCUSDT&limit=7"
    )
    assert len(last) == 500
    assert last[-7:] == few
    assert all(trade["time"] <= MARCH_MS + 90_500 for trade in last)
    number = last[3]["id"]
    old, aggregates = request_bodies_at(
        run,
        stepped(90_500),
        f"historicalTrades?symbol=BTCUSDT&fromId={number}&limit=20",
        f"aggTrades?symbol=BTCUSDT&fromId={number}&limit=20",
    )
    assert old == last[3:23]
    assert [row["f"] for row in aggregates] == [row["id"] for row in old]
    assert [row["p"] for row in aggregates] == [row["price"] for row in old]


def test_the_trades_of_a_time_range_are_those_inside_it(run: Run, stepped: Stepped) -> None:
    start, end = MARCH_MS + 30_000, MARCH_MS + 150_000
    (rows,) = request_bodies_at(
        run, stepped(3_600_000), f"aggTrades?symbol=BTCUSDT&startTime={start}&endTime={end}"
    )
    market = SimulatedMarket(7)
    minutes = [market.get_trades(SYMBOLS[0], MARCH_MS // 1_000 + 60 * row) for row in range(3)]
    ids = [
        number for trades in minutes for number in trades.select_within(start, end + 1).id.tolist()
    ]
    assert [row["a"] for row in rows] == ids


def test_old_trades_of_any_age_are_found_by_their_id(run: Run, stepped: Stepped) -> None:
    market, symbol = SimulatedMarket(7), SYMBOLS[0]
    minute = symbol.listed + 400 * 86_400
    number = int(market.get_trades(symbol, minute - minute % 60).id[5])
    (rows,) = request_bodies_at(
        run, stepped(0), f"historicalTrades?symbol=BTCUSDT&fromId={number}&limit=3"
    )
    assert [row["id"] for row in rows] == [number, number + 1, number + 2]


def test_the_mean_price_is_that_of_five_minutes_by_volume(run: Run, stepped: Stepped) -> None:
    average, klines = request_bodies_at(
        run,
        stepped(600_000 - 1),
        "avgPrice?symbol=BTCUSDT",
        f"klines?symbol=BTCUSDT&interval=5m&startTime={MARCH_MS + 300_000}",
    )
    exact = Decimal(klines[0][7]) / Decimal(klines[0][5])
    assert abs(Decimal(average["price"]) - exact) < Decimal("0.00000002")
    assert average["mins"] == 5


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("symbolStatus=TRADING", 8),
        ("symbolStatus=BREAK", 1),
        ("symbolStatus=HALT", 0),
        ("permissions=SPOT", 9),
        ("permissions=%5B%22MARGIN%22%2C%22LEVERAGED%22%5D", 9),
        ("permissions=LEVERAGED", 0),
        ("symbols=%5B%22BTCUSDT%22%2C%22BRDBTC%22%5D", 2),
    ],
)
def test_exchange_info_can_be_narrowed(run: Run, stepped: Stepped, query: str, count: int) -> None:
    (info,) = request_bodies_at(run, stepped(0), f"exchangeInfo?{query}")
    assert len(info["symbols"]) == count


@pytest.mark.parametrize(
    "path",
    [
        "exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING",
        "exchangeInfo?symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D",
        "aggTrades?symbol=BTCUSDT&fromId=1&startTime=1",
    ],
)
def test_parameters_that_exclude_each_other_are_refused(
    run: Run, stepped: Stepped, path: str
) -> None:
    (body,) = request_bodies_at(run, stepped(0), path)
    assert body == {"code": -1128, "msg": "Combination of optional parameters invalid."}


@pytest.mark.parametrize(("timeframe", "seconds"), [("1m", 60), ("1h", 3_600)])
def test_a_page_across_an_outage_is_full(run: Run, timeframe: str, seconds: int) -> None:
    outage = next(
        one for one in make_outages(7)
        if one.halt > compute_minute_index(SYMBOLS[0].listed) and one.end - one.start > 150
    )  # fmt: skip
    begin = ORIGIN_SECONDS + 60 * outage.start
    start = (begin // seconds - 50) * seconds
    clock = make_clock(start_ms=(begin + 86_400 * 9) * 1_000, stepped=True)
    query = f"klines?symbol=BTCUSDT&interval={timeframe}&limit=100"
    forward, backward = request_bodies_at(
        run, clock, f"{query}&startTime={start * 1_000}",
        f"{query}&endTime={(ORIGIN_SECONDS + 60 * outage.end + 50 * seconds) * 1_000}",
    )  # fmt: skip
    expected = SimulatedMarket(7).get_candles("BTC/USDT", timeframe, start, start + 800 * seconds)
    assert [row[0] // 1_000 for row in forward] == expected.timestamp[:100].tolist()
    assert len(backward) == 100
    opens = [row[0] // 1_000 for row in backward]
    assert max(b - a for a, b in itertools.pairwise(opens)) > 100 * 60


def test_a_page_is_the_same_whatever_was_requested_before(run: Run, stepped: Stepped) -> None:
    queries = [
        f"klines?symbol=ETHUSDT&interval={name}&startTime={MARCH_MS - back}&limit={limit}"
        for name, back, limit in (
            ("1h", 9_000_000_000, 1_000), ("1h", 3_000_000_000, 700), ("1h", 100_000, 5),
            ("1d", 99_000_000_000, 1_000), ("1w", 99_000_000_000, 50), ("1M", 99_000_000_000, 50),
            ("3d", 99_000_000_000, 9),
        )
    ]  # fmt: skip
    once = request_bodies_at(run, stepped(1_234_567), *queries)
    again = request_bodies_at(run, stepped(1_234_567), *queries[::-1], *queries)[len(queries) :]
    assert once == again


def test_a_candle_that_closed_is_no_longer_the_forming_one_in_the_next_page(
    run: Run, stepped: Stepped
) -> None:
    async def scene() -> tuple[Any, Any]:
        async with Simulator(clock=stepped(1_800_000)) as simulator:
            (before,) = await request_bodies(simulator, "klines?symbol=BTCUSDT&interval=1h&limit=2")
            await simulator.advance_to_ms(MARCH_MS + 3_600_000)
            (after,) = await request_bodies(simulator, "klines?symbol=BTCUSDT&interval=1h&limit=3")
        return before, after

    before, after = run(scene())
    assert before[0] == after[0]
    assert before[1] != after[1]
    truth = SimulatedMarket(7).get_candles(
        "BTC/USDT", "1h", MARCH_MS // 1_000, MARCH_MS // 1_000 + 3_600
    )
    assert float(after[1][4]) == float(truth.close[0])


def test_three_thousand_markets_are_listed_and_ccxt_loads_them(
    run: Run, stepped: Stepped, ccxt_client: Client
) -> None:
    async def scene() -> None:
        async with (
            Simulator(clock=stepped(0), symbols=make_symbols(3_000)) as simulator,
            ccxt_client(simulator) as client,
        ):
            markets = await client.load_markets()
            assert len(markets) == 3_000
            assert 1_000 < sum(market["active"] for market in markets.values()) < 2_000
            rows = await client.fetch_ohlcv("XAAA/USDT", "1h", limit=10)
            assert len(rows) == 10

    run(scene())


def test_aggregated_trades_are_streamed(run: Run, stepped: Stepped) -> None:
    async def scene() -> Any:
        async with (
            Simulator(clock=stepped(0)) as simulator,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{simulator.url}/ws/btcusdt@aggTrade") as socket,
        ):
            await simulator.advance_to_ms(MARCH_MS)
            await simulator.advance_to_ms(MARCH_MS + 60_000)
            return json.loads(await socket.receive_str(timeout=60))

    event = run(scene())
    assert (event["e"], event["f"], event["l"]) == ("aggTrade", event["a"], event["a"])
