"""The backfiller in an empty folder, next to a simulator whose clock stands still."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backfiller.main import app
from onetape.cli.program import run_typer_app
from onetape.simulator.embedded import embedded_simulator
from onetape.simulator.market.clock import make_clock

#: 2024-03-01 00:20 UTC.
NOW_MS = 1_709_252_400_000


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def series(self) -> list[dict[str, Any]]:
        """The summaries of a --json run, whose stdout must be one document."""
        return json.loads(self.out)["series"]


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    with embedded_simulator(clock=make_clock(start_ms=NOW_MS, stepped=True)) as simulator:
        yield simulator.url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that the program runs in."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BACKFILLER__")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def backfiller(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Return a function that runs the program with these arguments."""
    del folder

    def run(*arguments: str) -> CommandResult:
        capsys.readouterr()
        code = run_typer_app(app, "backfiller", arguments)
        printed = capsys.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return run


@pytest.fixture
def backfill_simulator(
    backfiller: Callable[..., CommandResult], simulator_url: str
) -> Callable[..., CommandResult]:
    """Return a function that runs the program on the simulator and prints JSON."""

    def run(*arguments: str) -> CommandResult:
        return backfiller(
            "--exchange", "simulator", "--simulator-url", simulator_url, "--json", *arguments
        )

    return run
