"""Exchanges that respond with a page's length from the requested time: OKX's protocol and class."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.core.errors import ExchangeUnreachable
from onetape.core.timeframes import Timeframe
from onetape.exchange.listing import fetch_listing_time
from onetape.exchange.pages import iterate_closed_pages
from onetape.exchange.rest import RestExchange
from real_clients import open_real_client
from repeatable import count_examples

Run = Callable[..., Any]
MINUTE, DAY = 60, 86_400
#: 2024-03-01 00:00 UTC.
NOW = 1_709_251_200
M1 = Timeframe.parse("1m")


@dataclass
class WindowedServer:
    """Has the candles of some minutes, and sends at most `most` of a window, the newest ones."""

    minutes: set[int] = field(default_factory=set[int])
    most: int = 300
    requested: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    rows: Callable[[int, int], list[list[str]]] | None = None
    """Returns candles from the bounds of the window in seconds."""

    async def response(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.requested.append(query)
        length = DAY if query["bar"].startswith("1D") else MINUTE
        low, high = int(query["before"]) // 1_000 + 1, int(query["after"]) // 1_000
        if self.rows is not None:
            return web.json_response({"code": "0", "msg": "", "data": self.rows(low, high)})
        opens = sorted({minute - minute % length for minute in self.minutes}, reverse=True)
        count = min(self.most, int(query["limit"]))
        fitting = [opened for opened in opens if low <= opened < high][:count]
        data = [make_row(opened) for opened in fitting]
        return web.json_response({"code": "0", "msg": "", "data": data})


def make_row(opened: int) -> list[str]:
    return [str(opened * 1_000), "2", "3", "1", "2", "5", "5", "10", "1"]


@asynccontextmanager
async def serve_okx(server: WindowedServer) -> AsyncGenerator[RestExchange]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.response)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with open_real_client(
            "okx", url, now_ms=NOW * 1_000 + 30_000, markets={"BTC/USDT": "BTC-USDT"}
        ) as client:
            yield client
    finally:
        await runner.cleanup()


async def fetch_opens(client: RestExchange, start: int, end: int = NOW) -> list[int]:
    pages = [
        page async for page in iterate_closed_pages(client, "BTC/USDT", M1, start=start, end=end)
    ]
    assert pages[-1].covered_until >= end
    return sorted({time for page in pages for time in page.candles.timestamp.tolist()})


def make_minutes(start: int, end: int) -> Iterable[int]:
    return range(start, end, MINUTE)


def walk(run: Run, server: WindowedServer, start: int, end: int = NOW) -> list[int]:
    async def work() -> list[int]:
        async with serve_okx(server) as client:
            return await fetch_opens(client, start, end)

    return run(work())


def test_three_pages_are_complete_after_three_requests(run: Run) -> None:
    start = NOW - 700 * MINUTE
    server = WindowedServer(set(make_minutes(start, NOW + MINUTE)))
    assert walk(run, server, start) == list(make_minutes(start, NOW))
    assert len(server.requested) == 3


def test_an_empty_range_of_years_is_passed_with_few_requests(run: Run) -> None:
    start, listed = NOW - 2_000 * DAY, NOW - 600 * MINUTE
    server = WindowedServer(set(make_minutes(listed, NOW + MINUTE)))
    assert walk(run, server, start) == list(make_minutes(listed, NOW))
    # 2 empty pages, 7 of days, two days at most in minutes, and the candles.
    assert len(server.requested) <= 25


def test_an_exchange_that_sends_less_than_a_page_and_keeps_the_newest_loses_none(run: Run) -> None:
    start = NOW - 700 * MINUTE
    server = WindowedServer(set(make_minutes(start, NOW + MINUTE)), most=100)
    assert walk(run, server, start) == list(make_minutes(start, NOW))
    assert len(server.requested) <= 12


def test_a_gap_longer_than_a_page_does_not_end_the_pagination(run: Run) -> None:
    start = NOW - 5_000 * MINUTE
    present = {*make_minutes(start, start + 100 * MINUTE), *make_minutes(NOW - 50 * MINUTE, NOW)}
    assert walk(run, WindowedServer(present), start) == sorted(present)


def test_a_market_without_candles_ends_the_pagination_after_few_requests(run: Run) -> None:
    server = WindowedServer()
    assert walk(run, server, NOW - 1_000 * DAY) == []
    assert len(server.requested) <= 8


@pytest.mark.parametrize("shape", ["only the requested row", "always the oldest"])
def test_pages_that_never_advance_are_an_error(run: Run, shape: str) -> None:
    start = NOW - 700 * MINUTE

    def rows(low: int, high: int) -> list[list[str]]:
        del high
        return [make_row(low if shape == "only the requested row" else start - DAY)]

    server = WindowedServer(rows=rows)
    with pytest.raises(ExchangeUnreachable, match="3 pages in a row with no 1m candle"):
        walk(run, server, start)
    assert len(server.requested) <= 4


def test_candles_a_page_apart_are_no_error(run: Run) -> None:
    start = NOW - 3_000 * MINUTE
    present = set(range(start, NOW, 300 * MINUTE))
    assert walk(run, WindowedServer(present), start) == sorted(present)


def test_the_day_of_the_listing_is_found_by_daily_candles(run: Run) -> None:
    listed = NOW - 100 * DAY
    server = WindowedServer(set(make_minutes(listed, listed + 3 * DAY)))

    async def work() -> int | None:
        async with serve_okx(server) as client:
            return await fetch_listing_time(client, "BTC/USDT")

    assert run(work()) == listed
    assert len(server.requested) <= 20


@pytest.mark.parametrize("kind", ["okx", "binance"])
@settings(
    max_examples=count_examples(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([1, 5, 100, 100_000]))
def test_random_rows_never_make_the_paginator_endless(
    run: Run, kind: str, seed: int, spread: int
) -> None:
    random = Random(seed)  # noqa: S311 - a seeded test
    wanted = 40

    def rows(low: int, high: int) -> list[list[str]]:
        del high
        count = random.choice([0, 0, 1, 1, 2, 5])
        times = [
            low + random.randint(-spread, spread) * random.choice([1, 60]) for _ in range(count)
        ]
        return [make_row(time) for time in times]

    server = WindowedServer(rows=rows)

    async def work() -> None:
        async with serve_okx(server) as client:
            if kind == "binance":
                # The same rows to a paginator that takes an empty page for the end.
                client.quirks = client.quirks.__class__(300, 3_000, finds_next=True)
            start = NOW - wanted * MINUTE
            # Rows that never go on are an error.
            with contextlib.suppress(ExchangeUnreachable):
                async for page in iterate_closed_pages(
                    client, "BTC/USDT", M1, start=start, end=NOW
                ):
                    times = page.candles.timestamp.tolist()
                    assert times == sorted(set(times))
                    assert all(start <= time < NOW for time in times)

    run(asyncio.wait_for(work(), 60))
    assert len(server.requested) <= 3 * wanted + 10
