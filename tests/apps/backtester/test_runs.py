"""Saved runs: the files of a run's folder, and when nothing is saved."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backtester.rendering.result import make_run_document
from onetape.backtest.storage.runs import RUNS_FOLDER, list_run_folders, load_run
from onetape.core.candles import Candles
from onetape.core.digest import compute_data_digest
from onetape.core.errors import ConfigurationError
from onetape.strategies import compute_strategy_digest, load_strategy

Run = Callable[..., Any]
SIMULATED = ("--exchange", "simulator", "--no-report")


def test_a_folder_is_named_after_time_strategy_and_series(save_run: Callable[..., Path]) -> None:
    folder = save_run("--strategy", "sma_cross")
    assert folder.parent == RUNS_FOLDER
    assert re.fullmatch(r"\d{8}T\d{6}Z_sma-cross_BTC-USDT_1h_[0-9a-f]{6}", folder.name)


def test_a_saved_folder_has_the_result_that_json_prints(
    save_run: Callable[..., Path], backtest_json: Run
) -> None:
    arguments = ("--stop-loss", "0.02", "--take-profit", "0.03")
    run = load_run(save_run(*arguments))
    printed = backtest_json(*arguments).document
    kept_document = json.loads(json.dumps(make_run_document(run)))
    assert kept_document.pop("run") != printed.pop("run")
    # Two runs may take equally long, or not.
    assert kept_document.pop("seconds") > 0
    assert printed.pop("seconds") > 0
    assert kept_document == printed
    assert {trade["exit_kind"] for trade in printed["trades"]} > {"stop_loss", "target"}


def test_the_manifest_names_code_data_settings_and_versions(
    save_run: Callable[..., Path], candles: Candles
) -> None:
    manifest = load_run(save_run("--cash", "5000")).manifest
    assert manifest.digests["data"] == compute_data_digest(candles)
    assert manifest.digests["strategy"] == compute_strategy_digest(load_strategy("rsi"))
    assert len(manifest.digests["engine"]) == 64
    assert manifest.settings["account"]["cash"] == 5_000
    assert set(manifest.versions) == {"onetape", "python", "numpy", "sqlite"}
    assert manifest.result.check.clean is True


def test_trades_are_saved_as_a_csv_table(save_run: Callable[..., Path]) -> None:
    folder = save_run()
    rows = list(csv.DictReader((folder / "trades.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(load_run(folder).read_trade_records()) > 3
    assert rows[0]["entry_reason"] == "under 30"
    assert re.fullmatch(r"2024-\d\d-\d\d \d\d:00", rows[0]["entry_time"])
    assert rows[-1]["open_at_end"] in ("True", "False")


def test_two_lines_of_python_load_a_saved_run_as_dataframes(save_run: Callable[..., Path]) -> None:
    save_run("--stop-loss", "0.02")
    run = load_run("last")
    assert run.trades["entry_time"].dt.tz is not None
    assert run.trades["profit"].sum() == pytest.approx(
        run.metrics["final_equity"] - run.metrics["start_cash"]
    )
    assert run.equity["equity"].iloc[-1] == run.metrics["final_equity"]
    assert str(run.equity.index[0]) == "2024-01-01 00:00:00+00:00"
    assert set(run.trades["symbol"]) == {"BTC/USDT"}


def test_a_run_without_trades_gives_an_empty_frame(save_run: Callable[..., Path]) -> None:
    run = load_run(save_run("--param", "buy=1", "--param", "sell=99"))
    assert len(run.trades) == 0
    assert "profit" in run.trades.columns


def test_saving_a_run_without_a_report_imports_no_pandas(database: Path) -> None:
    del database
    code = (
        "import sys; from backtester.main import app; from onetape.cli.program import "
        "run_typer_app;"
        "run_typer_app(app, 'b', ['--exchange', 'simulator', '--no-report']);"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert len(list_run_folders()) == 1


def test_runs_of_the_same_second_keep_their_order(
    save_run: Callable[..., Path],
) -> None:
    first = save_run("--strategy", "sma_cross")
    second = save_run("--strategy", "buy_and_hold")
    # As if both were of one second, whose milliseconds begin the ids.
    moved: list[Path] = []
    for folder, number in ((first, "00a111"), (second, "3e7000")):
        name = "_".join(("20260101T000000Z", *folder.name.split("_")[1:-1], number))
        moved.append(folder.rename(folder.with_name(name)))
    assert list_run_folders() == moved
    assert sorted(moved) != moved


def test_loading_a_run_imports_no_pandas_before_a_dataframe_is_requested(
    save_run: Callable[..., Path],
) -> None:
    save_run()
    code = (
        "import sys; from onetape.backtest.storage.runs import load_run; run = load_run();"
        "run.read_trade_records();"
        "print('pandas' in sys.modules); run.trades; print('pandas' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_a_json_run_is_not_saved_without_the_flag(backtest_json: Run) -> None:
    assert backtest_json().document["run"] is None
    assert not RUNS_FOLDER.exists()
    assert backtest_json("--save").document["run"] == str(list_run_folders()[0])


def test_no_save_leaves_no_folder(backtester: Run, database: Path) -> None:
    del database
    assert backtester(*SIMULATED, "--no-save").code == 0
    assert not RUNS_FOLDER.exists()


def test_a_report_that_cannot_be_written_leaves_no_folder_behind(
    backtester: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del database

    def fail(*_: object) -> None:
        raise ConfigurationError("no chart library")

    monkeypatch.setattr("onetape.backtest.report_data.write_report", fail)
    ended = backtester("--exchange", "simulator")
    assert (ended.code, ended.out) == (3, "")
    assert list(RUNS_FOLDER.iterdir()) == []


def test_a_folder_that_cannot_be_created_prints_one_line(backtester: Run, database: Path) -> None:
    del database
    RUNS_FOLDER.write_text("in the way")
    ended = backtester(*SIMULATED)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("backtester: the run's folder data/runs/")
    assert "--no-save" in ended.err


def test_files_left_by_a_killed_run_are_deleted_an_hour_later(
    save_run: Callable[..., Path],
) -> None:
    first = save_run()
    old, young, other = (
        first.with_name(name) for name in (f".{first.name}", f".{first.name}x", ".mine")
    )
    for folder in (old, young, other):
        folder.mkdir()
        age = 0 if folder == young else 2 * 3_600
        moment = time.time() - age
        os.utime(folder, (moment, moment))
    save_run("--strategy", "macd")
    assert [folder.exists() for folder in (old, young, other)] == [False, True, True]
