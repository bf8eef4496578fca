"""Failure modes 1 to 13: faults of requests at the simulator, and how reads handle them.

The row is in each test's name. Pauses pass at once, on a wall clock of their own.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest

from onetape.core.candles import Candle
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import open_market_clock
from onetape.exchange.rest import RestExchange
from onetape.exchange.wall_clock import ComputerWallClock, ProcessRateLimitBans, WallClock
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from temporary_faults import PASSING
from wall_clocks import START_MS, QuickWall

Run = Callable[..., Any]
KLINES = "/api/v3/klines"
HOUR = 3_600
FORMING = START_MS // 1_000 - 20 * 60
#: How long a request may take where a test lets one hang.
TIMEOUT_SECONDS = 0.15


@pytest.fixture(scope="module")
def _simulator() -> Generator[EmbeddedSimulator]:
    with embedded_simulator(clock=make_clock(start_ms=START_MS, stepped=True)) as running:
        yield running


@pytest.fixture
def simulator(_simulator: EmbeddedSimulator) -> Generator[EmbeddedSimulator]:
    yield _simulator
    _simulator.faults.clear()


class RecordingClient:
    """A client with a wall clock that jumps, and its notes."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.wall = QuickWall()
        self.notes: list[str] = []
        wall: WallClock = settings.pop("wall", self.wall)
        self.exchange = RestExchange(
            Endpoint("simulator", url), wall=wall, seed=1, note=self.notes.append, **settings
        )

    async def hours(self, hours: int = 5) -> list[Candle]:
        since_ms = (FORMING - (hours - 1) * HOUR) * 1_000
        batch = await self.exchange.fetch_candles("BTC/USDT", "1h", since_ms=since_ms, limit=hours)
        return batch.make_candles()


def run_with_client(
    run: Run,
    url: str,
    work: Callable[[RecordingClient], Any],
    *,
    has_response: bool = True,
    **settings: Any,
) -> Any:
    """Run work with a client that has had a response before, unless set otherwise."""

    async def done() -> Any:
        bench = RecordingClient(url, **settings)
        async with bench.exchange:
            if has_response:
                await bench.exchange.fetch_market("BTC/USDT")
            return await work(bench)

    return run(done())


async def fetch_five_hours(bench: RecordingClient) -> tuple[list[Candle], RecordingClient]:
    return await bench.hours(), bench


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - what is waited for is in another thread, or no event
        await asyncio.sleep(0)


def count_fired(simulator: EmbeddedSimulator, since: int) -> int:
    return len(simulator.faults.log) - since


@pytest.fixture(scope="module")
def expected(run: Run, _simulator: EmbeddedSimulator) -> list[Candle]:
    candles, _ = run_with_client(run, _simulator.url, fetch_five_hours)
    return candles


FAULTS: list[tuple[str, dict[str, Any]]] = [
    *PASSING,
    ("row 3 reset before", {"kind": "reset"}),
    ("row 3 reset in the body", {"kind": "reset", "when": "body"}),
    ("row 4 cut body", {"kind": "cut_body"}),
    ("row 5 429 with Retry-After", {"kind": "status", "status": 429, "code": -1003,
                                     "headers": {"Retry-After": "7"}}),
    ("row 5 429 without Retry-After", {"kind": "status", "status": 429, "code": -1003}),
    ("row 7 418", {"kind": "status", "status": 418, "code": -1003,
                   "headers": {"Retry-After": "120"}}),
    ("row 7 418 without a duration", {"kind": "status", "status": 418, "code": -1003}),
    ("row 11 nothing", {"kind": "wrong_body", "shape": "empty"}),
    ("row 11 words", {"kind": "wrong_body", "shape": "text"}),
    ("row 13 wrong content type", {"kind": "wrong_body", "shape": "octet_stream"}),
]  # fmt: skip


@pytest.mark.parametrize("fault", [f for _, f in FAULTS], ids=[name for name, _ in FAULTS])
def test_a_temporary_fault_leads_to_a_pause_and_loses_no_candle(
    run: Run, simulator: EmbeddedSimulator, expected: list[Candle], fault: dict[str, Any]
) -> None:
    before = len(simulator.faults.log)
    # CCXT's HTTP client repeats a GET once by itself when its connection is reset.
    count = 4 if fault["kind"] in ("reset", "cut_body") else 2
    simulator.faults.add(path=KLINES, count=count, **fault)
    candles, bench = run_with_client(
        run, simulator.url, fetch_five_hours, timeout_seconds=TIMEOUT_SECONDS
    )
    assert candles == expected
    assert len(candles) == 5
    assert count_fired(simulator, before) == count
    assert bench.wall.now > 0


def test_row_1_a_refused_port_is_reported_at_once_at_first_and_waited_for_later(
    run: Run, simulator: EmbeddedSimulator, refusing_port: int
) -> None:
    async def refused(bench: RecordingClient) -> tuple[float, float]:
        client: Any = bench.exchange._client  # pyright: ignore[reportPrivateUsage] - another port
        url = client.urls["api"]["public"]
        closed = f"http://127.0.0.1:{refusing_port}/api/v3"
        client.urls["api"]["public"] = closed
        with pytest.raises(ExchangeUnreachable, match="the connection was refused"):
            await bench.exchange.fetch_market("BTC/USDT")
        first = bench.wall.now
        client.urls["api"]["public"] = url
        await bench.exchange.fetch_market("BTC/USDT")
        client.urls["api"]["public"] = closed
        began = bench.wall.now
        with pytest.raises(ExchangeUnreachable, match="the connection was refused"):
            await bench.hours()
        return first, bench.wall.now - began

    at_first, later = run_with_client(run, simulator.url, refused, has_response=False)
    assert 1 < at_first <= 4
    assert 500 < later <= 600


def test_row_1_a_simulator_that_does_not_run_is_named(refusing_port: int) -> None:
    with pytest.raises(ExchangeUnreachable, match=r"no simulator responds at"):
        open_market_clock(
            Endpoint("simulator", f"http://127.0.0.1:{refusing_port}"), ComputerWallClock()
        )


def test_row_2_an_exchange_that_never_responds_ends_within_the_retry_time(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="timeout", path=KLINES)

    async def work(bench: RecordingClient) -> RecordingClient:
        with pytest.raises(ExchangeUnreachable, match="did not respond in time"):
            await bench.hours()
        return bench

    bench = run_with_client(
        run, simulator.url, work, timeout_seconds=TIMEOUT_SECONDS, retry_seconds=20
    )
    assert max(bench.wall.slept) <= 16
    assert sum(bench.wall.slept) <= 20


def test_pauses_grow_to_a_minute_at_most(run: Run, simulator: EmbeddedSimulator) -> None:
    simulator.faults.add(kind="status", path=KLINES, status=503)

    async def work(bench: RecordingClient) -> RecordingClient:
        with pytest.raises(ExchangeUnreachable):
            await bench.hours()
        return bench

    slept = run_with_client(run, simulator.url, work).wall.slept
    assert 30 <= slept[-1] <= 60
    assert slept[0] <= 0.5
    assert all(0.5 * 0.5 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(slept[:7]))


def record_request_times(bench: RecordingClient) -> list[float]:
    """Return a list that fills with the wall time of each request for candles."""
    times: list[float] = []
    client: Any = bench.exchange._client  # pyright: ignore[reportPrivateUsage] - the last place before the wire
    fetch = client.fetch

    async def timed(url: str, *rest: Any) -> Any:
        if KLINES in url:
            times.append(bench.wall.now)
        return await fetch(url, *rest)

    client.fetch = timed
    return times


@pytest.mark.parametrize(
    ("status", "headers", "least_seconds"),
    [
        (429, {"Retry-After": "30"}, 30),
        (418, {"Retry-After": "120"}, 120),
        (418, {}, 120),
        (503, {"Retry-After": "90"}, 90),
        (429, {"Retry-After": "Fri, 01 Mar 2024 00:21:00 GMT"}, 60),
    ],
)
def test_rows_5_and_7_no_request_goes_out_before_the_time_the_exchange_named(
    run: Run,
    simulator: EmbeddedSimulator,
    status: int,
    headers: dict[str, str],
    least_seconds: float,
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=status, code=-1003, headers=headers, count=1
    )

    async def work(bench: RecordingClient) -> list[float]:
        times = record_request_times(bench)
        await asyncio.gather(*(bench.hours() for _ in range(5)))
        return times

    times = run_with_client(run, simulator.url, work)
    assert len(times) == 6
    after = [time for time in times if time > 0]
    assert len(after) >= 4
    assert min(after) >= least_seconds


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "10"}])
def test_row_6_of_fifty_tasks_at_most_one_more_requests_after_the_first_429(
    run: Run, simulator: EmbeddedSimulator, headers: dict[str, str]
) -> None:
    limit = simulator.faults.add(
        kind="status", path=KLINES, status=429, code=-1003, headers=headers
    )

    async def work(bench: RecordingClient) -> tuple[int, int]:
        times = record_request_times(bench)
        tasks = [asyncio.create_task(bench.hours()) for _ in range(50)]
        await wait_until(lambda: bool(bench.wall.slept))
        simulator.faults.remove(limit)
        rows = sum(len(rows) for rows in await asyncio.gather(*tasks))
        return sum(time == 0 for time in times), rows

    at_once, rows = run_with_client(run, simulator.url, work)
    assert 1 <= at_once <= 2
    assert rows == 250


def test_row_5_clients_that_share_the_bans_pause_too(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=429, code=-1003, headers={"Retry-After": "30"}, count=1
    )

    async def work(first: RecordingClient) -> float:
        shared = ProcessRateLimitBans()
        sibling = RecordingClient(simulator.url, wall=first.wall)
        sibling.wall = first.wall
        first.exchange.share_rate_limit_bans(shared)
        sibling.exchange.share_rate_limit_bans(shared)
        async with sibling.exchange:
            await sibling.exchange.fetch_market("BTC/USDT")
            times = record_request_times(sibling)
            one = asyncio.create_task(first.hours())
            await wait_until(lambda: shared.find_latest() is not None)
            await sibling.hours()
            await one
            return times[0]

    assert run_with_client(run, simulator.url, work) >= 30


def test_row_7_a_ban_is_reported_once_a_minute_until_it_ends(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=418, code=-1003, headers={"Retry-After": "600"}, count=1
    )
    candles, bench = run_with_client(run, simulator.url, fetch_five_hours)
    assert len(candles) == 5
    assert len(bench.notes) <= 11
    assert "rate limit ban (HTTP 418), no request until 2024-03-01 00:30" in bench.notes[0]


@pytest.mark.parametrize(
    ("status", "text"),
    [(429, "rate limit ban (HTTP 429)"), (503, "maintenance (HTTP 503)")],
)
def test_rows_5_and_7_the_wait_names_the_response_that_imposed_it(
    run: Run, simulator: EmbeddedSimulator, status: int, text: str
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=status, headers={"Retry-After": "90"}, count=1
    )
    _, bench = run_with_client(run, simulator.url, fetch_five_hours)
    assert any(f"{text}, no request until 2024-03-01 00:2" in note for note in bench.notes)


@pytest.mark.parametrize(
    "step_seconds", [-3_600, -300, 3_600], ids=["back", "back into the ban", "forward"]
)
def test_row_7_a_ban_lasts_as_long_when_the_clock_is_set_meanwhile(
    run: Run, simulator: EmbeddedSimulator, step_seconds: int
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=418, code=-1003, headers={"Retry-After": "600"}, count=1
    )

    async def work(bench: RecordingClient) -> None:
        exchange, wall = bench.exchange, bench.wall
        with pytest.raises(ExchangeUnreachable, match="rate limit ban"):
            await bench.hours()
        wall.now += 500
        wall.step_ms = step_seconds * 1_000
        assert 90 < exchange.get_banned_seconds() <= 101
        ban = exchange.get_ban_in_force()
        assert ban is not None
        assert 90_000 < ban.until_ms - wall.get_epoch_ms() <= 101_000
        with pytest.raises(ExchangeUnreachable, match="rate limit ban"):
            await bench.hours()
        wall.now += 102
        assert exchange.get_ban_in_force() is None
        assert len(await bench.hours()) == 5

    run_with_client(run, simulator.url, work, retry_seconds=4, waits_for_ban_end=False)


def test_row_7_a_ban_that_is_over_stays_over_when_the_clock_is_set_back(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    async def work(bench: RecordingClient) -> None:
        exchange, wall = bench.exchange, bench.wall
        shared = ProcessRateLimitBans()
        exchange.share_rate_limit_bans(shared)
        # Of another process, an hour and a half before the clock is set back by an hour.
        began_ms = wall.get_epoch_ms()
        shared.extend(RateLimitBan(began_ms + 60_000, "HTTP 418", began_ms))
        wall.now += 1_800
        wall.step_ms = -3_600_000
        assert len(await bench.hours()) == 5
        assert exchange.get_ban_in_force() is None

    run_with_client(run, simulator.url, work, retry_seconds=4, waits_for_ban_end=False)


def test_row_7_an_own_ban_that_is_over_hides_none_after_the_clock_is_set_back(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    async def work(bench: RecordingClient) -> None:
        exchange, wall = bench.exchange, bench.wall
        for step_seconds in (0, -3_600):
            wall.step_ms = step_seconds * 1_000
            simulator.faults.add(
                kind="status",
                path=KLINES,
                status=418,
                code=-1003,
                headers={"Retry-After": "60"},
                count=1,
            )
            with pytest.raises(ExchangeUnreachable, match="rate limit ban"):
                await bench.hours()
            assert 50 < exchange.get_banned_seconds() <= 61
            wall.now += 62
            assert len(await bench.hours()) == 5

    run_with_client(run, simulator.url, work, retry_seconds=4, waits_for_ban_end=False)


def test_row_7_a_caller_with_other_tasks_gets_an_error_instead_of_a_wait(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="status", path=KLINES, status=418, code=-1003, headers={"Retry-After": "600"}, count=1
    )

    async def work(bench: RecordingClient) -> list[float]:
        times = record_request_times(bench)
        for _ in range(3):
            with pytest.raises(
                ExchangeUnreachable, match=r"rate limit ban \(HTTP 418\), no request until"
            ):
                await bench.hours()
        return times

    times = run_with_client(run, simulator.url, work, retry_seconds=4, waits_for_ban_end=False)
    assert len(times) == 1


def test_row_5_a_short_retry_leaves_no_pause_of_more_than_half_its_time(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    # The caller tries again by itself, and a refusal without a time may be over at any moment.
    simulator.faults.add(kind="status", path=KLINES, status=429, code=-1003)

    async def work(bench: RecordingClient) -> list[float]:
        bans: list[float] = []
        for _ in range(6):
            with pytest.raises(ExchangeUnreachable):
                await bench.hours()
            bans.append(bench.exchange.get_banned_seconds())
            await bench.wall.sleep(2.0)
        return bans

    bans = run_with_client(run, simulator.url, work, retry_seconds=4, waits_for_ban_end=False)
    assert 0 < max(bans) <= 2.01


@pytest.mark.parametrize("status", [400, 403, 404, 451])
def test_row_9_a_final_refusal_is_requested_once_and_ends_clearly(
    run: Run, simulator: EmbeddedSimulator, status: int
) -> None:
    before = len(simulator.faults.log)
    simulator.faults.add(kind="status", path=KLINES, status=status)

    async def work(bench: RecordingClient) -> None:
        with pytest.raises(ExchangeRefused, match=f"simulator responded with {status} "):
            await bench.hours()

    run_with_client(run, simulator.url, work)
    assert count_fired(simulator, before) == 1


def test_row_10_two_hours_of_maintenance_are_waited_out_with_a_note_a_minute(
    run: Run, simulator: EmbeddedSimulator
) -> None:
    # Added once the client is made: its markets are known then.
    async def done() -> tuple[list[Candle], RecordingClient, float]:
        bench = RecordingClient(simulator.url, retry_seconds=10_000)
        async with bench.exchange:
            await bench.exchange.fetch_market("BTC/USDT")
            simulator.faults.add(kind="maintenance")
            reading = asyncio.create_task(bench.hours())
            await wait_until(lambda: bench.wall.now >= 7_200)
            simulator.faults.clear()
            over = bench.wall.now
            return await reading, bench, bench.wall.now - over

    candles, bench, late_seconds = run(done())
    assert len(candles) == 5
    assert len(bench.notes) <= 121
    assert late_seconds <= 60 * 2


@pytest.mark.parametrize("shape", ["html", "no_symbols"])
def test_row_12_markets_that_came_as_an_error_page_or_empty_are_requested_again(
    run: Run, simulator: EmbeddedSimulator, shape: str
) -> None:
    simulator.faults.add(kind="wrong_body", path="/api/v3/exchangeInfo", shape=shape, count=2)

    async def work(bench: RecordingClient) -> str:
        return (await bench.exchange.fetch_market("BTC/USDT")).symbol

    assert run_with_client(run, simulator.url, work, has_response=False) == "BTC/USDT"


def test_the_default_wall_clock_is_the_computers() -> None:
    wall = ComputerWallClock()
    before = wall.get_monotonic_seconds(), wall.get_epoch_ms()
    asyncio.run(wall.sleep(0.01))
    assert wall.get_monotonic_seconds() - before[0] >= 0.01
    assert wall.get_epoch_ms() >= before[1]
