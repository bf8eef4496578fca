"""`backfiller --every`: start of the next run, output of a failed run, end by a signal."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfiller.schedule import MOST_OF_INTERVAL, compute_next_run_ms, run_every
from onetape.core.clock import SteppedClock
from onetape.core.errors import DataError, ExchangeUnreachable, OnetapeError
from onetape.core.timeframes import Timeframe
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.market.clock import make_clock
from programs import Program

#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000
HOUR_MS = 3_600_000
KLINES = "/api/v3/klines"


@given(
    st.integers(min_value=0, max_value=4_000_000_000_000),
    st.sampled_from(["1s", "15m", "1h", "1d", "1w", "1M"]),
    st.integers(),
)
def test_the_next_run_begins_shortly_after_the_start_of_the_next_interval(
    now_ms: int, name: str, seed: int
) -> None:
    every = Timeframe.parse(name)
    start_ms = every.next(now_ms // 1_000) * 1_000
    due_ms = compute_next_run_ms(now_ms, every, random.Random(seed))  # noqa: S311 - no secret
    assert start_ms <= due_ms <= start_ms + min(32_000, MOST_OF_INTERVAL * every.seconds * 1_000)


class ScheduleStopped(Exception):
    """Ends a schedule that would go on forever."""


class SimulatedTime(SteppedClock):
    """Time that passes while a task waits."""

    def wall_seconds(self, market_ms: int) -> float:
        return market_ms / 1_000

    async def pause(self, seconds: float) -> None:
        self.advance_to(self.now_ms() + int(seconds * 1_000) + 1)


def run_schedule(errors: list[OnetapeError | None]) -> tuple[list[int], list[str]]:
    """Run once for each error or success; return the times of the runs and the output."""
    computer, noted, began = SimulatedTime(NOW_MS), list[str](), list[int]()

    async def run() -> None:
        began.append(computer.now_ms())
        if len(began) > len(errors):
            raise ScheduleStopped
        error = errors[len(began) - 1]
        if error is not None:
            raise error

    async def schedule() -> None:
        await run_every(
            Timeframe.parse("1h"),
            run,
            clock=computer,
            random=random.Random(1),  # noqa: S311 - no secret
            pause=computer.pause,
            note=noted.append,
        )

    with pytest.raises(ScheduleStopped):
        asyncio.run(schedule())
    return began, noted


def test_the_first_run_begins_at_once_and_the_next_ones_after_each_full_hour() -> None:
    began, noted = run_schedule([None, None])
    assert began[0] == NOW_MS
    hours = [divmod(moment, HOUR_MS) for moment in began[1:]]
    assert [hour for hour, _ in hours] == [NOW_MS // HOUR_MS + 1, NOW_MS // HOUR_MS + 2]
    assert all(12_000 <= after <= 33_000 for _, after in hours)
    assert noted == ["next run: 2024-03-01 01:00 UTC", "next run: 2024-03-01 02:00 UTC"]


def test_a_failed_run_prints_one_line_and_the_next_run_follows() -> None:
    began, noted = run_schedule([ExchangeUnreachable("gone"), None, DataError("locked"), None])
    assert len(began) == 5
    failures = [line for line in noted if not line.startswith("next run: ")]
    assert failures == [f"backfiller: this run failed: {text}" for text in ("gone", "locked")]


def test_a_permanent_error_in_the_first_run_ends_the_program() -> None:
    with pytest.raises(DataError):
        run_schedule([DataError("no database of ours")])


@pytest.fixture
def simulator() -> Iterator[EmbeddedSimulator]:
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as running:
        running.faults.add(kind="latency", seconds=0, path=KLINES)
        yield running


@pytest.fixture
def start_program(simulator: EmbeddedSimulator, tmp_path: Path) -> Callable[..., Program]:
    """Return a function that starts the real program with a schedule."""

    def start(*arguments: str) -> Program:
        address = ("--exchange", "simulator", "--simulator-url", simulator.url)
        return Program("backfiller", *address, *arguments, folder=tmp_path)

    return start


def count_requests(simulator: EmbeddedSimulator) -> int:
    return int(str(simulator.faults.list_faults()[0]["fired"]))


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_two_runs_ends_the_program_with_0(
    start_program: Any, number: signal.Signals
) -> None:
    with start_program("--every", "1d", "--days", "2") as program:
        program.until("database: ")
        program.until_error("next run: ")
        program.send(number)
        assert program.ends() == 0
        name = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"
        assert program.errors[0].startswith("next run: ")
        assert program.errors[1:] == [f"{name}: stopped; what was fetched is stored"]


def test_a_signal_during_a_request_ends_the_program_with_0(
    start_program: Any, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="timeout", path=KLINES)
    with start_program("--every", "1d", "--days", "2") as program:
        wait_for(lambda: count_requests(simulator) > 0)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert program.errors == ["SIGTERM: stopped; what was fetched is stored"]


def test_a_signal_at_any_moment_of_writing_ends_with_0_and_a_sound_file(
    start_program: Any, simulator: EmbeddedSimulator, tmp_path: Path
) -> None:
    chosen = random.Random(7)  # noqa: S311 - the same moments every time
    for number in range(3):
        name = f"{number}.db"
        wanted = count_requests(simulator) + chosen.randint(2, 12)
        with start_program("--every", "1h", "--days", "20", "-t", "1m", "--db", name) as program:
            wait_for(lambda wanted=wanted: count_requests(simulator) >= wanted)
            time.sleep(chosen.uniform(0.0, 0.03))
            program.send(signal.SIGTERM)
            assert program.ends() == 0, program.errors
        assert not (tmp_path / f"{name}-wal").exists()
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            (rows,) = connection.execute("SELECT count(*) FROM ohlcv_data").fetchone()
            assert rows > 0


IMPORTING = """
import importlib, sys, time
from backfiller.start import run
def slow(name):
    print("importing", flush=True)
    time.sleep(30)
importlib.import_module = slow
sys.argv = ["backfiller", "--every", "1d"]
run()
"""


def test_a_signal_while_modules_are_imported_ends_the_program_with_0() -> None:
    with subprocess.Popen([sys.executable, "-c", IMPORTING], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"SIGTERM: stopped before the first run\n"
    assert process.returncode == 0


def test_a_run_follows_after_a_failed_run_of_the_real_program(
    start_program: Any, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="status", status=403, path=KLINES, count=1)
    with start_program("--every", "1s", "--days", "2", "--json") as program:
        program.until("{")
        simulator.advance_to_ms(NOW_MS + HOUR_MS)
        program.until("{", inside='"inserted": 1,')
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        failures = [line for line in program.errors if line.startswith("backfiller: ")]
        (failure,) = failures
        expected = "backfiller: this run failed: simulator responded with 403 Forbidden"
    assert failure.startswith(expected)


def test_without_a_schedule_a_signal_ends_the_program_with_the_exit_code_shells_expect(
    start_program: Any, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(kind="timeout", path=KLINES)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        wanted = count_requests(simulator) + 1
        with start_program("--days", "2") as program:
            wait_for(lambda wanted=wanted: count_requests(simulator) >= wanted)
            program.send(number)
            assert program.ends() == code


def test_a_later_run_proves_a_gap_that_the_first_run_only_stored(
    start_program: Any, simulator: EmbeddedSimulator
) -> None:
    simulator.faults.add(
        kind="candles",
        shape="missing",
        path=KLINES,
        candle_from="2024-02-29T10:00",
        candle_to="2024-02-29T12:00",
    )
    with start_program("--every", "1s", "--days", "2", "--json") as program:
        program.until("{", inside='"unproven": 2,')
        simulator.advance_to_ms(NOW_MS + 120_000)
        program.until("{", inside='"missing": 2, "gaps": 1, "unproven": 0,')
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        noted = [line for line in program.errors if "2 candles in 1 gap are missing" in line]
        assert noted
