"""`trader reload` with two processes on one account: each applies its own settings file."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from onetape.cli.program import run_typer_app
from onetape.store.database import open_store
from programs import Program
from session_harness import OFTEN
from trader.main import app

SIMULATOR = ("--port", "0", "--speed", "240", "--start", "2024-03-01T00:00:20")
ACCOUNT = "shared"
BTC, ETH = "BTC/USDT", "ETH/USDT"
#: A strategy that never trades, so that the account is flat.
HOLD = OFTEN.replace("-rose.astype(np.int8)", "np.zeros(len(rose), np.int8)")


def write_settings(folder: Path, symbol: str, **changes: Any) -> Path:
    """Write the settings file of the process of a symbol; return the path."""
    settings = {
        "symbol": symbol,
        "timeframe": "1m",
        "account_name": ACCOUNT,
        "strategy": {"name": "hold.py:Often"},
        **changes,
    }
    path = folder / f"{symbol[:3]}.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def read_reload_results(program: Program) -> list[str]:
    """Return the printed results of reloads."""
    return [line for line in program.lines if line.startswith("reload: ")]


def read_stored_stops(folder: Path) -> dict[str, float | None]:
    """Return the stop loss of each session of the account, by symbol; both sessions must run."""
    with open_store(folder / "data" / "simulator.db", create=False) as store, store.read() as one:
        rows = one.execute("SELECT symbol, rules, ended_ms FROM sessions").fetchall()
    assert sorted((symbol, ended_ms) for symbol, _, ended_ms in rows) == [(BTC, None), (ETH, None)]
    return {symbol: json.loads(rules)["stop_loss"] for symbol, rules, _ in rows}


def test_each_process_applies_its_own_file_and_the_other_one_is_not_disturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert HOLD != OFTEN
    (tmp_path / "hold.py").write_text(HOLD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    files = {symbol: write_settings(tmp_path, symbol) for symbol in (BTC, ETH)}

    def trader(symbol: str, url: str) -> Program:
        market = ("--exchange", "simulator", "--simulator-url", url)
        return Program("trader", "--config", str(files[symbol]), *market, folder=tmp_path)

    def reload() -> str:
        flags = ("--exchange", "simulator", "--account", ACCOUNT)
        assert run_typer_app(app, "trader", ["reload", *flags]) == 0
        return capsys.readouterr().out

    def go_on(*programs: Program) -> None:
        for program in programs:
            program.until("", 2, inside=", next ")

    with Program("simulator", *SIMULATOR, folder=tmp_path) as simulator:
        url = re.findall(r"http://[\d.:]+\d", simulator.until("simulator:"))[0]
        # One after the other: the first one makes the database.
        with trader(BTC, url) as btc:
            go_on(btc)
            with trader(ETH, url) as eth:
                go_on(eth)
                write_settings(
                    tmp_path, BTC,
                    max_signal_age_seconds=7, stale_after_seconds=20, exits={"stop_loss": 0.03},
                )  # fmt: skip
                assert reload().splitlines() == [
                    f"{ACCOUNT}: reload {symbol} stored; its trader acts within a second"
                    for symbol in (BTC, ETH)
                ]
                btc.until("reload: needs a restart of the trader")
                eth.until("reload: ")
                assert read_reload_results(btc) == [
                    "reload: max_signal_age_seconds 60.0 -> 7.0",
                    "reload: exits.stop_loss none -> 0.03",
                    "reload: needs a restart of the trader: stale_after_seconds 30.0 -> 20.0",
                ]
                assert read_reload_results(eth) == ["reload: the settings have not changed"]
                go_on(btc, eth)
                assert read_stored_stops(tmp_path) == {BTC: 0.03, ETH: None}

                files[BTC].write_text("exits: [", encoding="utf-8")
                write_settings(tmp_path, ETH, exits={"stop_loss": 0.05}, ticker_days=1)
                reload()
                btc.until("reload: ", inside="; nothing is changed")
                eth.until("reload: exits.stop_loss none -> 0.05")
                assert read_reload_results(eth)[1:] == [
                    "reload: ticker_days 7.0 -> 1.0",
                    "reload: exits.stop_loss none -> 0.05",
                ]
                go_on(btc, eth)
                assert read_stored_stops(tmp_path) == {BTC: 0.03, ETH: 0.05}
                for program in (btc, eth):
                    program.send(signal.SIGTERM)
                    assert program.ends() == 0
                    assert program.errors == []
    assert (len(read_reload_results(btc)), len(read_reload_results(eth))) == (4, 3)
