"""Errors of a trader: states, printed lines, stored rows and recovery."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from busy_loop import BusyLoop
from held_lock import hold_write_lock
from onetape.core.errors import (
    DataError,
    ExchangeRefused,
    ExchangeUnreachable,
    OnetapeError,
    SafetyRefusal,
    StoreDamaged,
    StoreFull,
    StoreLocked,
    StoreOfOtherMarket,
    StoreReplaced,
    StoreUnwritable,
)
from onetape.store.trader_states import StateChange
from session_harness import SessionHarness, open_market, open_session
from trader.states import Problem, TraderStates
from trader.supervisor import Reaction, Supervisor, TaskEnded, find_error_rule

Run = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that only matter to a file or an exchange far away."""
    monkeypatch.setattr("trader.session.WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.session.END_WRITE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("trader.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("trader.supervisor.LONGEST_PAUSE_SECONDS", 0.1)


def read_states(trading: SessionHarness) -> list[str]:
    rows = trading.query("SELECT state FROM trader_states ORDER BY id")
    return [state for (state,) in rows]


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (SafetyRefusal("x"), Reaction.END),
        (StoreReplaced("x"), Reaction.END),
        (StoreOfOtherMarket("x"), Reaction.END),
        (DataError("x"), Reaction.END),
        (StoreDamaged("x"), Reaction.HALT),
        (StoreLocked("x"), Reaction.REBUILD),
        (StoreFull("x"), Reaction.REBUILD),
        (StoreUnwritable("x"), Reaction.REBUILD),
        (ExchangeRefused("x"), Reaction.RETRY),
        (ExchangeUnreachable("x"), Reaction.RETRY),
        (ConnectionResetError("x"), Reaction.REBUILD),
        (TaskEnded("x"), Reaction.REBUILD),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_class_of_error_has_its_own_reaction(error: Exception, reaction: Reaction) -> None:
    assert find_error_rule(error).reaction is reaction


class RecordedStates:
    """States whose rows are kept in a list, and a supervisor of them."""

    def __init__(self) -> None:
        self.rows: list[StateChange] = []
        self.is_locked = False
        self.states = TraderStates(now_ms=lambda: 7, write=self._write)
        self.supervisor = Supervisor(self.states)

    def _write(self, rows: list[StateChange]) -> None:
        if self.is_locked:
            raise StoreLocked("locked")
        self.rows += rows


def make_failing_step(*errors: Exception) -> Callable[[], Awaitable[None]]:
    """Return a step that raises these errors one after another, and then waits forever."""
    return make_failing_step_from(list(errors))


def make_failing_step_from(errors: list[Exception]) -> Callable[[], Awaitable[None]]:
    """Return a step that raises the errors of a list, which it empties, and then waits forever."""

    async def step() -> None:
        if errors:
            raise errors.pop(0)
        await asyncio.Event().wait()

    return step


async def run_until(work: Any, holds: Callable[[], bool]) -> None:
    """Run an endless coroutine until a condition holds, and shortly after."""
    running = asyncio.ensure_future(work)
    while not holds():
        assert not running.done()
        await asyncio.sleep(0.01)
    await asyncio.wait({running}, timeout=0.5)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_task_with_an_error_of_the_exchange_runs_again_alone(run: Run) -> None:
    recorded = RecordedStates()

    async def scene() -> None:
        step = make_failing_step(ExchangeRefused("no: 403; go"), ExchangeUnreachable("away"))
        await run_until(recorded.supervisor.repeat("REST", step), lambda: len(recorded.rows) > 1)

    run(scene())
    assert [(row.state, row.reason.partition(";")[0]) for row in recorded.rows] == [
        ("degraded", "no: 403"),
        ("degraded", "away"),
    ]


def test_the_same_problem_again_is_one_line_and_one_row(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = RecordedStates()

    async def scene() -> None:
        errors: list[Exception] = [ExchangeRefused("no") for _ in range(5)]
        repeated = recorded.supervisor.repeat("REST", make_failing_step_from(errors))
        await run_until(repeated, lambda: not errors)

    run(scene())
    assert len(recorded.rows) == 1
    assert capsys.readouterr().out.count("degraded: no;") == 1


@pytest.mark.parametrize("how", ["returns", "is cancelled", "raises"])
def test_a_task_that_ends_in_any_way_is_noticed(run: Run, how: str) -> None:
    recorded = RecordedStates()

    async def ends() -> None:
        await asyncio.sleep(0)
        if how == "is cancelled":
            raise asyncio.CancelledError
        if how == "raises":
            raise ZeroDivisionError

    async def scene() -> None:
        with pytest.raises(ZeroDivisionError if how == "raises" else TaskEnded):
            async with asyncio.timeout(20.0):
                await recorded.supervisor.run_tasks({"idle": ends(), "other": asyncio.sleep(60)})

    run(scene())


def test_an_unexpected_error_degrades_the_trader_and_rebuilds_the_session(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = RecordedStates()
    built: list[int] = []

    async def work() -> None:
        built.append(1)
        if len(built) < 3:
            raise ZeroDivisionError("by accident")
        recorded.supervisor.note_working()
        await asyncio.Event().wait()

    async def scene() -> None:
        running = recorded.supervisor.run(work, asyncio.Event().wait)
        await run_until(running, lambda: len(recorded.rows) > 1)

    run(scene())
    assert len(built) == 3
    assert [row.state for row in recorded.rows] == ["degraded", "trading"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("degraded: unexpected ZeroDivisionError: by accident; no entries")
    again, _, over = lines[1].partition("; over: ")
    assert re.fullmatch(r"trading again after \d+ s", again)
    assert over == "unexpected ZeroDivisionError: by accident"


def test_a_refusal_for_safety_ends_the_program(run: Run) -> None:
    recorded = RecordedStates()

    async def scene() -> None:
        with pytest.raises(SafetyRefusal):
            await recorded.supervisor.run(
                make_failing_step(SafetyRefusal("lost")), asyncio.Event().wait
            )

    run(scene())
    assert recorded.rows == []


def test_a_damaged_database_halts_the_trader_and_does_not_end_the_process(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = RecordedStates()
    work = make_failing_step(StoreDamaged("x.db is damaged; run again"))
    running = recorded.supervisor.run(work, asyncio.Event().wait)
    run(run_until(running, lambda: recorded.states.state == "halted"))
    assert recorded.states.state == "halted"
    assert capsys.readouterr().out == (
        "halted: x.db is damaged; nothing is traded and nothing is written any more; "
        "stop the trader, restore a backup, start it again\n"
    )


def test_rows_of_states_wait_until_the_file_can_be_written() -> None:
    recorded = RecordedStates()
    recorded.is_locked = True
    recorded.states.report("database", Problem("locked", "waits", "end it"))
    recorded.states.report("REST", Problem("no response", "requests again", "look"))
    assert recorded.rows == []
    recorded.is_locked = False
    recorded.states.clear_problem("database")
    assert [(row.state, row.reason) for row in recorded.rows] == [
        ("degraded", "locked; waits"),
        ("degraded", "no response; requests again"),
        ("degraded", "no response; requests again (over: locked)"),
    ]
    recorded.states.clear_problem("REST")
    assert recorded.rows[-1].state == "trading"


def test_while_a_problem_lasts_no_position_is_entered() -> None:
    recorded = RecordedStates()
    assert recorded.states.entry_obstacle is None
    recorded.states.report("REST", Problem("no response", "requests again", "look"))
    assert recorded.states.entry_obstacle == "degraded: no response"
    recorded.states.clear_problem("REST")
    assert recorded.states.entry_obstacle is None


def test_a_file_that_stays_locked_degrades_the_trader_which_recovers(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with hold_write_lock(db):
                await wait_for_line(capsys, "degraded: ")
            await trading.until(lambda: len(read_states(trading)) >= 3)
            assert read_states(trading) == ["trading", "degraded", "trading"]
            await opened.go_to(2.1)
            await trading.until_decided(1)

    seen.clear()
    run(scene())
    line = next(line for line in seen if line.startswith("degraded: "))
    assert "stayed locked by another process; no entries meanwhile" in line
    assert "run again" not in line


def test_candles_that_closed_while_the_file_was_locked_are_no_time_without_a_session(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with hold_write_lock(db):
                await wait_for_line(capsys, "degraded: ")
                await opened.go_to(3.1)
            await trading.until_decided(2)

    seen.clear()
    run(scene())
    read(capsys)
    assert [line for line in seen if " from 2024-03-01 00:00 to " in line] == [
        "the trader could not decide from 2024-03-01 00:00 to 2024-03-01 02:00: "
        "2 candles not decided on"
    ]


def test_a_stop_while_the_file_is_locked_is_quick_and_prints_what_is_not_stored(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> float:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with hold_write_lock(db):
                await wait_for_line(capsys, "degraded: ")
                with BusyLoop() as busy_loop:
                    trading.stop.request("SIGTERM")
                    await asyncio.wait({trading.task})
                    return busy_loop.seconds

    assert run(scene()) < 2
    assert "the end of the session is not stored; the next one stores it:" in (
        capsys.readouterr().out
    )


def test_a_full_disk_degrades_the_trader_which_recovers(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with fill_database(trading):
                hour = 1.1
                while "degraded" not in "".join(seen):
                    await opened.go_to(hour)
                    await asyncio.sleep(0.05)
                    hour += 1
                    read(capsys)
            await trading.until(lambda: len(read_states(trading)) >= 3)
            assert read_states(trading)[-1] == "trading"

    seen.clear()
    run(scene())
    line = next(line for line in seen if line.startswith("degraded: "))
    assert "the disk is full; no entries meanwhile" in line
    assert line.endswith("; free some space, or raise the quota")


def test_a_file_that_becomes_read_only_degrades_the_trader_which_recovers(
    run: Run, db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            trading.query("PRAGMA query_only = ON")
            await wait_for_line(capsys, "degraded: ")
            trading.query("PRAGMA query_only = OFF")
            await trading.until(lambda: len(read_states(trading)) >= 3)
            assert read_states(trading) == ["trading", "degraded", "trading"]
            await opened.go_to(2.1)
            await trading.until_decided(1)

    seen.clear()
    run(scene())
    (line,) = (line for line in seen if line.startswith("degraded: "))
    assert line == (
        f"degraded: cannot write {db} (attempt to write a readonly database); no entries "
        "meanwhile, exits follow as soon as the file can be written; make the file and its folder "
        "writable"
    )


seen: list[str] = []


def read(capsys: pytest.CaptureFixture[str]) -> None:
    seen.extend(capsys.readouterr().out.splitlines())


async def wait_for_line(capsys: pytest.CaptureFixture[str], beginning: str) -> None:
    async with asyncio.timeout(120):
        while not any(line.startswith(beginning) for line in seen):
            await asyncio.sleep(0.01)
            read(capsys)


@contextmanager
def fill_database(trading: SessionHarness) -> Generator[None]:
    """Let the session's file be as full as SQLite can be made to find it: no page more."""
    trading.query("PRAGMA max_page_count = 1")
    yield
    trading.query("PRAGMA max_page_count = 4294967294")


def test_a_lost_lease_ends_the_session(run: Run, db: Path) -> None:
    async def scene() -> None:
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            await trading.until_decided(-1)
            with trading.store.write() as connection:
                connection.execute("UPDATE leases SET token = token + 1")
            await trading.until(lambda: False)

    with pytest.raises(OnetapeError, match="another process took over"):
        run(scene())


def test_a_problem_of_two_sources_is_one_line_and_one_row_until_both_are_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded = RecordedStates()
    refused = Problem("403", "requests again", "look")
    recorded.states.report("stream", refused)
    recorded.states.report("REST", refused)
    recorded.states.clear_problem("stream")
    assert recorded.states.state == "degraded"
    recorded.states.clear_problem("REST")
    assert [row.state for row in recorded.rows] == ["degraded", "trading"]
    assert len(capsys.readouterr().out.splitlines()) == 2
