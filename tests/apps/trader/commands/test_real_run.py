"""The commands next to a real trader's process on the simulator, alive and killed."""

import csv
import io
import json
import re
import signal
import time
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.program import run_typer_app
from onetape.store.database import open_store
from programs import Program
from session_harness import OFTEN
from traded_accounts import DATABASE, TradedAccount
from trader.main import app

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def simulator(tmp_path: Path) -> Generator[str]:
    """Return the address of a simulator's process; an hour of its market takes a second."""
    arguments = ("--port", "0", "--speed", "3600", "--start", "2024-03-01T00:10")
    with Program("simulator", *arguments, folder=tmp_path) as program:
        yield re.findall(r"http://[\d.:]+\d", program.until("simulator:"))[0]


def run_command(capsys: Capture, *arguments: str) -> tuple[int, str]:
    """Return exit code and output of a command."""
    capsys.readouterr()
    code = run_typer_app(app, "trader", [*arguments, "--exchange", "simulator"])
    return code, capsys.readouterr().out


def parse_only_trader(output: str) -> dict[str, Any]:
    (found,) = json.loads(output)["traders"]
    return found


def run_status(capsys: Capture) -> tuple[int, str]:
    """Return the exit code of status, and the state of the only trader."""
    code, output = run_command(capsys, "status", "--json")
    return code, parse_only_trader(output)["state"]


def test_a_running_then_killed_trader_is_shown_with_the_money_of_its_fills(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "often.py").write_text(OFTEN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    flags = ("--exchange", "simulator", "--simulator-url", simulator, "--stop-loss", "0.5")
    with Program("trader", *flags, "--strategy", "often.py:Often", folder=tmp_path) as program:
        program.until("sold ")
        program.until("bought ")
        deadline = time.monotonic() + 180
        # On a busy machine it may be degraded for a moment.
        while (found := run_status(capsys)) != (0, "trading"):
            assert time.monotonic() < deadline, found
        # By the market's time: by the computer's it would be years.
        assert (
            parse_only_trader(run_command(capsys, "status", "--json")[1])["candle_age_seconds"]
            < 7 * 86_400
        )
        with Program("trader", "status", "--watch", *flags[:2], folder=tmp_path) as watch:
            watch.until("database: data/simulator.db; 1 trader: 1 trading")
            watch.until("database: data/simulator.db; 1 trader: 1 trading")
            watch.send(signal.SIGINT)
            assert (watch.ends(), watch.errors) == (0, [])
        program.send(signal.SIGKILL)
        program.ends()
    code, output = run_command(capsys, "status", "--json")
    dead = parse_only_trader(output)
    assert (code, dead["state"]) == (12, "dead")
    _, text = run_command(capsys, "trades", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert read_stored_fills(tmp_path) == [tuple(row.values())[4:11] for row in rows]
    cash = coins = Decimal(0)
    for row in rows:
        amount, price, fee = (Decimal(row[name]) for name in ("amount", "price", "fee"))
        sign = 1 if row["side"] == "buy" else -1
        cash -= sign * amount * price + fee
        coins += sign * amount
    assert Decimal(dead["equity"]) == 10_000 + cash + coins * Decimal(dead["last_price"])


def read_stored_fills(folder: Path) -> list[tuple[str, ...]]:
    """Return the stored trades: side, amount, price, fee and its currency, ids."""
    path = folder / "data" / "simulator.db"
    with open_store(path, create=False) as store, store.read() as connection:
        return connection.execute(
            "SELECT side, amount, price, fee, fee_currency, client_order_id, "
            "exchange_trade_id FROM trades ORDER BY executed_ms, id"
        ).fetchall()


def test_a_termination_signal_ends_a_watch_with_the_exit_code_shells_expect(tmp_path: Path) -> None:
    with (
        TradedAccount(tmp_path / DATABASE),
        Program("trader", "status", "--watch", folder=tmp_path) as watch,
    ):
        watch.until("database: ")
        watch.send(signal.SIGTERM)
        assert watch.ends() == -signal.SIGTERM
