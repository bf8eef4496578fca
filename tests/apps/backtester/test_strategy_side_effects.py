"""A strategy that writes to stdout's descriptor or changes the folder alters no output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

INTRUDER = """
import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, parameter

os.write(1, b"imported\\n")
subprocess.run(["echo", "a command"], check=True)
os.chdir("/")


@dataclass(frozen=True)
class Intruder(Strategy):
    name: ClassVar[str] = "intruder"
    period: int = parameter(5, ge=2, le=50)

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        os.chdir("/")
        os.write(1, b"evaluated\\n")
        sys.__stdout__.write("past\\n")
        sys.__stdout__.flush()
        ctypes.CDLL(None).puts(b"in C")
        ctypes.CDLL(None).fflush(None)
        return Signals(np.zeros(len(candles), dtype=np.int8), {})
"""
DAY = ("--to", "2024-01-02")


def make_command(*arguments: str, output: str = "") -> list[str]:
    """Return the program as a shell starts it."""
    shell = ["sh", "-c", f'exec "$0" -m backtester.entry "$@" {output}', sys.executable]
    return [*shell, *arguments, "--exchange", "simulator", "--strategy", "intruder.py"]


def run(folder: Path, *arguments: str, output: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in a folder that all its paths are relative to."""
    return subprocess.run(
        make_command(*arguments, output=output),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture(autouse=True)
def intruder(folder: Path, database: Path) -> None:
    """Write the strategy next to the database."""
    del database
    (folder / "intruder.py").write_text(INTRUDER)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "--no-report", "--save", *DAY),
        ("check", "--json", *DAY),
        ("optimize", "--json", "--param", "period=5,6", "--jobs", "2", "--to", "2024-01-20"),
        ("explain", "--at", "2024-01-01T05:00", "--json", *DAY),
    ],
    ids=lambda arguments: arguments[0].strip("-"),
)
def test_a_strategy_that_writes_to_the_descriptor_leaves_the_document_valid(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    for words in ("imported", "a command", "evaluated", "past", "in C"):
        assert words in done.stderr


def test_a_strategy_that_changes_the_working_directory_moves_no_output(folder: Path) -> None:
    done = run(folder, "--json", *DAY, "--save", "--report", "here.html")
    assert done.returncode == 0, done.stderr
    assert (folder / "here.html").exists()
    assert len([*(folder / "data/runs").glob("*/manifest.json")]) == 1


@pytest.mark.parametrize(
    ("output", "code", "line"),
    [
        (
            ">/dev/full",
            3,
            "standard output cannot be written: No space left on device; choose another output",
        ),
        (">&-", 3, "standard output is closed; give it a file, or /dev/null"),
        ("2>&-", 0, ""),
    ],
)
def test_an_output_that_cannot_be_written_is_reported_in_one_line(
    folder: Path, output: str, code: int, line: str
) -> None:
    (folder / "intruder.py").write_text(
        "\n".join(text for text in INTRUDER.splitlines() if "rite(" not in text)
    )
    done = run(folder, "--json", "--no-report", *DAY, output=output)
    assert done.returncode == code
    shown = [text for text in done.stderr.splitlines() if text.startswith("backtester: ")]
    assert "\n".join(shown).startswith(f"backtester: {line}" if line else "")
    assert len(shown) == (1 if line else 0)
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    with subprocess.Popen(
        make_command("--json", "--no-report", *DAY),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert "Traceback" not in child.stderr.read()
    assert child.returncode == 0
