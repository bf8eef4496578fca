"""An invalid parameter of a user's strategy is reported with its source; the file runs once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backtester.main import app as backtester
from onetape.cli.program import run_typer_app
from trader.main import app as trader

Run = Callable[..., Any]
PROGRAMS = {"backtester": backtester, "trader": trader}
OWN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, check_under, parameter

print("imported")


@dataclass(frozen=True)
class Own(Strategy):
    name: ClassVar[str] = "own"
    fast: int = parameter(5, ge=2, le=50, help="Bars.")
    slow: int = parameter(20, ge=2, le=50, help="Bars.")

    def __post_init__(self):
        super().__post_init__()
        check_under(self, "fast", "slow")

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.zeros(len(candles), dtype=np.int8))
"""


@pytest.fixture
def strategy_folder(database: Path, folder: Path) -> Path:
    """Return the folder with the user's own strategy in it, and candles for it."""
    del database
    path = folder / "user" / "strategies" / "own.py"
    path.parent.mkdir(parents=True)
    path.write_text(OWN)
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("parameters", "line", "words"),
    [
        ("fast: 1", 6, "strategy own: fast must be 2 to 50, found 1"),
        ("fast: soon", 6, "strategy own: fast must be a whole number, found 'soon'"),
        ("slow: 30\n    fast: 40", 7, "strategy own: fast must be under slow, found fast 40"),
        ("slow: 3", 6, "strategy own: fast must be under slow, found fast 5 and slow 3"),
        ("slow: 9\n    fasst: 4", 7, "strategy own has no parameter 'fasst'; did you mean 'fast'"),
    ],
)
def test_an_invalid_parameter_in_a_file_names_file_and_line_and_exits_with_3(
    strategy_folder: Path,
    capfd: pytest.CaptureFixture[str],
    program: str,
    parameters: str,
    line: int,
    words: str,
) -> None:
    head = "exchange: simulator\nsymbol: BTC/USDT\nstrategy:\n  name: own\n  parameters:\n"
    (strategy_folder / "mine.yaml").write_text(f"{head}    {parameters}\n")
    assert run_typer_app(PROGRAMS[program], program, ["--config", "mine.yaml"]) == 3
    printed = capfd.readouterr()
    assert printed.out == ""
    first, error = printed.err.splitlines()
    assert first == "imported"
    assert error.startswith(f"{program}: mine.yaml:{line}: {words}")


@pytest.mark.parametrize(
    "command", [("check",), ("explain", "--at", "2024-02-01"), ("optimize", "--param", "slow=9,20")]
)
def test_check_and_explain_name_file_and_line_of_an_invalid_parameter(
    strategy_folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    head = "exchange: simulator\nstrategy:\n  name: own\n  parameters:\n    fast: 51\n"
    (strategy_folder / "mine.yaml").write_text(head)
    assert run_typer_app(backtester, "backtester", [*command, "--config", "mine.yaml"]) == 3
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith("backtester: mine.yaml:5: strategy own: fast must be 2 to 50, found ")


def test_an_invalid_parameter_names_its_flag_or_variable(
    strategy_folder: Path, backtest_json: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    del strategy_folder
    as_flag = backtest_json("--strategy", "own", "--param", "fast=1")
    assert as_flag.code == 2
    assert "backtester: --param: strategy own: fast must be 2 to 50, found 1\n" in as_flag.err
    monkeypatch.setenv("BACKTESTER__STRATEGY__PARAMETERS__FAST", "1")
    as_variable = backtest_json("--strategy", "own")
    assert as_variable.code == 3
    assert "BACKTESTER__STRATEGY__PARAMETERS__FAST: strategy own: fast must" in as_variable.err


def test_an_error_that_is_not_about_a_parameter_is_reported_unchanged(
    strategy_folder: Path, backtest_json: Run
) -> None:
    path = strategy_folder / "user" / "strategies" / "own.py"
    path.write_text(OWN.replace("    fast: int", '    higher_timeframes = ("7m",)\n    fast: int'))
    ended = backtest_json("--strategy", "own", "--param", "fast=3")
    assert ended.code == 2
    assert "backtester: strategy own needs 7m candles: " in ended.err
