"""`backtester new-strategy`: the generated files work unchanged, and no file is overwritten."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
CONFIGURATION = """
[pytest]
addopts = --import-mode=importlib --strict-config --strict-markers
filterwarnings = error
"""


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_generated_test_passes_and_the_generated_strategy_passes_the_check(
    backtester: Run, database: Path, folder: Path
) -> None:
    del database
    assert backtester("new-strategy", "my_trend").code == 0
    assert backtester("--exchange", "simulator", "--strategy", "my_trend", "--no-report").code == 0
    checked = backtester("check", "--exchange", "simulator", "--strategy", "my_trend")
    assert checked.out == "bias check: passed, 2,880 bars\n"
    (folder / "pytest.ini").write_text(CONFIGURATION)
    # As a user runs it, but for coverage's own start in the child.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "user/strategies"],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_generated_test_passes_when_a_higher_timeframe_is_added(
    backtester: Run, folder: Path
) -> None:
    assert backtester("new-strategy", "my_trend").code == 0
    file = folder / "user" / "strategies" / "my_trend.py"
    text = file.read_text()
    assert "    # higher_timeframes: ClassVar" in text
    file.write_text(
        text.replace("    # higher_timeframes: ClassVar", "    higher_timeframes: ClassVar")
    )
    written = runpy.run_path(str(file.with_name("test_my_trend.py")))
    tests = [test for name, test in written.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_paths_of_both_generated_files_are_printed(backtester: Run, folder: Path) -> None:
    document = backtester("new-strategy", "my_trend", "--json").document
    assert document.pop("next")[-1].startswith("uv run backtester --strategy my_trend")
    assert document == {
        "strategy": "my_trend",
        "file": "user/strategies/my_trend.py",
        "test": "user/strategies/test_my_trend.py",
    }
    assert list_files(folder) == ["user/strategies/my_trend.py", "user/strategies/test_my_trend.py"]
    text = (folder / "user/strategies/my_trend.py").read_text()
    assert "class MyTrend(Strategy):" in text
    assert "my_strategy" not in text
    assert "MyStrategy" not in text


@pytest.mark.parametrize("there", ["my_trend.py", "test_my_trend.py"])
def test_an_existing_file_is_not_overwritten(backtester: Run, folder: Path, there: str) -> None:
    path = folder / "user" / "strategies" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    ended = backtester("new-strategy", "my_trend")
    assert (ended.code, ended.out) == (2, "")
    assert f"{there} exists and is not overwritten" in ended.err
    assert path.read_text() == "mine"
    assert list_files(folder) == [f"user/strategies/{there}"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "My",
        "7up",
        "a-b",
        "a.py",
        "../x",
        "a b",
        "ä",
        "test_x",
        "class",
        "x" * 61,
        "_x",
        "a/b",
        "__init__",
    ],
)
def test_an_invalid_name_is_refused(backtester: Run, folder: Path, name: str) -> None:
    ended = backtester("new-strategy", "--", name)
    assert (ended.code, ended.out) == (2, "")
    assert "is not a valid name for a strategy; use lower case" in ended.err
    assert list_files(folder) == []


def test_the_name_of_a_built_in_strategy_is_refused(backtester: Run, folder: Path) -> None:
    ended = backtester("new-strategy", "rsi")
    assert ended.code == 2
    assert "'rsi' is built in; choose another name, such as my_rsi" in ended.err
    assert list_files(folder) == []


def test_a_folder_that_cannot_be_written_is_named(backtester: Run, folder: Path) -> None:
    (folder / "user").write_text("a file")
    ended = backtester("new-strategy", "my_trend")
    assert ended.code == 3
    assert "user/strategies cannot be written" in ended.err


@pytest.mark.parametrize("name", ["conftest", "numpy", "onetape"])
def test_a_name_that_would_hide_another_module_is_refused(
    backtester: Run, folder: Path, name: str
) -> None:
    ended = backtester("new-strategy", name)
    assert (ended.code, ended.out) == (2, "")
    assert (
        f"would be taken for another file of that name; choose another one, such as my_{name}"
        in (ended.err)
    )
    assert list_files(folder) == []
