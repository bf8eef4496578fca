"""Strategy files whose code harms its process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candles
from trader.evaluator.process_evaluator import ProcessEvaluator
from trader.evaluator.results import Evaluation, EvaluationFailure

#: Time limit that only an evaluation that hangs exceeds, also on a busy machine.
LONG_DEADLINE_SECONDS = 120.0

SOURCE = """
import ctypes, os, signal, subprocess, sys, threading, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy

FOLDER = Path({folder!r})
CALLS = []


def note_process():
    with (FOLDER / "processes").open("a") as file:
        file.write(f"{{os.getpid()}}\\n")


@dataclass(frozen=True)
class Hostile(Strategy):
    name: ClassVar[str] = "hostile"

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        CALLS.append(1)
        ones = np.ones(len(candles), dtype=np.int8)
        if {condition}:
            {attack}
        return Signals(ones, {{}})
"""

#: Forks three processes that leave their parent and its process group, and stay.
FORKS = """for _ in range(3):
                if os.fork() == 0:
                    if os.fork() == 0:
                        os.setsid()
                        note_process()
                        while True:
                            time.sleep(60)
                    os._exit(0)
                os.wait()
            while not (FOLDER / "processes").exists():
                time.sleep(0.001)
            while len((FOLDER / "processes").read_text().split()) < 3:
                time.sleep(0.001)"""
ENDLESS = "while True: pass"
ALLOCATES = "np.ones(1_500_000_000_000, dtype=np.int8)"
#: Over the limit of a worker, and less than most computers have; nothing is written to it.
PASSES_LIMIT = "np.empty(5_000_000_000, dtype=np.int8)"
ENDS = "os._exit(7)"
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
SLEEPS = "time.sleep(60)"
CLOSES = "os.closerange(0, 1_000)"
PRINTS = "print('printed'); os.write(1, b'written'); ctypes.CDLL(None).puts(b'by C')"
SIGNALS = (
    "[os.kill(pid, number) for pid in (0, os.getppid()) "
    "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]"
)
FLOODS = "[os.write(1, b'x' * 1_000_000) for _ in range(100)]"
STOPS_HELPER = "os.kill(os.getppid(), signal.SIGSTOP)"
KILLS_HELPER = "os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
EXITS = "raise SystemExit(3)"
CHANGES_FOLDER = "os.chdir('/')"
CRASHES = "ctypes.string_at(0)"
THREADS = """def spin():
                while True:
                    time.sleep(0.0001)
            for _ in range(20):
                threading.Thread(target=spin).start()"""
INTERRUPTS = "raise KeyboardInterrupt"
GARBAGE = (
    "[os.write(fd, b'x' * 64) for fd in range(100) if os.path.islink(f'/proc/self/fd/{fd}') "
    "and os.readlink(f'/proc/self/fd/{fd}').startswith('socket:')]"
)


def write_hostile(folder: Path, attack: str, condition: str = "True") -> str:
    """Write a strategy file; return the name to load it by.

    Args:
        folder: Folder of the file, to which the strategy also writes the ids of its processes.
        attack: Code of `evaluate`.
        condition: Condition of the attack, as Python code.
    """
    path = folder / "hostile.py"
    text = SOURCE.format(folder=str(folder), attack=attack, condition=condition)
    path.write_text(text, encoding="utf-8")
    return str(path)


def let_others_be_slow(monkeypatch: pytest.MonkeyPatch, hanging: int) -> None:
    """Apply the deadline only to the evaluation that hangs: a busy machine is slow in others.

    Args:
        monkeypatch: Fixture of the test.
        hanging: Open of the newest candle of that evaluation, epoch seconds.
    """
    evaluate = ProcessEvaluator.evaluate

    async def evaluate_with_deadline(
        self: ProcessEvaluator,
        candles: Candles,
        higher: Mapping[str, Any],
        rows: int,
        seconds: float,
    ) -> Evaluation | EvaluationFailure:
        is_hanging = candles.timestamp[-1] == hanging
        return await evaluate(
            self, candles, higher, rows, seconds if is_hanging else LONG_DEADLINE_SECONDS
        )

    monkeypatch.setattr(ProcessEvaluator, "evaluate", evaluate_with_deadline)


def read_noted_processes(folder: Path) -> list[int]:
    """Return the process ids that a strategy has written."""
    path = folder / "processes"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_running(process_id: int) -> bool:
    """Return whether there is a process with this number that has not ended."""
    try:
        text = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"
