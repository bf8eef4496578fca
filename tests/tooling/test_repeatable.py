"""Test runs are repeatable, and one command repeats a failure of another seed."""

import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from repeatable import DEFAULT_SEED

#: Prints what Hypothesis draws, after modules of ours with many constants were loaded, or not.
DRAWING = """
import sys
from repeatable import set_up_hypothesis

set_up_hypothesis()
from hypothesis import given, strategies as st

if sys.argv[1:]:
    import onetape.engine.fills, many_constants

@given(st.integers(), st.floats(), st.text(), st.sampled_from(range(1000)))
def test(whole, real, text, chosen):
    print(whole, real, ascii(text), chosen)

test()
"""
FAILING = """
from hypothesis import given, strategies as st

@given(st.integers(0, 10**9))
def test_drawn(number):
    assert number < 1_000

def test_by_seed(random_seed):
    assert random_seed < 0

def test_of_no_chance():
    assert False
"""


def run_with_hash_seed(repository: Path, folder: Path, *arguments: str, hash_seed: str) -> str:
    paths = [str(repository / "tests/support"), str(repository / "tools"), str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", DRAWING, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": hash_seed},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def test_examples_do_not_depend_on_what_the_process_did_before(repository: Path, tmp_path: Path):
    numbers = [f"A{number} = {number**5 + 1_000}, {number / 7}" for number in range(60)]
    (tmp_path / "many_constants.py").write_text("\n".join(numbers))
    alone = run_with_hash_seed(repository, tmp_path, hash_seed="1")
    assert len(alone.splitlines()) >= 20
    assert run_with_hash_seed(repository, tmp_path, "after others", hash_seed="2") == alone


def test_shared_generators_begin_with_the_default_seed():
    expected = np.random.RandomState(DEFAULT_SEED)
    assert random.random() == random.Random(DEFAULT_SEED).random()  # noqa: S311
    assert np.random.random() == expected.random_sample()  # noqa: NPY002 - the shared one


@pytest.fixture
def make_pytest_options(repository: Path, tmp_path: Path) -> list[str]:
    """Return options by which pytest runs tests in a folder with our own set-up."""
    return [
        f"--rootdir={tmp_path}",
        f"--config-file={repository / 'pyproject.toml'}",
        f"--confcutdir={repository}",
        "-p",
        "conftest",
        "-n0",
    ]


def test_exploring_prints_seeds_and_the_command_that_repeats_each_failure(
    repository: Path, tmp_path: Path, make_pytest_options: list[str]
):
    file = tmp_path / "test_failing.py"
    file.write_text(FAILING)
    environment = os.environ | {"PYTHONPATH": str(repository / "tests")}
    explored = subprocess.run(
        [sys.executable, repository / "tools/explore.py", "0", *make_pytest_options, str(file)],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert explored.returncode == 1, explored.stdout + explored.stderr
    lines = explored.stdout.splitlines()
    assert lines[0].startswith("round 1: seed ")
    assert "1 rounds, 2 failures" in lines
    repeats = [line for line in lines if line.startswith("repeat with: ")]
    assert [line.rpartition("::")[2] for line in repeats[-2:]] == ["test_drawn", "test_by_seed"]
    # Nothing that draws nothing is run.
    assert "test_of_no_chance" not in explored.stdout
    words = shlex.split(repeats[-2])
    assert words[2:5] == ["uv", "run", "pytest"]
    again = subprocess.run(
        [sys.executable, "-m", "pytest", *make_pytest_options, *words[5:]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert again.returncode == 1
    found = [line for line in again.stdout.splitlines() if "number=" in line]
    assert found
    assert found[0] in explored.stdout
