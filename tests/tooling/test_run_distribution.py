"""The tests run in several processes by default, a file's tests together."""

import os
from pathlib import Path

import pytest

from run_distribution import LONGEST_FIRST, count_processes


def test_the_files_that_begin_first_exist(repository: Path):
    assert [name for name in LONGEST_FIRST if not (repository / "tests" / name).exists()] == []


@pytest.mark.parametrize(
    "arguments", [["tests/test_readme.py"], ["tests/apps/trader/test_exits.py::test_one[a::b]"]]
)
def test_one_file_needs_no_other_process(arguments: list[str]):
    assert count_processes(arguments) == 0


@pytest.mark.parametrize("arguments", [["tests"], ["tests/apps", "tests/test_readme.py"]])
def test_more_than_one_file_are_shared_by_two_processes_for_each_processor(arguments: list[str]):
    assert count_processes(arguments) == 2 * (os.cpu_count() or 1)
