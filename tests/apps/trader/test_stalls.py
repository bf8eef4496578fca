"""After a stall of the trading thread, the prices of that time count as unwatched."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import make_kline
from onetape.core.clock import SteppedClock
from onetape.engine import ExitConfig
from onetape.websocket.events import CandleUpdate, StreamEvent
from session_harness import HOUR, MARCH, SessionHarness, SteppedMarket, open_market, open_session
from strategy_sources import make_scripted_source
from trader import stalls
from trader.stream_recorder import StreamRecorder

Run = Callable[[Any], Any]
StrategyFile = Callable[..., str]

#: Bought at 01:00; the frames of the test alone reach it.
STOP = ExitConfig(stop_loss=0.1)
OPEN_MS = (MARCH + HOUR) * 1_000


class AdjustableSeconds:
    """The computer's seconds, which a test advances to simulate a stalled thread."""

    def __init__(self) -> None:
        """Begin with the computer's own."""
        self.added = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return time.monotonic() + self.added


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> AdjustableSeconds:
    """Return the clock that stalls are measured by."""
    moved = AdjustableSeconds()
    monkeypatch.setattr(stalls, "get_computer_seconds", moved)
    return moved


async def buy(opened: SteppedMarket, trading: SessionHarness) -> float:
    """Let the strategy buy at 01:00; return the price."""
    await trading.until_live(opened)
    await opened.go_to(1.001)
    await trading.until(trading.fills)
    await trading.until(lambda: trading.source(1))
    return float(trading.fills()[0].price)


def make_fallen_frame(bought: float) -> dict[str, Any]:
    """Return a frame of the candle with the purchase: its low has passed the stop."""
    price, low = str(bought), str(bought * 0.8)
    return make_kline(OPEN_MS, bought * 0.95, o=price, h=price, l=low)


def read_outages(trading: SessionHarness) -> list[tuple[Any, ...]]:
    return trading.query("SELECT reason, to_ms IS NOT NULL FROM data_outages")


@pytest.mark.parametrize("stall_seconds", [600.0, 1.0], ids=["after a stall", "without one"])
def test_a_stop_that_was_passed_during_a_stall_is_filled_at_the_first_price_after_it(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    seconds: AdjustableSeconds,
    stall_seconds: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_stall = stall_seconds > 10
    name = strategy_file(make_scripted_source([0], []), "scripted")

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, exits=STOP) as trading,
        ):
            clock = opened.simulator.clock
            assert isinstance(clock, SteppedClock)
            bought = await buy(opened, trading)
            clock.pace = 1.0
            # The low came and went while the thread stood still.
            seconds.added += stall_seconds
            await opened.proxy.inject(make_fallen_frame(bought))
            if is_stall:
                await trading.until(lambda: read_outages(trading))
                seconds.added += stalls.BACKLOG_SECONDS
            await trading.until(lambda: len(trading.fills()) == 2)
            sold = float(trading.fills()[1].price)
            assert sold == pytest.approx(bought * (0.95 if is_stall else 0.9))
            (reason,) = trading.query("SELECT reason FROM orders WHERE side = 'sell'")[0]
            assert ("late by up to" in reason) == is_stall
            stall = "the trader did not run for 10 min"
            assert read_outages(trading) == ([(stall, 1)] if is_stall else [])

    run(scene())
    printed = (
        "the trader did not run for 10 min: its process was stopped" in capsys.readouterr().out
    )
    assert printed == is_stall


def test_frames_from_before_the_end_of_a_stall_start_no_new_watch(
    run: Run,
    db: Path,
    strategy_file: StrategyFile,
    seconds: AdjustableSeconds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = strategy_file(make_scripted_source([0], []), "scripted")
    lows: list[float] = []
    handle = StreamRecorder.handle

    async def noted(recorder: StreamRecorder, event: StreamEvent) -> None:
        await handle(recorder, event)
        lows.extend(row.low for row in (event.rows if isinstance(event, CandleUpdate) else ()))

    monkeypatch.setattr(StreamRecorder, "handle", noted)

    async def scene() -> None:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, strategy=name, exits=STOP) as trading,
        ):
            clock = opened.simulator.clock
            assert isinstance(clock, SteppedClock)
            bought = await buy(opened, trading)
            clock.pace = 1.0
            seconds.added += 600
            # The sockets had them all: one by one they are read after the stall.
            await opened.proxy.inject(make_kline(OPEN_MS, bought))
            await trading.until(lambda: read_outages(trading))
            await opened.proxy.inject(make_fallen_frame(bought))
            await trading.until(lambda: lows[-1] < bought * 0.9)
            seconds.added += stalls.BACKLOG_SECONDS
            await trading.until(lambda: len(trading.fills()) == 2)
            assert float(trading.fills()[1].price) == pytest.approx(bought * 0.95)

    run(scene())


def test_a_thread_that_runs_each_second_has_not_stalled(seconds: AdjustableSeconds) -> None:
    watch = stalls.StallWatch(SteppedClock(0, pace=1.0))
    assert watch.take_stall() == 0
    for _ in range(100):
        watch.note_running()
        seconds.added += 1
        assert watch.take_stall() == 0
        assert not watch.has_backlog
    watch.note_running()
    seconds.added += 60
    assert watch.take_stall() == pytest.approx(60, abs=50)
    assert watch.has_backlog
    assert watch.take_stall() == 0


def test_a_stall_in_a_market_whose_time_stands_still_leaves_no_price_unwatched(
    seconds: AdjustableSeconds,
) -> None:
    watch = stalls.StallWatch(SteppedClock(0))
    watch.note_running()
    seconds.added += 600
    assert watch.take_stall() == 0
