"""The results file of an optimization has complete lines of successful combinations only."""

import json
import os
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onetape.core.errors import ConfigurationError
from onetape.optimization.folder import RESULTS, FolderResults, open_results

Run = Callable[..., Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5", "--param", "slow=10,30")
IDENTITY = {"strategy": "mine", "exchange": "e", "symbol": "A/B", "timeframe": "1h"}
FAILING = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Failing(Strategy):
    name: ClassVar[str] = "failing"
    period: int = parameter(5, ge=1, le=50)
    lookback: ClassVar[int] = 1

    def evaluate(self, candles, higher):
        if not Path("fixed").exists():
            if self.period == 5:
                os._exit(3)
            raise RuntimeError("not yet")
        return Signals(candles.close * 0, {})
"""
WANTED = ("optimize", "--exchange", "simulator", "-s", "failing.py", "--param", "period=5,6")


def test_failed_combinations_are_reported_and_evaluated_again_by_each_start(
    backtester: Run, optimize: Run, folder: Path
) -> None:
    (folder / "failing.py").write_text(FAILING)
    for _ in range(2):
        ended = backtester(*WANTED, "--json")
        shown = [line for line in ended.err.splitlines() if ": period " in line]
        assert ended.code == 3
        assert ended.err.splitlines()[-1].startswith(
            "backtester: no combination gave a result (2 combinations failed); first: period 5: "
        )
        assert len(shown) == 2 + 1
        assert json.loads(ended.out)["results"] == []
    (folder / "fixed").touch()
    found = optimize(*WANTED[3:])
    assert (len(found["results"]), found["failed"]) == (2, [])
    assert (found["trials"]["here"], found["trials"]["earlier"]) == (2, 0)


@contextmanager
def limit_file_size(size: int) -> Generator[None]:
    """Limit the size of files of this process, bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def make_line(number: int) -> bytes:
    return json.dumps({"parameters": {"n": number}, "error": "x" * 100}).encode()


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_partial_line(tmp_path: Path) -> None:
    with open_results(tmp_path, IDENTITY) as results:
        results.add(make_line(1))
        path = results.folder / RESULTS
        whole = path.read_bytes()
        with (
            limit_file_size(len(whole) + 20),
            pytest.raises(ConfigurationError, match="cannot be writt"),
        ):
            results.add(make_line(2))
        assert path.read_bytes() == whole
        results.add(make_line(3))
    descriptor = os.open(path, os.O_RDWR)
    again = FolderResults(path.parent, descriptor)
    assert [number for number in (1, 2, 3) if again.get({"n": number})] == [1, 3]
    os.close(descriptor)


@pytest.mark.parametrize("change", ["part", "metric", "text", "error", "list", "bytes"])
def test_a_stored_line_of_another_form_is_refused_in_one_line(
    optimize: Run, backtester: Run, change: str
) -> None:
    path = Path(optimize(*GRID)["folder"]) / RESULTS
    first, second = path.read_bytes().splitlines()
    result = json.loads(first)
    if change == "part":
        del result["out_of_sample"]
    elif change == "metric":
        del result["in_sample"]["sharpe"]
    elif change == "text":
        result["in_sample"]["sharpe"] = "high"
    elif change == "error":
        result = {"parameters": result["parameters"], "error": 1}
    junk = {"list": b"[1]", "bytes": b'{"parameters": "\xff"}'}
    path.write_bytes(junk.get(change, json.dumps(result).encode()) + b"\n" + second + b"\n")
    ended = backtester("optimize", "--exchange", "simulator", *GRID)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert "has a line that is not a result (" in ended.err


def test_a_random_search_has_the_maximum_size_of_a_grid(backtester: Run, database: Path) -> None:
    del database
    ended = backtester("optimize", "-s", "sma_cross", "--sampler", "random", "--trials", "20000000")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--trials 20,000,000 is more than 100,000" in ended.err
