"""`backtester cluster`: real scheduler and workers give the results of this computer alone."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onetape.optimization.cluster.certificates import make_certificates
from onetape.optimization.folder import RESULTS
from programs import Program

Run = Callable[..., Any]
Document = dict[str, Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=20,30")
ALL = ("--min-trades", "0")
#: A strategy whose evaluation lasts, so that a process can be killed meanwhile.
SLOW = """
import os, time
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Slow(Strategy):
    name: ClassVar[str] = "slow"
    period: int = parameter(5, ge=1, le=99)

    @property
    def lookback(self):
        return self.period + 1

    def evaluate(self, candles, higher):
        if len(candles) > 300:  # not in the bias check, which evaluates short windows
            time.sleep(0.1)
        if self.period == 13:
            os._exit(3)
        average = indicators.sma(candles.close, self.period)
        return Signals(indicators.crosses(candles.close, average, 0.0), {})
"""


@contextmanager
def start_cluster(
    folder: Path, jobs: int = 2, tls: Path | None = None
) -> Generator[tuple[str, Program, Program]]:
    """Yield the address of a scheduler, the scheduler and its workers; all end with the block."""
    flags = () if tls is None else ("--tls", str(tls))
    start = ("cluster", "start", "--listen", "127.0.0.1:0", *flags)
    with Program("backtester", *start, folder=folder) as scheduler:
        address = scheduler.until("scheduler at ").split(" at ")[1].partition(";")[0]
        join = ("cluster", "join", address, "--jobs", str(jobs), *flags)
        with Program("backtester", *join, folder=folder) as workers:
            workers.until(f"{jobs} worker")
            yield address, scheduler, workers
            workers.send(signal.SIGTERM)
            assert workers.ends() == 0
            assert (workers.errors, scheduler.errors) == ([], [])


def read_result_lines(found: Document) -> list[str]:
    return sorted((Path(found["folder"]) / RESULTS).read_text(encoding="utf-8").splitlines())


def forget(found: Document) -> None:
    """Delete the results, so that the next start evaluates all combinations."""
    shutil.rmtree(found["folder"])


def list_children(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    own = [one for file in files for one in file.read_text().split()]
    return [one for child in own for one in (int(child), *list_children(int(child)))]


def read_command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_results_of_a_cluster_equal_local_results_byte_for_byte(
    optimize: Run, folder: Path, tmp_path: Path
) -> None:
    local = optimize(*GRID, *ALL)
    lines = read_result_lines(local)
    tls = tmp_path / "tls"
    make_certificates(tls)
    for certificates in (None, tls):
        forget(local)
        with start_cluster(folder, tls=certificates) as (address, _, _):
            flags = () if certificates is None else ("--tls", str(certificates))
            found = optimize(*GRID, *ALL, "--cluster", address, *flags)
        assert read_result_lines(found) == lines
        assert found["results"] == local["results"]


def test_a_cluster_evaluates_a_walk_forward_and_a_user_metric(optimize: Run, folder: Path) -> None:
    path = folder / "user" / "metrics" / "own.py"
    path.parent.mkdir(parents=True)
    path.write_text('def own(run):\n    return -run.metrics["fees"]\n', encoding="utf-8")
    flags = (*GRID, *ALL, "--walk-forward", "40d/20d", "--rank", "user/metrics/own.py")
    local = optimize(*flags)
    forget(local)
    with start_cluster(folder) as (address, _, _):
        found = optimize(*flags, "--cluster", address)
    assert found["windows"] == local["windows"]


@pytest.fixture
def slow(folder: Path) -> tuple[str, ...]:
    """Return flags of a strategy in a file, whose evaluation of 13 candles kills its process."""
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    return ("--strategy", "slow.py:Slow", "--param", "period=2:30")


def test_a_combination_that_kills_its_worker_loses_no_other_result(
    optimize: Run, folder: Path, slow: tuple[str, ...]
) -> None:
    with start_cluster(folder) as (address, _, _):
        found = optimize(*slow, *ALL, "--cluster", address)
    assert [one["parameters"] for one in found["failed"]] == [{"period": 13}]
    assert len(found["results"]) == 28


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_loses_nothing(optimize: Run, folder: Path, slow: tuple[str, ...]) -> None:
    with start_cluster(folder) as (address, _, workers):
        driver = ("optimize", "--exchange", "simulator", *slow, *ALL, "--cluster", address)
        with Program("backtester", *driver, folder=folder) as running:
            results = wait_for_results(folder, 3)
            started = [
                one for one in list_children(workers.pid) if b"spawn_main" in read_command_line(one)
            ]
            os.kill(started[0], signal.SIGKILL)
            assert running.ends() == 0, running.errors
    found = optimize(*slow, *ALL)
    assert found["trials"]["earlier"] == 28  # the one that fails is tried again
    periods = [
        json.loads(line)["parameters"]["period"] for line in results.read_text().splitlines()
    ]
    assert sorted(periods) == list(range(2, 31))


def test_a_killed_driver_and_a_killed_scheduler_are_resumed(
    optimize: Run, folder: Path, slow: tuple[str, ...]
) -> None:
    with start_cluster(folder) as (address, _, _):
        driver = ("optimize", "--exchange", "simulator", *slow, *ALL, "--cluster", address)
        with Program("backtester", *driver, folder=folder) as running:
            results = wait_for_results(folder, 3)
            running.send(signal.SIGKILL)
            running.ends()
    start = ("cluster", "start", "--listen", "127.0.0.1:0")
    with Program("backtester", *start, folder=folder) as scheduler:
        address = scheduler.until("scheduler at ").split(" at ")[1].partition(";")[0]
        join = ("cluster", "join", address, "--jobs", "1")
        with Program("backtester", *join, folder=folder) as workers:
            workers.until("1 worker joined ")
            driver = ("optimize", "--exchange", "simulator", *slow, *ALL, "--cluster", address)
            with Program("backtester", *driver, folder=folder) as running:
                wait_for_results(folder, len(results.read_text().splitlines()) + 2)
                scheduler.send(signal.SIGKILL)
                assert running.ends() == 3
                assert "the scheduler does not respond" in running.errors[-1]
            assert workers.ends() == 0
    found = optimize(*slow, *ALL)
    assert found["trials"]["earlier"] >= 5
    periods = [
        json.loads(line)["parameters"]["period"] for line in results.read_text().splitlines()
    ]
    assert sorted(periods) == list(range(2, 31))


def wait_for_results(folder: Path, count: int) -> Path:
    """Return the file of the results once it has a number of lines."""
    deadline = time.monotonic() + 180
    while True:
        for path in (folder / "data" / "optimizations").glob(f"*/{RESULTS}"):
            if len(path.read_text().splitlines()) >= count:
                return path
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_with_different_code_is_not_used(
    backtester: Run, optimize: Run, folder: Path, tmp_path: Path, slow: tuple[str, ...]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "slow.py").write_text(SLOW.replace("0.0)", "0.1)"), encoding="utf-8")
    with start_cluster(folder, jobs=1) as (address, _, _):
        join = ("cluster", "join", address, "--jobs", "1")
        with Program("backtester", *join, folder=elsewhere) as others:
            others.until("1 worker joined ")
            ended = backtester(
                "optimize", "--exchange", "simulator", *slow, *ALL, "--cluster", address
            )
    assert ended.code == 0, ended.err
    assert "is not used: other code of strategy slow" in ended.err


@pytest.fixture
def refused(backtester: Run, database: Path) -> Callable[..., str]:
    """Return a function that runs a command which is refused with exit code 2 or 3 in one line."""
    del database

    def run(*arguments: str) -> str:
        ended = backtester(*arguments)
        assert (ended.code in (2, 3), ended.out, ended.err.count("\n")) == (True, "", 1), ended.err
        return ended.err

    return run


def test_an_unreachable_scheduler_or_wrong_certificates_print_one_line(
    refused: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    optimization = ("optimize", "--exchange", "simulator", *GRID, *ALL)
    line = refused(*optimization, "--cluster", "127.0.0.1:9")
    assert "no scheduler responds there" in line
    first, second = tmp_path / "first", tmp_path / "second"
    make_certificates(first)
    make_certificates(second)
    start = ("cluster", "start", "--listen", "127.0.0.1:0", "--tls", str(first))
    with Program("backtester", *start, folder=folder) as scheduler:
        address = scheduler.until("scheduler at ").split(" at ")[1].partition(";")[0]
        line = refused(*optimization, "--cluster", address, "--tls", str(second))
        assert "its certificates are not those of" in line
        line = refused("cluster", "join", address, "--tls", str(second))
        assert "no scheduler responds there, or its certificates are others" in line
    assert "other computers connect by TLS alone" in refused(
        *optimization, "--cluster", "10.0.0.1:8786"
    )
    assert "add --cluster" in refused(*optimization, "--tls", str(first))
