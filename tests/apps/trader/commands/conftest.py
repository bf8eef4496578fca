"""The commands of the trader in an empty folder, and a database of one account there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onetape.cli.program import run_typer_app
from traded_accounts import DATABASE, CommandResult, TradedAccount
from trader.main import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that the program runs in."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRADER__")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def trader(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Return a function that runs the program with these arguments."""
    del folder

    def run(*arguments: str) -> CommandResult:
        capsys.readouterr()
        code = run_typer_app(app, "trader", arguments)
        printed = capsys.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return run


@pytest.fixture
def account(folder: Path) -> Iterator[TradedAccount]:
    """Return an account of BTC/USDT with 1,000 USDT that is being traded."""
    rules = {"stop_loss": 0.05, "take_profit": 0.1, "fee_rate": 0.001}
    with TradedAccount(folder / DATABASE, rules=rules, parameters={"period": 14}) as opened:
        yield opened
