"""REST as CCXT's unchanged class uses it; raw requests get Binance's semantics and errors."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import ccxt
import pytest

from onetape.core.clock import Clock
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Stepped = Callable[[int], Clock]
Client = Callable[..., AbstractAsyncContextManager[Any]]
HOUR_MS = 3_600_000
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000


async def get(simulator: Simulator, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(simulator.url + path) as response:
        text = await response.text()
        return response.status, json.loads(text) if text[:1] in "[{" else text


def test_ccxt_loads_markets_with_steps_and_limits(
    run: Run, stepped: Stepped, ccxt_client: Client
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator, ccxt_client(simulator) as client:
            markets = await client.load_markets()
        bitcoin = markets["BTC/USDT"]
        assert bitcoin["spot"]
        assert bitcoin["active"]
        assert (bitcoin["precision"]["price"], bitcoin["precision"]["amount"]) == (0.01, 0.00001)
        assert bitcoin["limits"]["amount"] == {"min": 0.00001, "max": 9000.0}
        assert bitcoin["limits"]["cost"] == {"min": 5.0, "max": 9_000_000.0}
        assert bitcoin["limits"]["market"]["max"] == 97.09521512
        assert markets["ETH/BTC"]["precision"]["price"] == 0.00001
        assert markets["DOGE/USDT"]["precision"]["amount"] == 1.0
        assert markets["BCC/USDT"]["active"] is False

    run(scene())


def test_ccxt_reads_the_market_time(run: Run, stepped: Stepped, ccxt_client: Client) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(1_234)) as simulator, ccxt_client(simulator) as client:
            assert await client.fetch_time() == MARCH_MS + 1_234

    run(scene())


@pytest.mark.parametrize(("timeframe", "count"), [("1h", 2_200), ("5m", 1_500), ("1d", 1_200)])
def test_ccxt_pages_through_exactly_the_candles_of_the_ledger(
    run: Run, stepped: Stepped, ccxt_client: Client, timeframe: str, count: int
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator, ccxt_client(simulator) as client:
            length_ms = client.parse_timeframe(timeframe) * 1_000
            since = MARCH_MS - count * length_ms
            rows: list[list[float]] = []
            while since < MARCH_MS:
                page = await client.fetch_ohlcv("BTC/USDT", timeframe, since, 1_000)
                rows += page
                since = page[-1][0] + length_ms
        candles = SimulatedMarket(7).get_candles(
            "BTC/USDT", timeframe, (MARCH_MS - count * length_ms) // 1_000, MARCH_MS // 1_000
        )
        assert len(rows) == count + 1, "the forming candle comes last"
        columns = (candles.timestamp * 1_000, candles.open, candles.high, candles.low)
        expected = zip(*(column.tolist() for column in columns), strict=True)
        assert [tuple(row[:4]) for row in rows[:-1]] == list(expected)
        assert [row[4] for row in rows[:-1]] == candles.close.tolist()
        assert [row[5] for row in rows[:-1]] == candles.volume.tolist()

    run(scene())


def test_the_ledger_of_candles_has_no_forming_candle_and_klines_do(
    run: Run, stepped: Stepped
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(90 * 60_000)) as simulator:
            query = (
                f"symbol=BTCUSDT&interval=1h&startTime={MARCH_MS}&endTime={MARCH_MS + 9 * HOUR_MS}"
            )
            _, klines = await get(simulator, f"/api/v3/klines?{query}")
            _, ledger = await get(simulator, f"/simulator/ledger?{query}")
            _, named = await get(
                simulator, "/simulator/ledger?" + query.replace("BTCUSDT", "BTC%2FUSDT")
            )
        assert [row[0] for row in klines] == [MARCH_MS, MARCH_MS + HOUR_MS]
        assert ledger == named == klines[:1]

    run(scene())


# Now is 2024-03-01 10:30; opens are hours after midnight. `now` is the forming candle of 10:00.
@pytest.mark.parametrize(
    ("query", "first", "last", "count"),
    [
        ("", 10 - 499, 10, 500),
        ("limit=3", 8, 10, 3),
        ("limit=1", 10, 10, 1),
        ("limit=5000", 10 - 999, 10, 1_000),
        ("startTime=0h&limit=3", 0, 2, 3),
        ("startTime=1ms&limit=2", 1, 2, 2),
        ("startTime=8h", 8, 10, 3),
        ("startTime=10h", 10, 10, 1),
        ("startTime=10h1ms", None, None, 0),
        ("startTime=99h", None, None, 0),
        ("startTime=2h&endTime=5h", 2, 5, 4),
        ("startTime=2h&endTime=5h59m", 2, 5, 4),
        ("startTime=2h&endTime=99h&limit=2", 2, 3, 2),
        ("startTime=5h&endTime=5h", 5, 5, 1),
        ("startTime=5h&endTime=4h", None, None, 0),
        ("endTime=5h&limit=2", 4, 5, 2),
        ("endTime=4h59m&limit=2", 3, 4, 2),
        ("endTime=99h&limit=2", 9, 10, 2),
    ],
)
def test_klines_choose_candles_as_binance_does(
    run: Run, stepped: Stepped, query: str, first: int | None, last: int | None, count: int
) -> None:
    words = {"99h": 99 * HOUR_MS, "10h1ms": 10 * HOUR_MS + 1, "1ms": 1}
    words |= {f"{hour}h59m": hour * HOUR_MS + 59 * 60_000 for hour in (4, 5)}
    words |= {f"{hour}h": hour * HOUR_MS for hour in (10, 8, 5, 4, 2, 0)}
    parts: list[str] = []
    for part in filter(None, query.split("&")):
        name, value = part.split("=")
        parts.append(f"{name}={MARCH_MS + words[value] if value in words else value}")

    async def scene() -> Any:
        async with Simulator(clock=stepped(10 * HOUR_MS + HOUR_MS // 2)) as simulator:
            path = "&".join(["/api/v3/klines?symbol=BTCUSDT&interval=1h", *parts])
            return await get(simulator, path)

    status, rows = run(scene())
    hours = [(row[0] - MARCH_MS) // HOUR_MS for row in rows]
    assert (status, len(rows)) == (200, count)
    if count:
        assert (hours[0], hours[-1]) == (first, last)
        assert hours == sorted(set(hours))


def test_history_begins_at_the_listing_whatever_was_requested(run: Run, stepped: Stepped) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            return await get(
                simulator, "/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime=0&limit=2"
            )

    _, rows = run(scene())
    assert [row[0] for row in rows] == [1_502_942_400_000, 1_502_946_000_000]


def test_a_symbol_with_status_break_has_history_and_no_new_candle(
    run: Run, stepped: Stepped
) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            return (
                (await get(simulator, "/api/v3/klines?symbol=BCCUSDT&interval=1d&limit=2"))[1],
                (await get(simulator, "/api/v3/ticker/24hr?symbol=BCCUSDT"))[1],
            )

    rows, ticker = run(scene())
    assert [row[0] for row in rows] == [1_542_240_000_000, 1_542_326_400_000]
    assert (ticker["count"], ticker["firstId"], ticker["lastPrice"]) == (0, -1, "0.00000000")


@pytest.mark.parametrize(
    ("path", "status", "code", "text"),
    [
        ("klines?symbol=NOPE&interval=1h", 400, -1121, "Invalid symbol."),
        ("klines?symbol=BTCUSDT&interval=7m", 400, -1120, "Invalid interval."),
        (
            "klines?interval=1h", 400, -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        (
            "klines?symbol=BTCUSDT", 400, -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        (
            "klines?symbol=btcusdt&interval=1h", 400, -1100,
            "Illegal characters found in parameter 'symbol'; "
            "legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        (
            "klines?symbol=BTCUSDT&interval=1h&limit=5%0A", 400, -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "klines?symbol=BTCUSDT%0A&interval=1h", 400, -1100,
            "Illegal characters found in parameter 'symbol'; "
            "legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        (
            f"depth?symbol=BTCUSDT&limit={'9' * 5_000}", 400, -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        (f"ticker/price?symbols={'[' * 2_000}", 400, None, None),
        (
            "klines?symbol=BTCUSDT&interval=1h&limit=ten", 400, -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "klines?symbol=BTCUSDT&interval=1h&startTime=-5", 400, -1100,
            "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "klines?symbol=BTCUSDT&interval=1h&limit=0", 400, -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "klines?symbol=BTCUSDT&interval=1h&startTime=99999999999999999999", 200, None, None,
        ),
        (
            "klines?symbol=BTCUSDT&interval=1h&endTime=99999999999999999999&limit=1",
            200, None, None,
        ),
        ("klines?symbol=BTCUSDT&interval=1M&endTime=0", 200, None, None),
        ("ticker/24hr?symbol=NOPE", 400, -1121, "Invalid symbol."),
        (
            "ticker/price?symbol=BTCUSDT&symbols=[]", 400, -1128,
            "Combination of optional parameters invalid.",
        ),
        ("exchangeInfo?symbol=NOPE", 400, -1121, "Invalid symbol."),
    ],
)  # fmt: skip
def test_invalid_requests_get_the_replies_of_binance(
    run: Run, stepped: Stepped, path: str, status: int, code: int | None, text: str | None
) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            return await get(simulator, f"/api/v3/{path}")

    found, body = run(scene())
    assert found == status
    if code is not None:
        assert body == {"code": code, "msg": text}


@pytest.mark.parametrize("path", ["/api/v3/nope", "/sapi/v1/nope", "/"])
def test_an_unknown_path_is_a_404_page(run: Run, stepped: Stepped, path: str) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            return await get(simulator, path)

    assert run(scene()) == (404, "<html><body><h2>404 Not found</h2></body></html>")


def test_ccxt_distinguishes_an_unknown_symbol_from_a_missing_endpoint(
    run: Run, stepped: Stepped, ccxt_client: Client
) -> None:
    async def scene() -> None:
        async with Simulator(clock=stepped(0)) as simulator, ccxt_client(simulator) as client:
            with pytest.raises(ccxt.BadSymbol):
                await client.public_get_klines({"symbol": "NOPE", "interval": "1h"})
            with pytest.raises(ccxt.BadRequest):
                await client.public_get_klines({"symbol": "BTCUSDT", "interval": "7m"})
            with pytest.raises(ccxt.ExchangeNotAvailable):
                await client.public_get_ticker_tradingday({"symbol": "BTCUSDT"})

    run(scene())


def test_a_symbol_appears_when_it_is_listed(run: Run, ccxt_client: Client) -> None:
    from onetape.simulator.market.clock import make_clock

    async def scene() -> None:
        clock = make_clock(start_ms=1_577_836_800_000, stepped=True)  # 2020-01-01
        async with Simulator(clock=clock) as simulator, ccxt_client(simulator) as client:
            assert "SOL/USDT" not in await client.load_markets()
            await simulator.advance_to_ms(1_609_459_200_000)
            assert "SOL/USDT" in await client.load_markets(reload=True)

    run(scene())


def test_the_ticker_is_the_last_day_of_minutes(
    run: Run, stepped: Stepped, ccxt_client: Client
) -> None:
    async def scene() -> Any:
        async with (
            Simulator(clock=stepped(5 * HOUR_MS + 61_000)) as simulator,
            ccxt_client(simulator) as client,
        ):
            minutes = await client.fetch_ohlcv(
                "BTC/USDT", "1m", MARCH_MS - 24 * HOUR_MS + 5 * HOUR_MS + 120_000, 1_000
            )
            minutes += await client.fetch_ohlcv("BTC/USDT", "1m", minutes[-1][0] + 60_000, 1_000)
            return await client.fetch_ticker("BTC/USDT"), minutes

    ticker, minutes = run(scene())
    assert len(minutes) == 1_440
    assert ticker["open"] == minutes[0][1]
    assert ticker["last"] == minutes[-1][4]
    assert ticker["high"] == max(row[2] for row in minutes)
    assert ticker["low"] == min(row[3] for row in minutes)
    assert ticker["baseVolume"] == pytest.approx(sum(row[5] for row in minutes), rel=1e-12)
    assert ticker["bid"] < ticker["ask"]
    assert ticker["bid"] <= ticker["last"] <= ticker["ask"]


def test_all_tickers_come_when_no_symbol_is_named(run: Run, stepped: Stepped) -> None:
    async def scene() -> Any:
        async with Simulator(clock=stepped(0)) as simulator:
            return [
                (await get(simulator, f"/api/v3/ticker/{path}"))[1]
                for path in (
                    "24hr", "price", "bookTicker", "price?symbols=[%22BTCUSDT%22,%22ETHBTC%22]",
                )
            ]  # fmt: skip

    *all_three, two = run(scene())
    assert [len(tickers) for tickers in all_three] == [9, 9, 9]
    assert [ticker["symbol"] for ticker in two] == ["BTCUSDT", "ETHBTC"]
