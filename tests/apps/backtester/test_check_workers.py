"""A bias check in several processes gives the result of one process."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from onetape.backtest import bias_check_workers
from onetape.backtest.bias_check_workers import evaluate_windows_parallel
from onetape.strategies import load_strategy
from onetape.strategies.check_data import CheckData, StrategyMaker
from onetape.strategies.lookahead_check import check_strategy
from onetape.strategies.testing import random_candles

SOURCE = """
import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Some(Strategy):
    name: ClassVar[str] = "some"
    lookback = 1

    def evaluate(self, candles, higher):
        close = candles.close
        {body}
"""
BODIES = {
    "clean": "return Signals(np.sign(np.diff(close, prepend=close[0])), {})",
    "look-ahead": "return Signals(np.sign(close - close.mean()), {})",
    "fails late": "assert candles.timestamp[-1] % 3600000 or len(close) > 100, 'no'; "
    "return Signals(close * 0, {})",
}


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> CheckData:
    """Return enough candles for several small jobs."""
    monkeypatch.setattr(bias_check_workers, "BARS_PER_JOB", 250)
    return CheckData(random_candles(1_900, seed=6))


def make_strategy_factory(folder: Path, body: str) -> StrategyMaker:
    path = folder / "some.py"
    path.write_text(SOURCE.replace("{body}", body))
    return lambda: load_strategy(str(path))


@pytest.mark.parametrize("what", BODIES)
def test_several_processes_find_the_same_as_one_process(
    tmp_path: Path, data: CheckData, what: str
) -> None:
    make, bars = make_strategy_factory(tmp_path, BODIES[what]), np.arange(len(data.candles))
    reports: list[int] = []
    alone = check_strategy(make, data, bars)
    together = check_strategy(make, data, bars, reports.append, evaluate_windows_parallel(2))
    assert together == alone
    assert alone.is_clean == (what == "clean")
    assert reports[-1] == 1_900


def test_a_killed_process_changes_nothing(tmp_path: Path, data: CheckData) -> None:
    parent = os.getpid()
    # The first bars of the third job kill the process that evaluates them, but not the parent.
    body = (
        f"if len(close) == 100 and candles.timestamp[-1] == {int(data.candles.timestamp[600])} "
        f"and os.getpid() != {parent}: os.kill(os.getpid(), {int(signal.SIGKILL)})\n        "
        + BODIES["clean"]
    )
    make, bars = make_strategy_factory(tmp_path, body), np.arange(len(data.candles))
    assert check_strategy(make, data, bars, evaluate=evaluate_windows_parallel(2)).is_clean


def test_few_bars_start_no_further_process(
    tmp_path: Path, data: CheckData, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, bars = make_strategy_factory(tmp_path, BODIES["clean"]), np.arange(100, 300)
    alone = check_strategy(make, data, bars)
    monkeypatch.delattr(os, "fork")
    assert check_strategy(make, data, bars, evaluate=evaluate_windows_parallel(2)) == alone
