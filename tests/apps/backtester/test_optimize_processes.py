"""An optimization uses the permitted processors, and finds the same with one process."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.backtest.parallel import count_processors

Run = Callable[..., Any]
SOURCE = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class ProcessNames(Strategy):
    """Writes down which process evaluates it."""

    name: ClassVar[str] = "process_names"
    period: int = parameter(5, ge=1, le=50)

    @property
    def lookback(self):
        return self.period + 1

    def are_absent(self):
        if not Path("expected.txt").exists():
            return False
        count, parent = Path("expected.txt").read_text().split()
        seen = set(Path("processes.txt").read_text().split()) - {parent}
        return str(os.getpid()) != parent and len(seen) < int(count)

    def evaluate(self, candles, higher):
        with Path("processes.txt").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        # A process that a busy machine starts late gets its part, too.
        end = time.monotonic() + 30
        while self.are_absent() and time.monotonic() < end:
            time.sleep(0.01)
        average = indicators.sma(candles.close, self.period)
        return Signals(indicators.crosses(candles.close, average, 0.0), {})
'''
WANTED = ("--strategy", "process_names.py", "--param", "period=2:13", "--no-check")


@pytest.fixture
def workers(optimize: Run, folder: Path) -> Callable[..., int]:
    """Return a function that optimizes and returns how many processes worked."""
    (folder / "process_names.py").write_text(SOURCE)

    def run(expected: int, *arguments: str) -> int:
        seen = folder / "processes.txt"
        seen.write_text("")
        (folder / "expected.txt").write_text(f"{expected} {os.getpid()}")
        assert len(optimize(*WANTED, *arguments)["results"]) == 12
        # This one prepares what all need, and evaluates nothing that is ranked.
        return len(set(seen.read_text().split()) - {str(os.getpid())})

    return run


def test_an_optimization_uses_all_processors_by_default(
    workers: Callable[..., int],
) -> None:
    expected = min(count_processors(), 12)
    assert workers(expected) == expected


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_setting_jobs_is_the_number_of_processes(
    workers: Callable[..., int], jobs: int
) -> None:
    assert workers(jobs, "--jobs", str(jobs)) == jobs


def test_one_process_and_several_find_the_same(optimize: Run, folder: Path) -> None:
    (folder / "process_names.py").write_text(SOURCE)
    found: list[str] = []
    for jobs in ("1", "3"):
        (folder / "process_names.py").write_text(SOURCE + f"# {jobs}\n")
        found.append(json.dumps(optimize(*WANTED, "--jobs", jobs)["results"]))
    assert found[0] == found[1]
