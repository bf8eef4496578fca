"""A trader of a real exchange keeps correct candles when the computer's clock is set."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.stop import StopRequest
from onetape.core.candles import SeriesKey
from onetape.core.clock import ScaledClock
from onetape.core.errors import ExchangeUnreachable
from onetape.exchange import exchange_time
from onetape.exchange.clients import Endpoint
from onetape.exchange.exchange_clock import ExchangeClock, TimeSample
from onetape.exchange.rest import RestExchange
from onetape.exchange.wall_clock import ComputerWallClock
from onetape.simulator.server.simulator import Simulator
from onetape.store.database import open_store
from onetape.store.trader_states import StateChange
from real_endpoint import SteppedTime, redirect_binance
from session_harness import MARCH, make_evaluator
from trader.clock_watch import ClockWatch
from trader.live.start_plan import StartPlan
from trader.run import trade_in_sessions
from trader.settings import TraderSettings
from trader.states import TraderStates
from trader.traded_symbols import TradedSymbol

Run = Callable[[Any], Any]

#: A minute of market takes half a second.
SPEED = 120.0
KEY = SeriesKey("binance", "BTC/USDT", "1m")
CLOSED = (
    "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data "
    "WHERE closed = 1 AND timestamp >= ? ORDER BY timestamp"
)


class ExchangeWithClock:
    """A simulator that passes for Binance, and the client and clock of a trader on it."""

    def __init__(self, simulator: Simulator, exchange: RestExchange, wall: SteppedTime) -> None:
        self.simulator = simulator
        self.exchange = exchange
        self.wall = wall
        self.stop = StopRequest()


@asynccontextmanager
async def open_exchange_with_clock(
    *, step_ms: int = 0, speed: float = 1.0
) -> AsyncGenerator[ExchangeWithClock]:
    clock = ScaledClock(MARCH * 1_000, speed)
    async with Simulator(clock=clock) as simulator:
        with redirect_binance(simulator.url):
            wall = SteppedTime(clock.now_ms(), speed, time.monotonic)
            wall.step_ms = step_ms
            async with RestExchange(
                Endpoint("binance"), wall=wall, first_pause_seconds=0.01, retry_seconds=30
            ) as exchange:
                yield ExchangeWithClock(simulator, exchange, wall)


@asynccontextmanager
async def run_trader(
    settings: TraderSettings,
) -> AsyncGenerator[tuple[ExchangeWithClock, "asyncio.Task[None]"]]:
    """Run a trader while the block lasts."""
    async with open_exchange_with_clock(speed=SPEED) as opened:
        exchange = opened.exchange
        market = await exchange.fetch_market(KEY.symbol)
        await exchange.compare_clocks()
        evaluator = make_evaluator("rsi", settings.timeframe)
        await evaluator.load()
        trading = asyncio.create_task(
            trade_in_sessions(
                StartPlan(settings, (TradedSymbol(KEY, settings.strategy),)),
                exchange,
                [evaluator],
                [market],
                None,
                opened.stop,
                simulated=None,
            )
        )
        try:
            yield opened, trading
        finally:
            opened.stop.request("the test")
            await asyncio.wait({trading})
        trading.result()


def query_rows(db: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with open_store(db, create=False) as store, store.read() as connection:
        return connection.execute(sql, values).fetchall()


async def wait_for_decisions(db: Path, trading: "asyncio.Task[None]", count: int) -> None:
    await wait_until(lambda: count_decisions(db) >= count, trading)


async def wait_until(holds: Callable[[], bool], trading: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(120):
        while not holds():
            if trading.done():
                trading.result()
            await asyncio.sleep(0.02)


def count_decisions(db: Path) -> int:
    return query_rows(db, "SELECT count(*) FROM decisions")[0][0] if db.exists() else 0


@pytest.mark.parametrize("step_seconds", [20, 3_600, -3_600])
def test_setting_the_clock_while_trading_changes_no_candle(
    run: Run, db: Path, step_seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = TraderSettings(exchange="binance", timeframe="1m", db=db)

    async def scene() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        async with run_trader(settings) as (opened, trading):
            await wait_for_decisions(db, trading, 2)
            opened.wall.step_ms = step_seconds * 1_000
            await wait_for_decisions(db, trading, 6)
            opened.stop.request("the test")
            await trading
            stored = query_rows(db, CLOSED, MARCH)
            end = stored[-1][0] + 60
            bars = opened.simulator.market.get_candles(KEY.symbol, "1m", MARCH, end)
            columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
            truth = list(zip(*(column.tolist() for column in columns), strict=True))
            return stored, truth

    stored, truth = run(scene())
    assert stored == truth
    out = capsys.readouterr().out
    direction = "forward" if step_seconds > 0 else "back"
    (seconds,) = re.findall(rf"this computer's clock was set {direction} by ([\d,.]+) s", out)
    # A busy machine takes a while to compare the clocks.
    assert abs(float(seconds.replace(",", "")) - abs(step_seconds)) < 2


def test_market_time_follows_the_exchange_and_not_the_computers_clock(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            wall, exchange = opened.wall, opened.exchange
            wall.step_ms = 5_000
            assert abs(await exchange.compare_clocks() - 5_000) < 4_000
            before = exchange.now_ms()
            wall.step_ms = -3_600_000
            assert 0 <= exchange.now_ms() - before < 4_000

    run(scene())


def test_requests_are_stamped_with_the_time_of_the_exchange(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            opened.wall.step_ms = 3_600_000
            await opened.exchange.compare_clocks()
            client: Any = opened.exchange._client  # pyright: ignore[reportPrivateUsage] - CCXT's own
            assert abs(client.nonce() - opened.simulator.clock.now_ms()) < 5_000

    run(scene())


def test_a_request_whose_time_is_refused_is_repeated_once_with_the_time_of_the_exchange(
    run: Run,
) -> None:
    refusal = {"kind": "status", "status": 400, "code": -1021, "path": "/api/v3/klines", "count": 1}

    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            opened.wall.step_ms = 3_600_000
            await opened.exchange.fetch_market(KEY.symbol)
            opened.simulator.faults.add(**refusal)
            batch = await opened.exchange.fetch_candles(
                KEY.symbol, "1m", since_ms=(MARCH - 600) * 1_000, limit=5
            )
            assert len(batch) == 5
            clock = opened.exchange.clock
            assert isinstance(clock, ExchangeClock)
            assert clock.is_compared

    run(scene())


def test_a_time_far_from_the_last_one_is_accepted_only_when_it_comes_twice(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            exchange = opened.exchange
            await exchange.compare_clocks()
            original: Any = exchange._client.fetch_time  # pyright: ignore[reportPrivateUsage]
            wrong = [3_600_000]

            async def once_wrong() -> int:
                return await original() + (wrong.pop() if wrong else 0)

            exchange._client.fetch_time = once_wrong  # pyright: ignore[reportPrivateUsage]
            before = exchange.now_ms()
            with pytest.raises(ExchangeUnreachable, match=r"differ by 3,(599|600|601) s"):
                await exchange.compare_clocks()
            assert 0 <= exchange.now_ms() - before < 10_000

    run(scene())


def test_an_old_time_from_a_cache_is_not_used(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            exchange = opened.exchange
            await exchange.compare_clocks()
            client: Any = exchange._client  # pyright: ignore[reportPrivateUsage] - CCXT's own
            old_ms = exchange.now_ms() - 3_600_000

            async def cached() -> int:
                return old_ms

            client.fetch_time = cached
            before = exchange.now_ms()
            with pytest.raises(ExchangeUnreachable, match="the same time in several responses"):
                await exchange.compare_clocks()
            assert exchange.now_ms() >= before

    run(scene())


def test_the_end_of_a_ban_is_read_by_the_time_of_the_exchange(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            exchange = opened.exchange
            opened.wall.step_ms = 3_600_000
            await exchange.compare_clocks()
            until_ms = exchange.now_ms() + 600_000
            policy = exchange._retry_policy  # pyright: ignore[reportPrivateUsage]
            policy.record_refusal(418, {}, f"IP banned until {until_ms}.")
            assert 0 < exchange.get_banned_seconds() <= 601

    run(scene())


@pytest.fixture
def dates(monkeypatch: pytest.MonkeyPatch) -> Callable[[ExchangeWithClock], None]:
    """Return a function that removes the time request of an exchange and dates its responses."""

    def set_up(opened: ExchangeWithClock) -> None:
        def date() -> str:
            return formatdate(opened.simulator.clock.now_ms() / 1_000, usegmt=True)

        monkeypatch.setattr("aiohttp.web_response.rfc822_formatted_time", date)
        has_no_time(opened)

    return set_up


def has_no_time(opened: ExchangeWithClock) -> None:
    client: Any = opened.exchange._client  # pyright: ignore[reportPrivateUsage] - CCXT's own
    client.has["fetchTime"] = False


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000], ids=["ahead", "behind"])
def test_response_dates_give_the_time_of_an_exchange_without_a_time_request(
    run: Run, dates: Callable[[ExchangeWithClock], None], step_ms: int
) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock(step_ms=step_ms) as opened:
            dates(opened)
            exchange = opened.exchange
            skew_ms = await exchange.compare_clocks()
            assert exchange.states_time
            now_ms = exchange.now_ms()
            # Behind by a second and the way of the response, and never ahead.
            assert 0 <= opened.simulator.clock.now_ms() - now_ms < 600_000
            assert abs(skew_ms - step_ms) < 600_000
            # The date of the next response explains the difference: the clock goes on as it is.
            await exchange.compare_clocks()
            assert exchange.now_ms() >= now_ms

    run(scene())


def test_the_computers_clock_is_used_if_the_exchange_gives_no_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[StateChange] = []
    monkeypatch.setattr("aiohttp.web_response.rfc822_formatted_time", lambda: "")

    async def scene() -> None:
        async with open_exchange_with_clock(step_ms=-3_600_000) as opened:
            has_no_time(opened)
            exchange = opened.exchange
            states = TraderStates(now_ms=lambda: 0, write=kept.extend)
            watch = ClockWatch(exchange, states)
            await watch.compare_if_due()
            assert not exchange.states_time
            assert opened.simulator.clock.now_ms() - exchange.now_ms() > 3_000_000
            opened.wall.step_ms = 0
            await watch.compare_if_due()
            assert abs(opened.simulator.clock.now_ms() - exchange.now_ms()) < 600_000
            assert states.state == "degraded"
            watch._due = 0.0  # pyright: ignore[reportPrivateUsage] - three minutes later
            await watch.compare_if_due()
            assert states.state == "trading"

    run(scene())
    out = capsys.readouterr().out
    assert "candles go by this computer's clock, because binance does not state its time" in out
    assert "degraded: this computer's clock was set, and binance does not state its time" in out


def test_a_date_in_whole_seconds_corrects_the_clock_only_if_it_proves_the_clock_wrong() -> None:
    wall = SteppedTime(MARCH * 1_000, 1.0, lambda: 0.0)
    clock = ExchangeClock(wall)
    assert clock.compute_departure_ms(TimeSample(MARCH * 1_000 - 900, 0.0, 1_050)) == 0
    clock.set(TimeSample(MARCH * 1_000 - 900, 0.0, 1_050))
    # The first one counts as it is: a clock that is ahead would close candles early.
    assert clock.now_ms() == MARCH * 1_000 - 900
    for exchange_ms, now_ms in (
        (MARCH * 1_000 - 1_900, MARCH * 1_000 - 900),
        (MARCH * 1_000 - 100, MARCH * 1_000 - 100),
        (MARCH * 1_000 - 5_000, MARCH * 1_000 - 5_000),
    ):
        clock.set(TimeSample(exchange_ms, 0.0, 1_050))
        assert clock.now_ms() == now_ms


@pytest.mark.parametrize("calls", range(1, 12))
def test_a_process_suspended_between_two_readings_is_not_taken_for_a_clock_change(
    calls: int,
) -> None:
    left = [10_000]

    def seconds() -> float:
        left[0] -= 1
        return 0.0 if left[0] >= 0 else 100.0

    clock = ExchangeClock(SteppedTime(MARCH * 1_000, 1.0, seconds))
    left[0] = calls
    assert clock.steps.take_step_ms() == 0
    assert clock.steps.take_step_ms() == 0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a clock of Linux")
def test_market_time_advances_while_the_computer_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ExchangeClock(ComputerWallClock())
    before = clock.now_ms()
    woken = time.clock_gettime(time.CLOCK_BOOTTIME) + 3_600

    def clock_gettime(which: int) -> float:
        # CLOCK_MONOTONIC stands still meanwhile.
        return woken if which == time.CLOCK_BOOTTIME else time.monotonic()

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    assert clock.now_ms() - before >= 3_600_000


def test_times_in_whole_seconds_are_accepted(run: Run) -> None:
    async def scene() -> None:
        async with open_exchange_with_clock(speed=SPEED) as opened:
            exchange = opened.exchange
            await exchange.compare_clocks()
            client: Any = exchange._client  # pyright: ignore[reportPrivateUsage] - CCXT's own
            later = [1, 1, 2]
            ahead_ms = exchange.now_ms() // 1_000 * 1_000 + 3_600_000

            async def whole_seconds() -> int:
                # At this speed of the clock a moment is a second.
                return ahead_ms + later.pop(0) * 1_000

            client.fetch_time = whole_seconds
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exchange_time, "AGREEMENT_MS", 600_000)
                await exchange.compare_clocks()
            assert not later
            assert exchange.now_ms() >= ahead_ms

    run(scene())


def test_a_time_that_is_wrong_twice_does_not_end_a_trader(run: Run, db: Path) -> None:
    settings = TraderSettings(exchange="binance", timeframe="1m", db=db)

    async def scene() -> None:
        async with run_trader(settings) as (opened, trading):
            await wait_for_decisions(db, trading, 2)
            client: Any = opened.exchange._client  # pyright: ignore[reportPrivateUsage] - CCXT's own
            original, calls = client.fetch_time, [0]

            async def wrong() -> int:
                calls[0] += 1
                return await original() - 7_200_000

            client.fetch_time = wrong
            # Each attempt to go on after it compares the clocks.
            opened.simulator.faults.add(kind="ws_close", count=2)
            await wait_until(lambda: calls[0] > 6, trading)
            client.fetch_time = original
            await wait_for_decisions(db, trading, count_decisions(db) + 2)

    run(scene())


def test_a_step_of_the_computers_clock_is_printed_on_the_simulator_too(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with open_exchange_with_clock() as opened:
            states = TraderStates(now_ms=lambda: 0, write=list[StateChange]().extend)
            exchange = opened.exchange
            exchange.clock = opened.simulator.clock
            watch = ClockWatch(exchange, states, opened.wall)
            await watch.compare_if_due()
            opened.wall.step_ms += 3_600_000
            await watch.compare_if_due()
            await watch.compare_if_due()
            assert states.state == "trading"

    run(scenario())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("this computer's clock was set forward by 3,600.0 s; ")
    assert line.endswith("the time of the simulator")


@pytest.mark.parametrize(
    ("skew_ms", "state", "beginning"),
    [
        (500, "trading", ""),
        (5_000, "trading", "this computer's clock is 5"),
        (-5_000, "trading", "this computer's clock is "),
        (120_000, "degraded", "degraded: this computer's clock is 1"),
    ],
)
def test_a_wrong_clock_prints_a_line_and_a_very_wrong_one_changes_the_state(
    run: Run, skew_ms: int, state: str, beginning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[StateChange] = []

    async def scene() -> None:
        async with open_exchange_with_clock() as opened:
            states = TraderStates(now_ms=lambda: 0, write=kept.extend)
            watch = ClockWatch(opened.exchange, states)
            opened.wall.step_ms = skew_ms
            watch._report(skew_ms)  # pyright: ignore[reportPrivateUsage] - what a comparison found
            watch._report(skew_ms)  # pyright: ignore[reportPrivateUsage]
            assert states.state == state

    run(scene())
    out = capsys.readouterr().out
    assert out.startswith(beginning)
    assert out.count("\n") == bool(beginning)
