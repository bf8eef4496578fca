"""A session in a separate thread: what the database holds up, and what it does not."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desk import HOUR, MARCH, Market, desk, market
from held_lock import locked
from onetape.cli.stop import StopRequest
from onetape.core.candles import Candle
from onetape.websocket.events import CandleUpdate, StreamLost, TickerUpdate
from trader.stream import EventQueue
from trader.trading_thread import run_in_thread

Run = Callable[[Any], Any]


class LongestStall:
    """Measures how late an event loop wakes a task, seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            self.seconds = max(self.seconds, loop.time() - before)


async def longest_stall(opened: Market, seconds: float, hour: float) -> float:
    """Let the market move for so long, and return the longest stall of this loop."""
    stall = LongestStall()
    measuring = asyncio.create_task(stall.measure())
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        hour += 0.001
        await opened.go_to(hour)
        await asyncio.sleep(0.01)
    measuring.cancel()
    return stall.seconds


def test_a_locked_file_holds_up_the_sockets_no_more_than_a_quiet_run_does(
    run: Run, db: Path
) -> None:
    async def scene() -> tuple[float, float]:
        async with market(0.25) as opened, desk(opened, db, in_thread=True) as trading:
            await trading.until_decided(-1)
            await trading.until_live(opened)
            quiet = await longest_stall(opened, 2.0, 0.5)
            with locked(db):
                held = await longest_stall(opened, 2.5, 0.7)
            await trading.until(
                lambda: trading.query("SELECT 1 FROM trader_states WHERE state = 'degraded'")
            )
            return quiet, held

    quiet, held = run(scene())
    assert held <= 5 * max(quiet, 0.01)


def test_frames_that_came_while_the_file_was_locked_are_stored_after_it(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.session.WRITE_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)

    async def scene() -> None:
        async with market(0.25) as opened, desk(opened, db, in_thread=True) as trading:
            await trading.until_live(opened)
            with locked(db):
                for tenth in range(10):
                    await opened.go_to(1.5 + tenth / 10)
                    await asyncio.sleep(0.03)
            await opened.go_to(3.1)
            await trading.until_decided(2)
            stored = trading.closed_rows()
            truth = opened.truth(min(stored), MARCH + 3 * HOUR)
            assert stored == truth

    run(scene())


def test_a_session_in_a_thread_ends_with_its_error(run: Run) -> None:
    async def work(stop: StopRequest) -> None:
        del stop
        await asyncio.sleep(0)
        raise ZeroDivisionError(threading.current_thread().name)

    async def scene() -> None:
        await run_in_thread(StopRequest(takes_signals=False), work)

    with pytest.raises(ZeroDivisionError, match="trading"):
        run(scene())


def test_a_thread_that_hangs_is_reported_and_so_is_its_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trader.trading_thread.STUCK_SECONDS", 0.1)
    monkeypatch.setattr("trader.trading_thread.LOOK_SECONDS", 0.01)

    async def work(stop: StopRequest) -> None:
        del stop
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 - as a disk that does not respond
        await asyncio.sleep(0.2)

    async def scene() -> None:
        await run_in_thread(StopRequest(takes_signals=False), work)

    run(scene())
    hangs, over = capsys.readouterr().out.splitlines()
    assert hangs.startswith("degraded: the trader's own thread has not run for 0 s")
    assert over.startswith("trading again after")


HANGING = """
import asyncio, time
from onetape.cli.stop import StopRequest
from trader import trading_thread

trading_thread.FORCED_END_SECONDS = 0.2

async def work(stop):
    print("hangs", flush=True)
    time.sleep(60)

async def main():
    await trading_thread.run_in_thread(StopRequest(), work)

asyncio.run(main())
"""


def test_sigterm_ends_a_trader_whose_thread_hangs() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(10) == 143
        finally:
            process.kill()
        assert process.stdout.read().startswith("SIGTERM: ended while the trader's own thread")


def row(hour: int, close: float) -> Candle:
    return Candle(MARCH + hour * HOUR, close, close, close, close, 1.0)


def test_of_events_that_are_not_read_the_newest_values_of_each_candle_wait(run: Run) -> None:
    async def scene() -> None:
        queue = EventQueue()
        queue.put(TickerUpdate(1, 1.0, 2.0, 1.5))
        for number in range(1_000):
            queue.put(CandleUpdate((row(number // 500, 1.0 + number),), 1))
        assert await queue.get() == TickerUpdate(1, 1.0, 2.0, 1.5)
        update = await queue.get()
        assert isinstance(update, CandleUpdate)
        assert update.rows == (row(0, 500.0), row(1, 1_000.0))

    run(scene())


def test_the_error_that_ends_a_stream_is_raised_where_its_events_are_read(run: Run) -> None:
    async def scene() -> None:
        queue = EventQueue()
        queue.put(StreamLost("cut"))
        queue.fail(ZeroDivisionError())
        assert await queue.get() == StreamLost("cut")
        with pytest.raises(ZeroDivisionError):
            await queue.get()

    run(scene())
