"""The shared queue of dials: programs stay below the limit, and none waits for long."""

import asyncio
import fcntl
import heapq
import struct
import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busy_loop import BusyLoop
from onetape.websocket.client import FIRST_DIALS, LONGEST_PAUSE_SECONDS
from onetape.websocket.dial_queue import BURST_DIALS, DIAL_SECONDS, DialQueue
from onetape.websocket.events import StreamEvent, StreamLost
from repeatable import count_examples

Run = Callable[[Any], Any]
#: What Binance allows one address in five minutes.
MOST_DIALS, DIALS_SECONDS = 300, 300.0
BACK_SECONDS = 5.0


class Clock:
    """Stands where a test sets it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def simulate_dials(programs: int, pause_seconds: float) -> list[float]:
    """Return when programs dial that share a queue, in 20 minutes in which every dial fails."""
    clock = Clock()
    dial_queue = DialQueue(None, clock=clock)
    dials: list[float] = []
    due = [(clock.seconds, number) for number in range(programs)]
    end = clock.seconds + 1_200.0
    while due[0][0] < end:
        clock.seconds, number = heapq.heappop(due)
        dials.append(clock.seconds)
        wait = max(pause_seconds, await dial_queue.reserve())
        heapq.heappush(due, (clock.seconds + wait, number))
    return dials


@settings(max_examples=count_examples(40))
@given(st.integers(1, 40), st.floats(0.5, LONGEST_PAUSE_SECONDS))
def test_programs_that_share_a_queue_stay_under_the_limit_of_dials(
    programs: int, pause_seconds: float
) -> None:
    dials = asyncio.run(simulate_dials(programs, pause_seconds))
    for at, first in enumerate(dials):
        assert bisect_left(dials, first + DIALS_SECONDS) - at <= MOST_DIALS
    # The exchange is tried at least every few seconds by one of them, however long it lasts.
    gaps = [later - earlier for earlier, later in pairwise(dials)]
    assert max(gaps) <= BACK_SECONDS


def test_programs_that_share_a_file_dial_one_after_the_other(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (DialQueue(tmp_path / "dials", clock=clock) for _ in range(2))

    async def scene() -> None:
        for _ in range(BURST_DIALS):
            assert await first.reserve() == 0.0
        assert await second.reserve() == 0.0
        assert await first.reserve() == DIAL_SECONDS
        assert await second.reserve() == 2 * DIAL_SECONDS
        clock.seconds += 1.0
        await first.note_connection()
        assert await second.read_last_connection() == clock.seconds

    asyncio.run(scene())


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", struct.pack("<dd", float("nan"), float("nan")), struct.pack("<dd", 1e9, 1e9)],
    ids=["empty", "short", "not a number", "of an earlier start of the computer"],
)
def test_a_file_with_outdated_times_delays_no_dial(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dials").write_bytes(content)
    dial_queue = DialQueue(tmp_path / "dials", clock=Clock())
    assert asyncio.run(dial_queue.read_last_connection()) == 0.0
    assert asyncio.run(dial_queue.reserve()) == 0.0
    assert dial_queue.fault is None


@pytest.mark.parametrize("kind", ["a folder", "no folder", "locked"])
def test_an_unusable_file_delays_no_dial_and_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "missing" / "dials" if kind == "no folder" else tmp_path / "dials"
    if kind == "a folder":
        path.mkdir()
    holder = path.open("wb") if kind == "locked" else None
    if holder is not None:
        # As a process that was suspended while it held the lock.
        fcntl.flock(holder, fcntl.LOCK_EX)
    dial_queue = DialQueue(path, clock=Clock())
    assert asyncio.run(dial_queue.reserve()) == 0.0
    assert dial_queue.fault is not None
    assert str(path) in dial_queue.fault
    if holder is not None:
        holder.close()
        assert asyncio.run(dial_queue.reserve()) == 0.0
        assert dial_queue.fault is None


def has_lost(events: list[StreamEvent]) -> bool:
    return any(isinstance(event, StreamLost) for event in events)


@pytest.mark.parametrize("status", [403, 503])
def test_a_long_refusal_of_dials_alone_ends_with_the_first_accepted_one_row_35(
    run: Run, run_faulty_server: Any, watching: Any, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("onetape.websocket.client.LONGEST_PAUSE_SECONDS", 0.05)

    async def scene(busy_loop: BusyLoop) -> None:
        async with run_faulty_server() as server:
            server.dial_status = status
            async with watching(server.url) as stream:
                await stream.until(has_lost)
                # CCXT pauses for 30 s by then.
                await server.wait_for_dials(FIRST_DIALS + 4)
                server.dial_status = None
                busy_loop.begin()
                await server.wait_for_socket()
                assert busy_loop.seconds < BACK_SECONDS

    with BusyLoop() as busy_loop:
        run(scene(busy_loop))


def compute_long_pause(seconds: float, attempts: int, *, is_shared: bool) -> float:
    """Return the pause before a dial: an hour after the first one that failed."""
    del is_shared
    return 3_600.0 if attempts else seconds


async def next_dial_waits(stream: Any) -> None:
    """Wait until the pause before the next dial has begun."""
    while not stream.manager._client.dial_waits:  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(0.01)


def test_a_program_dials_at_once_where_another_one_is_connected(
    run: Run,
    run_faulty_server: Any,
    watching: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onetape.websocket.client._compute_dial_pause", compute_long_pause)
    monkeypatch.setattr("onetape.websocket.client.CHECK_SECONDS", 0.02)

    async def scene() -> None:
        async with run_faulty_server() as server:
            server.dial_status = 503
            shared = tmp_path / "dials"
            async with (
                watching(server.url, dial_file=shared) as first,
                watching(server.url, dial_file=shared) as second,
            ):
                await first.until(has_lost)
                await second.until(has_lost)
                server.dial_status = None
                for stream in (first, second):
                    await next_dial_waits(stream)
                await asyncio.sleep(0.5)
                assert server.dials == 2
                first.manager.dial_now()
                await server.wait_for_socket(2)

    run(scene())


@pytest.mark.parametrize("text", ["nan", "-5", "-inf", "soon"])
def test_an_invalid_retry_after_delays_no_dial(
    run: Run, run_faulty_server: Any, watching: Any, text: str
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server:
            server.dial_status = 503
            server.dial_headers = {"Retry-After": text}
            async with watching(server.url) as stream:
                await stream.until(has_lost)
                await server.wait_for_dials(2)
                server.dial_status = None
                await server.wait_for_socket()

    run(scene())


def test_a_retry_after_without_an_end_counts_for_a_day(
    run: Run, run_faulty_server: Any, watching: Any
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server:
            server.dial_status = 503
            server.dial_headers = {"Retry-After": "inf"}
            async with watching(server.url) as stream:
                await stream.until(has_lost)
                client: Any = stream.manager._client
                (until,) = client.refused_until.values()
                assert 86_000 < until - time.monotonic() <= 86_400
                # CCXT has counted the dial: the next one goes through a new client.
                assert client.ws_dial_backoff

    run(scene())


@pytest.mark.parametrize("status", [418, 429])
def test_a_handshake_refused_for_too_many_requests_is_not_repeated_at_once(
    run: Run, run_faulty_server: Any, watching: Any, status: int
) -> None:
    async def scene() -> None:
        async with run_faulty_server() as server:
            server.dial_status = status
            async with watching(server.url) as stream:
                await stream.until(has_lost)
                server.dial_status = None
                await asyncio.sleep(0.5)
                stream.manager.dial_now()
                await asyncio.sleep(0.5)
                assert server.dials == 1

    run(scene())
