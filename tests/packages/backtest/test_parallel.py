"""Jobs shared among processes: each has one result, whatever becomes of the processes."""

import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from onetape.backtest.parallel import map_unordered


def get_process_by_job(jobs: int, processes: int, work: Callable[[int], object]) -> dict[int, int]:
    """Return the id of the process of each job, after the given work; 0: it was killed."""

    def report_process(job: int) -> bytes:
        work(job)
        return str(os.getpid()).encode()

    results = [*map_unordered(report_process, range(jobs), processes)]
    assert sorted(job for job, _ in results) == list(range(jobs))
    return {job: int(result or 0) for job, result in results}


@pytest.mark.parametrize(("jobs", "processes"), [(0, 2), (1, 4), (3, 2), (23, 3), (200, 2)])
def test_each_job_has_one_result(jobs: int, processes: int) -> None:
    found = get_process_by_job(jobs, processes, abs)
    assert len(set(found.values())) <= processes


def test_a_large_result_arrives_complete() -> None:
    results = dict(map_unordered(lambda job: b"%d" % job * 300_000, range(4), 2))
    assert results == {job: b"%d" % job * 300_000 for job in range(4)}


@pytest.mark.parametrize("processes", [1, 3])
def test_a_killed_process_loses_only_its_current_job(processes: int) -> None:
    def work(job: int) -> None:
        if job in (0, 7, 19):
            os.kill(os.getpid(), signal.SIGKILL)

    found = get_process_by_job(20, processes, work)
    assert [job for job, process in sorted(found.items()) if not process] == [0, 7, 19]


def test_neighbouring_jobs_go_to_the_same_process() -> None:
    found = get_process_by_job(100, 2, lambda _: time.sleep(0.001))
    changes = sum(found[first] != found[second] for first, second in pairwise(range(100)))
    assert changes < 20


def test_jobs_of_a_busy_process_are_taken_over_by_others(tmp_path: Path) -> None:
    def work(job: int) -> None:
        deadline = time.monotonic() + 60
        while job == 0 and not (tmp_path / "39").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / str(job)).touch()

    found = get_process_by_job(40, 2, work)
    # The job behind the long one was handed over already.
    assert {found[job] for job in range(2, 40)} == {found[39]}
    assert found[39] != found[0]
