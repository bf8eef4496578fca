"""The rate of an optimization's progress bar counts only evaluations of the current start."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backtester.rendering import optimization_progress
from backtester.rendering.optimization_progress import format_progress_line
from terminal_output import run_in_terminal

Run = Callable[..., Any]
#: Takes at least so long for each combination, in seconds.
PAUSE = 0.1
SLOW = f"""
import time
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Slow(Strategy):
    name: ClassVar[str] = "slow"
    lookback = 1
    period: int = parameter(5, ge=1, le=900)

    def evaluate(self, candles, higher):
        if self.period > 800:
            time.sleep({PAUSE})
        return Signals(np.zeros(len(candles), dtype=np.int8), {{}})
"""
FIRST = ("-s", "slow.py", "--jobs", "1", "--no-check", "--param")
MANY = f"period={','.join(map(str, range(1, 201)))}"
MORE = ",".join(map(str, range(801, 816)))


@pytest.mark.parametrize(
    ("earlier", "line"),
    [
        (0, "60 of 100 combinations, 6.0/s, 7 s left"),
        (50, "60 of 100 combinations (50 by an earlier start), 1.0/s, 40 s left"),
        (60, "60 of 100 combinations (60 by an earlier start), 0.0/s"),
    ],
)
def test_the_rate_counts_evaluations_of_this_start_only(earlier: int, line: str) -> None:
    assert format_progress_line(60, 100, earlier, 10.0) == line


def test_a_resumed_optimization_shows_the_rate_of_this_start(
    optimize: Run, backtester: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("slow.py").write_text(SLOW)
    optimize(*FIRST, MANY)
    monkeypatch.setattr(optimization_progress, "LINE_EVERY_SECONDS", 0.0)
    shown = backtester("optimize", "--exchange", "simulator", *FIRST, f"{MANY},801,802").err
    paces = [float(pace) for pace in re.findall(r"combinations .*, ([0-9.,]+)/s", shown)]
    assert len(paces) == 2
    assert max(paces) <= 1 / PAUSE


def test_the_progress_bar_of_a_resumed_optimization_begins_where_the_last_one_ended(
    optimize: Run, folder: Path
) -> None:
    Path("slow.py").write_text(SLOW)
    optimize(*FIRST, MANY)
    program = Path(sys.executable).with_name("backtester")
    command = [program, "optimize", "--exchange", "simulator", *FIRST, f"{MANY},{MORE}"]
    _, drawn = run_in_terminal(command, folder)
    counts = [int(count) for count in re.findall(r"(\d+)/215", drawn)]
    assert min(counts) >= 200
