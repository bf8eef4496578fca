"""Samplers of Optuna: equal results for any number of processes, and after SIGKILL."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.optimization.folder import RESULTS
from programs import Program

Run = Callable[..., Any]
WANTED = (
    *("--strategy", "sma_cross", "--param", "fast=2:30", "--param", "slow=10:60", "--no-check"),
    *("--constraint", "fast < slow", "--trials", "24", "--batch", "8", "--to", "2024-03-01"),
    *("--min-trades", "5"),
)
SLOW = """
import time
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Slow(Strategy):
    name: ClassVar[str] = "slow"
    period: int = parameter(5, ge=1, le=500)

    @property
    def lookback(self):
        return 501

    def evaluate(self, candles, higher):
        time.sleep(0.02)
        average = indicators.sma(candles.close, self.period)
        return Signals(indicators.crosses(candles.close, average, 0.0), {})
"""


def select_reproducible_parts(found: dict[str, Any]) -> str:
    """Return the parts of a document that must not depend on processes or kills."""
    return json.dumps(
        [found["results"], found["failed"], found["invalid"], found["rank_stability"]]
    )


def forget(folder: Path) -> None:
    """Move the results of earlier runs away."""
    number = len(list(folder.glob("old*")))
    (folder / "data/optimizations").rename(folder / f"old{number}")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "qmc", "random"])
def test_one_and_two_and_four_processes_find_the_same(
    optimize: Run, tmp_path: Path, sampler: str
) -> None:
    found: list[str] = []
    for jobs in ("1", "2", "4"):
        one = optimize(*WANTED, "--sampler", sampler, "--jobs", jobs)
        assert one["trials"]["here"] == 24
        assert all(
            each["parameters"]["fast"] < each["parameters"]["slow"] for each in one["results"]
        )
        found.append(select_reproducible_parts(one))
        forget(tmp_path)
    assert found[0] == found[1] == found[2]


def test_a_killed_tpe_search_resumes_to_the_same_result(
    optimize: Run, database: Path, tmp_path: Path
) -> None:
    del database
    (tmp_path / "slow.py").write_text(SLOW)
    wanted = (
        *("--strategy", "slow.py", "--param", "period=1:400", "--no-check", "--sampler", "tpe"),
        *("--trials", "40", "--batch", "8", "--jobs", "2", "--min-trades", "1"),
    )
    whole = select_reproducible_parts(optimize(*wanted))
    forget(tmp_path)
    with Program(
        "backtester", "optimize", "--exchange", "simulator", *wanted, folder=tmp_path
    ) as one:
        kept = tmp_path / "data/optimizations"
        deadline = time.monotonic() + 180
        while sum(len(path.read_bytes().splitlines()) for path in kept.glob(f"*/{RESULTS}")) < 12:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        one.send(signal.SIGKILL)
        one.ends()
    found = optimize(*wanted)
    assert found["trials"]["earlier"] >= 12
    assert select_reproducible_parts(found) == whole
    lines = (Path(found["folder"]) / RESULTS).read_text().splitlines()
    assert len(lines) == len({json.dumps(json.loads(line)["parameters"]) for line in lines})


def test_another_seed_proposes_other_combinations(optimize: Run) -> None:
    first, second = (
        {json.dumps(one["parameters"]) for one in found["results"]}
        for found in (optimize(*WANTED, "--sampler", "tpe", "--seed", seed) for seed in ("1", "2"))
    )
    assert first != second


def test_several_goals_list_the_pareto_front_first(optimize: Run) -> None:
    found = optimize(*WANTED, "--sampler", "nsga2", "--rank", "sharpe", "--rank", "max_drawdown")
    pairs = [
        (one["in_sample"]["sharpe"], one["in_sample"]["max_drawdown"])
        for one in found["results"]
        if one["ranked"]
    ]
    front = [
        pair
        for pair in pairs
        if not any(other != pair and other[0] >= pair[0] and other[1] >= pair[1] for other in pairs)
    ]
    assert found["rank"] == ["sharpe", "max_drawdown"]
    assert 0 < len(front) < len(pairs)
    assert sorted(pairs[: len(front)]) == sorted(front)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sampler", "tpe"), "--sampler tpe needs a number: --trials 1000"),
        (("--trials", "5"), "--trials is for a sampler: a grid takes every combination"),
        (("--sampler", "annealing"), "--sampler must be one of grid, random, tpe"),
        (("--sampler", "tpe", "--trials", "9000"), "--trials 9,000 is more than 5,000; tpe then"),
        (("--constraint", "fast"), "--constraint 'fast' must compare parameters and numbers"),
        (("--constraint", "fast < slwo"), "no parameter 'slwo'; did you mean 'slow'?"),
        (("--constraint", "__import__('os') < 1"), "must compare parameters and numbers"),
        (
            ("--constraint", "fast < 1"),
            "no combination can be tried (2 refused); last: fast < 1 is",
        ),
    ],
)
def test_an_invalid_search_is_refused_in_one_line(
    backtester: Run, database: Path, arguments: tuple[str, ...], words: str
) -> None:
    del database
    ended = backtester(
        *("optimize", "--exchange", "simulator", "-s", "sma_cross", "--param", "fast=5,6"),
        *arguments,
    )
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert words in ended.err
    assert not Path("data/optimizations").exists()


def test_without_optuna_an_error_names_the_extra_to_install(
    backtester: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del database
    monkeypatch.setitem(sys.modules, "optuna", None)
    ended = backtester("optimize", "--exchange", "simulator", *WANTED, "--sampler", "tpe")
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert "needs Optuna" in ended.err
    assert "uv sync --extra optuna" in ended.err
