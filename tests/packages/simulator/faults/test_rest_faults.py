"""Each fault of a request and the error of the unchanged CCXT class; rows are failure modes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import ccxt
import pytest

from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
KLINES = "/api/v3/klines"
INFO = "/api/v3/exchangeInfo"
#: 2024-03-01 00:00 UTC.
MARCH_MS = 1_709_251_200_000
#: Ten minutes before the tests' market time, so that a page of five closed candles follows it.
SINCE_MS = MARCH_MS - 9 * 60_000

#: Row of the fault list, the fault, and the class that CCXT raises; None is a page without candles.
ERRORS = [
    (2, Fault("timeout", path=KLINES), ccxt.RequestTimeout),
    (2, Fault("drip", path=KLINES), ccxt.RequestTimeout),
    (4, Fault("cut_body", path=KLINES), ccxt.ExchangeError),
    (5, Fault("status", path=KLINES, status=429, code=-1003), ccxt.DDoSProtection),
    (7, Fault("status", path=KLINES, status=418, code=-1003), ccxt.DDoSProtection),
    (8, Fault("status", path=KLINES, status=500), ccxt.ExchangeNotAvailable),
    (8, Fault("status", path=KLINES, status=502), ccxt.ExchangeNotAvailable),
    (8, Fault("status", path=KLINES, status=503), ccxt.ExchangeNotAvailable),
    (8, Fault("status", path=KLINES, status=504), ccxt.RequestTimeout),
    (8, Fault("status", path=KLINES, status=503, code=-1008), ccxt.ExchangeError),
    (8, Fault("status", path=KLINES, status=500, code=-1001), ccxt.OperationFailed),
    (9, Fault("status", path=KLINES, status=400), ccxt.ExchangeNotAvailable),
    (9, Fault("status", path=KLINES, status=403), ccxt.ExchangeNotAvailable),
    (9, Fault("status", path=KLINES, status=404), ccxt.ExchangeNotAvailable),
    (9, Fault("status", path=KLINES, status=451, code=0), ccxt.ExchangeNotAvailable),
    (9, Fault("status", path=KLINES, status=451), ccxt.ExchangeNotAvailable),
    (10, Fault("maintenance"), ccxt.ExchangeNotAvailable),
    (11, Fault("wrong_body", path=KLINES, shape="html"), None),
    (11, Fault("wrong_body", path=KLINES, shape="null"), None),
    (11, Fault("wrong_body", path=KLINES, shape="empty_object"), None),
    (11, Fault("wrong_body", path=KLINES, shape="truncated"), None),
    (11, Fault("wrong_body", path=KLINES, shape="empty_list"), None),
    (13, Fault("wrong_body", path=KLINES, shape="octet_stream"), TypeError),
    (57, Fault("status", path=KLINES, status=500, code=-1006), ccxt.OperationFailed),
    (57, Fault("status", path=KLINES, status=504, code=-1007), ccxt.RequestTimeout),
    (69, Fault("status", path=KLINES, status=401, code=-2015), ccxt.AuthenticationError),
]


async def get_result_or_error(work: Awaitable[Any]) -> Any:
    """Return the result of a call, or its error."""
    try:
        return await work
    except Exception as error:
        return error


@pytest.mark.parametrize(("row", "fault", "expected"), ERRORS)
def test_ccxt_raises_the_expected_error_for_each_fault(
    run: Run, faulty: Opened, row: int, fault: Fault, expected: type[Exception] | None
) -> None:
    del row

    async def scene() -> Any:
        async with faulty([fault]) as (simulator, client):
            page: Any = None
            never_ends = fault.kind in ("timeout", "drip")
            # The longer ones are for a machine that stands still before the request arrives.
            for timeout_ms in (300, 3_000, 30_000) if never_ends else (client.timeout,):
                client.timeout = timeout_ms
                page = await get_result_or_error(client.fetch_ohlcv("BTC/USDT", "1m", SINCE_MS, 5))
                if simulator.faults.log:
                    break
            assert [fired.kind for fired in simulator.faults.log] == [fault.kind]
            return page

    found = run(scene())
    assert (found == []) if expected is None else (type(found) is expected)


@pytest.mark.parametrize(
    ("when", "hits", "expected"),
    [
        ("before", 2, ccxt.ExchangeNotAvailable),
        ("after", 2, ccxt.ExchangeNotAvailable),
        ("body", 1, ccxt.ExchangeError),
    ],
)
def test_row_3_a_reset_read_is_repeated_once_unless_its_body_had_begun(
    run: Run, faulty: Opened, when: str, hits: int, expected: type[Exception]
) -> None:
    async def scene() -> Any:
        async with faulty([Fault("reset", path=KLINES, when=when)]) as (simulator, client):
            error = await get_result_or_error(client.fetch_ohlcv("BTC/USDT", "1m", SINCE_MS, 5))
            return type(error), len(simulator.faults.log)

    assert run(scene()) == (expected, hits)


@pytest.mark.parametrize("shape", ["html", "null", "truncated"])
def test_row_11_without_a_start_time_a_wrong_body_is_read_as_an_empty_page(
    run: Run, faulty: Opened, shape: str
) -> None:
    async def scene() -> Any:
        async with faulty([Fault("wrong_body", path=KLINES, shape=shape)]) as (_, client):
            return await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)

    page = run(scene())
    assert page, "CCXT takes the text for a list of its characters"
    assert {value for row in page for value in row[1:]} == {None}


@pytest.mark.parametrize("shape", ["html", "no_symbols", "empty_object", "truncated"])
def test_row_12_an_exchange_info_without_markets_is_cached_as_valid(
    run: Run, faulty: Opened, shape: str
) -> None:
    async def scene() -> Any:
        async with faulty([Fault("wrong_body", path=INFO, shape=shape, count=1)]) as (_, client):
            emptied = await client.load_markets(True)
            kept = await client.load_markets()
            return len(emptied), len(kept), len(await client.load_markets(True))

    emptied, kept, repaired = run(scene())
    assert (emptied, kept) == (0, 0)
    assert repaired > 5


def test_row_6_parallel_requests_all_go_out_into_a_429(run: Run, faulty: Opened) -> None:
    async def scene() -> int:
        fault = Fault("status", path=KLINES, status=429, code=-1003)
        async with faulty([fault]) as (simulator, client):
            calls = (client.fetch_ohlcv("BTC/USDT", "1m", SINCE_MS, 5) for _ in range(50))
            await asyncio.gather(*calls, return_exceptions=True)
            return len(simulator.faults.log)

    assert run(scene()) == 50


def test_row_27_a_halted_market_is_inactive_and_has_no_new_candles(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> None:
        fault = Fault("halted", symbol="BTC/USDT", market_from="+10m")
        async with faulty([fault]) as (simulator, client):
            assert client.markets["BTC/USDT"]["active"] is True
            await simulator.advance_to_ms(MARCH_MS + 60 * 60_000)
            markets = await client.load_markets(True)
            assert markets["BTC/USDT"]["active"] is False
            assert markets["ETH/USDT"]["active"] is True
            page = await client.fetch_ohlcv("BTC/USDT", "1m", MARCH_MS, 100)
            assert page[-1][0] == MARCH_MS + 11 * 60_000

    run(scene())


def test_row_27_a_delisted_market_is_an_unknown_symbol(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        async with faulty([Fault("delisted", symbol="BTCUSDT")]) as (_, client):
            with pytest.raises(ccxt.BadSymbol):
                await client.fetch_ohlcv("BTC/USDT", "1m", SINCE_MS, 5)
            assert "BTC/USDT" not in await client.load_markets(True)
            assert "BTC/USDT" not in await client.fetch_tickers()
            assert len(await client.fetch_ohlcv("ETH/USDT", "1m", SINCE_MS, 5)) == 5

    run(scene())


def test_a_wrong_clock_is_shown_by_the_exchange(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        async with faulty([Fault("clock_skew", seconds=-5)]) as (simulator, client):
            assert await client.fetch_time() == simulator.clock.now_ms() - 5_000

    run(scene())


def test_retry_after_is_in_the_headers_only(run: Run, faulty: Opened) -> None:
    fault = Fault(
        "status", path=KLINES, status=429, code=-1003, headers={"Retry-After": "37"}, count=1
    )

    async def scene() -> None:
        async with faulty([fault]) as (_, client):
            with pytest.raises(ccxt.DDoSProtection, match="Too much request weight"):
                await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)
            assert client.last_response_headers["Retry-After"] == "37"
            assert len(await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)) == 5

    run(scene())


def test_latency_delays_and_changes_nothing(run: Run, faulty: Opened) -> None:
    async def scene() -> None:
        async with faulty([Fault("latency", path=KLINES, seconds=0.2)]) as (_, client):
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert len(await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)) == 5
            assert loop.time() - began >= 0.2

    run(scene())
