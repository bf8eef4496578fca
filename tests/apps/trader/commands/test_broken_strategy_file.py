"""Commands that trade nothing work while the strategy's file is broken: a halt must not wait."""

from pathlib import Path

import pytest

from onetape.cli.program import run_typer_app
from trader.main import app

BROKEN = """from freqtrade.strategy import IStrategy


class Sample(IStrategy):
    timeframe = "1h"
    stoploss = 0.1
"""


@pytest.mark.parametrize(
    "words",
    [
        ["halt", "--account", "any"],
        ["status"],
        ["trades"],
        ["risk"],
        ["reconcile"],
        ["report"],
    ],
)
def test_a_command_that_trades_nothing_does_not_read_the_strategy_file(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    Path("Sample.py").write_text(BROKEN)
    Path("own.yaml").write_text("strategy: {name: Sample.py}\n")
    run_typer_app(app, "trader", [*words, "--config", "own.yaml"])
    assert capsys.readouterr().err.startswith("trader: data/onetape.db ")


def test_a_trader_with_a_broken_strategy_file_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("Sample.py").write_text(BROKEN)
    Path("own.yaml").write_text("strategy: {name: Sample.py}\n")
    assert run_typer_app(app, "trader", ["--config", "own.yaml", "--exchange", "simulator"]) == 3
    assert "Sample.py, line 6: stoploss must be a number under 0" in capsys.readouterr().err
