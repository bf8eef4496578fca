"""Signals end optimize, check and watch with all their processes, hanging ones included."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from programs import MAX_WAIT_SECONDS, Program

STRATEGY = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Hanging(Strategy):
    name: ClassVar[str] = "hanging"
    period: int = parameter(5, ge=1, le=50)
    lookback: ClassVar[int] = 1

    def evaluate(self, candles, higher):
        if len(candles) < MOST:
            Path(f"hangs-{os.getpid()}").touch()
            HANG
        return Signals(candles.close * 0, {})
"""
HANG = "while True: pass"
#: Commands, and from how many candles on the strategy does not hang.
OPTIMIZE = ("optimize", "--param", "period=2:9", "--jobs", "2")
CHECK = ("check",)
COMMANDS = [(OPTIMIZE, 10_000), (CHECK, 1_000)]
CODES = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]

Start = Callable[..., Program]
Found = TypeVar("Found")


@pytest.fixture
def start(database: Path, tmp_path: Path) -> Start:
    """Return a function that starts a command with a strategy that hangs."""
    del database

    def started(*arguments: str, most: int, more: str = "") -> Program:
        text = STRATEGY.replace("MOST", str(most)).replace("HANG", HANG) + more
        (tmp_path / "hanging.py").write_text(text)
        words = ("--exchange", "simulator", "-s", "hanging.py")
        return Program("backtester", *arguments, *words, folder=tmp_path)

    return started


def wait_for(what: Callable[[], Found]) -> Found:
    """Wait until a function returns a true value; return the value."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def read_hanging_processes(folder: Path) -> set[int]:
    """Return the processes that the strategy has begun to hang in."""
    return {int(path.name.partition("-")[2]) for path in folder.glob("hangs-*")}


def is_gone(process_id: int) -> bool:
    """Return whether a process has ended, waited for or not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize(("command", "most"), COMMANDS)
def test_a_signal_ends_the_program_and_its_processes_in_one_line(
    start: Start,
    tmp_path: Path,
    command: tuple[str, ...],
    most: int,
    number: signal.Signals,
    code: int,
) -> None:
    with start(*command, most=most) as program:
        processes = wait_for(lambda: read_hanging_processes(tmp_path))
        program.send(number)
        assert program.ends() == code
        # They were waited for: nothing is left of them.
        assert all(map(is_gone, processes | read_hanging_processes(tmp_path)))
        assert (program.lines, len(program.errors)) == ([], 1)
        assert program.errors[0].startswith("backtester: stopped")


@pytest.mark.parametrize(("command", "most"), COMMANDS)
def test_hanging_processes_end_with_their_killed_program(
    start: Start, tmp_path: Path, command: tuple[str, ...], most: int
) -> None:
    with start(*command, most=most) as program:
        wait_for(lambda: read_hanging_processes(tmp_path))
        program.send(signal.SIGKILL)
        assert program.ends() == -signal.SIGKILL
        wait_for(lambda: all(map(is_gone, read_hanging_processes(tmp_path))))


def test_worker_processes_of_an_optimization_do_not_hold_its_lock(
    start: Start, tmp_path: Path
) -> None:
    with start(*OPTIMIZE, most=10_000):
        process = min(wait_for(lambda: read_hanging_processes(tmp_path)))
        opened = list[str]()
        for path in Path(f"/proc/{process}/fd").iterdir():
            # One that is closed meanwhile is gone.
            with suppress(FileNotFoundError):
                opened.append(str(path.readlink()))
        assert [name for name in opened if "optimizations" in name] == []


def test_a_second_signal_ends_a_program_that_is_stuck_after_the_first(
    start: Start, tmp_path: Path
) -> None:
    keeping = """
try:
    Path("begun").touch()
    while True: pass
except BaseException:
    Path("kept").touch()
    while True: pass
"""
    with start(*OPTIMIZE, most=10_000, more=keeping) as program:
        wait_for((tmp_path / "begun").exists)
        program.send(signal.SIGTERM)
        wait_for((tmp_path / "kept").exists)
        program.send(signal.SIGTERM)
        assert program.ends() == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_watch_leaves_no_folder_when_it_ends(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with start("--watch", most=10_000) as program:
        processes = wait_for(lambda: read_hanging_processes(tmp_path))
        assert [*tmp_path.glob("onetape-watch-*")]
        program.send(number)
        assert (program.ends(), program.lines[1:]) == (0, ["watch ended"])
        assert all(map(is_gone, processes))
        assert [*tmp_path.glob("onetape-watch-*")] == []


def test_a_watch_under_nohup_outlives_a_hangup(start: Start, tmp_path: Path) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        started = start("--watch", most=10_000)
    finally:
        signal.signal(signal.SIGHUP, ignored)
    with started as program:
        wait_for(lambda: read_hanging_processes(tmp_path))
        program.send(signal.SIGHUP)
        with (tmp_path / "hanging.py").open("a") as file:
            file.write("# changed")
        wait_for(lambda: len(read_hanging_processes(tmp_path)) > 1)
        program.send(signal.SIGTERM)
        assert (program.ends(), program.lines[1:]) == (0, ["watch ended"])


def test_the_backtest_of_a_killed_watch_ends(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with start("--watch", most=10_000) as program:
        processes = wait_for(lambda: read_hanging_processes(tmp_path))
        program.send(signal.SIGKILL)
        program.ends()
        wait_for(lambda: all(map(is_gone, processes)))
