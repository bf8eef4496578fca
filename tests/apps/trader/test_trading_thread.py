"""A session in a separate thread: what a locked database delays, and what it does not."""

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

from held_lock import hold_write_lock
from loop_stalls import LoopStalls
from onetape.cli.stop import StopRequest
from onetape.core.candles import Candle
from onetape.websocket.events import CandleUpdate, StreamLost, TickerUpdate
from session_harness import HOUR, MARCH, open_market, open_session
from trader.stream import EventQueue
from trader.trading_thread import run_in_thread

Run = Callable[[Any], Any]


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_locked_database_delays_the_sockets_only_without_a_separate_thread(
    run: Run, db: Path, in_thread: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def is_degraded() -> bool:
        printed.append(capsys.readouterr().out)
        return "degraded: " in "".join(printed)

    async def scene() -> float:
        async with (
            open_market(0.25) as opened,
            open_session(opened, db, in_thread=in_thread) as trading,
        ):
            await trading.until_decided(-1)
            await trading.until_live(opened)
            with hold_write_lock(db):
                async with LoopStalls() as stalls:
                    hour = 0.7
                    while not is_degraded():
                        hour += 0.001
                        await opened.go_to(hour)
                        await asyncio.sleep(0.01)
                    await asyncio.sleep(0.5)
            return stalls.longest_seconds

    # A write waits for a second in the thread that makes it.
    assert (run(scene()) < 0.5) is in_thread


def test_frames_that_came_while_the_file_was_locked_are_stored_after_it(
    run: Run, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trader.session.WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)

    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db, in_thread=True) as trading:
            await trading.until_live(opened)
            with hold_write_lock(db):
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


def test_a_hanging_thread_is_reported_and_so_is_its_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trader.trading_thread.STUCK_SECONDS", 0.1)
    monkeypatch.setattr("trader.trading_thread.CHECK_SECONDS", 0.01)

    async def work(stop: StopRequest) -> None:
        del stop
        await asyncio.sleep(0.1)
        # As a disk that does not respond.
        while not is_printed("degraded: "):
            time.sleep(0.01)  # noqa: ASYNC251
        time.sleep(0.5)  # noqa: ASYNC251
        while not is_printed("trading again after"):  # noqa: ASYNC110 - a line sets no event
            await asyncio.sleep(0.01)

    def is_printed(beginning: str) -> bool:
        printed.append(capsys.readouterr().out)
        return any(line.startswith(beginning) for line in "".join(printed).splitlines())

    async def scene() -> None:
        await run_in_thread(StopRequest(takes_signals=False), work)

    printed: list[str] = []
    run(scene())
    printed.append(capsys.readouterr().out)
    lines = "".join(printed).splitlines()
    # On a busy machine the thread may not run at other moments either.
    for hangs, over in zip(lines[::2], lines[1::2], strict=True):
        assert hangs.startswith("degraded: the trader's own thread has not run for 0 s")
        assert over.startswith("trading again after")


HANGING = """
import asyncio, time
from onetape.cli.stop import StopRequest
from trader import trading_thread

trading_thread.FORCED_END_SECONDS = 0.2

async def work(stop):
    print("hangs", flush=True)
    time.sleep(600)

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
            assert process.wait(60) == 143
        finally:
            process.kill()
        assert process.stdout.read().startswith("SIGTERM: ended while the trader's own thread")


def make_row(hour: int, close: float) -> Candle:
    return Candle(MARCH + hour * HOUR, close, close, close, close, 1.0)


def test_of_unread_events_the_newest_values_of_each_candle_are_queued(run: Run) -> None:
    async def scene() -> None:
        queue = EventQueue()
        queue.put(TickerUpdate(1, 1.0, 2.0, 1.5))
        for number in range(1_000):
            queue.put(CandleUpdate((make_row(number // 500, 1.0 + number),), 1))
        assert await queue.get() == TickerUpdate(1, 1.0, 2.0, 1.5)
        update = await queue.get()
        assert isinstance(update, CandleUpdate)
        assert update.rows == (make_row(0, 500.0), make_row(1, 1_000.0))

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
