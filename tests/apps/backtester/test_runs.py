"""Runs that are kept: what is in a folder, how it is found again, and what is left out."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.document import print_document, trade_values
from backtester.main import backtest_settings
from backtester.rerun import rerun
from backtester.run import backtested
from backtester.runs import RUNS_FOLDER, load_run, run_folders, stored_runs
from backtester.trade_rows import TRADE_COLUMNS, TradeRows
from onetape.core.candles import Candles
from onetape.core.digest import data_digest
from onetape.core.errors import ConfigurationError, DataError, UsageError
from onetape.strategies import digest, load_strategy

Run = Callable[..., Any]
SIMULATED = ("--exchange", "simulator", "--no-report")


@pytest.fixture
def kept(backtester: Run, tape: Path) -> Callable[..., Path]:
    """Return a function that keeps a run of the tape and returns its folder."""
    del tape

    def run(*arguments: str) -> Path:
        before = set(run_folders())
        ended = backtester(*SIMULATED, *arguments)
        assert (ended.code, ended.err) == (0, "")
        (new,) = set(run_folders()) - before
        return new

    return run


def test_a_folder_is_named_after_time_strategy_and_series(kept: Callable[..., Path]) -> None:
    folder = kept("--strategy", "sma_cross")
    assert folder.parent == RUNS_FOLDER
    assert re.fullmatch(r"\d{8}T\d{6}Z_sma-cross_BTC-USDT_1h_[0-9a-f]{6}", folder.name)


def test_a_folder_holds_the_same_result_as_json_prints(
    kept: Callable[..., Path], on_tape: Run
) -> None:
    arguments = ("--stop-loss", "0.02", "--take-profit", "0.03")
    run = load_run(kept(*arguments))
    printed = on_tape(*arguments).document
    kept_document = json.loads(json.dumps(run.document()))
    assert kept_document.pop("run") != printed.pop("run")
    # Two runs may take equally long, or not.
    assert kept_document.pop("seconds") > 0
    assert printed.pop("seconds") > 0
    assert kept_document == printed
    assert {trade["exit_kind"] for trade in printed["trades"]} > {"stop_loss", "target"}


def test_the_manifest_names_code_data_settings_and_versions(
    kept: Callable[..., Path], candles: Candles
) -> None:
    manifest = load_run(kept("--cash", "5000")).manifest
    assert manifest["digests"]["data"] == data_digest(candles)
    assert manifest["digests"]["strategy"] == digest(load_strategy("rsi"))
    assert len(manifest["digests"]["engine"]) == 64
    assert manifest["settings"]["account"]["cash"] == 5_000
    assert set(manifest["versions"]) == {"onetape", "python", "numpy", "sqlite"}
    assert manifest["result"]["check"]["clean"] is True


def test_trades_are_a_table_that_any_program_reads(kept: Callable[..., Path]) -> None:
    folder = kept()
    rows = list(csv.DictReader((folder / "trades.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(load_run(folder).trade_rows()) > 3
    assert rows[0]["entry_reason"] == "under 30"
    assert re.fullmatch(r"2024-\d\d-\d\d \d\d:00", rows[0]["entry_time"])
    assert rows[-1]["open_at_end"] in ("True", "False")


def test_a_notebook_gets_frames_in_two_lines(kept: Callable[..., Path]) -> None:
    kept("--stop-loss", "0.02")
    run = load_run("last")
    assert run.trades["entry_time"].dt.tz is not None
    assert run.trades["profit"].sum() == pytest.approx(
        run.metrics["final_equity"] - run.metrics["start_cash"]
    )
    assert run.equity["equity"].iloc[-1] == run.metrics["final_equity"]
    assert str(run.equity.index[0]) == "2024-01-01 00:00:00+00:00"
    assert set(run.trades["symbol"]) == {"BTC/USDT"}


def test_a_run_without_trades_gives_an_empty_frame(kept: Callable[..., Path]) -> None:
    run = load_run(kept("--param", "buy=1", "--param", "sell=99"))
    assert len(run.trades) == 0
    assert "profit" in run.trades.columns


def test_keeping_a_run_without_a_report_takes_no_pandas(tape: Path) -> None:
    del tape
    code = (
        "import sys; from backtester.main import app; from onetape.cli.program import exit_code_of;"
        "exit_code_of(app, 'b', ['--exchange', 'simulator', '--no-report']);"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert len(run_folders()) == 1


def test_loading_a_run_takes_no_pandas_before_a_frame_is_asked_for(
    kept: Callable[..., Path],
) -> None:
    kept()
    code = (
        "import sys; from backtester.runs import load_run; run = load_run(); run.trade_rows();"
        "print('pandas' in sys.modules); run.trades; print('pandas' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_json_keeps_nothing_unless_it_is_told_to(on_tape: Run) -> None:
    assert on_tape().document["run"] is None
    assert not RUNS_FOLDER.exists()
    assert on_tape("--keep").document["run"] == str(run_folders()[0])


def test_no_keep_leaves_no_folder(backtester: Run, tape: Path) -> None:
    del tape
    assert backtester(*SIMULATED, "--no-keep").code == 0
    assert not RUNS_FOLDER.exists()


def test_a_report_that_cannot_be_written_leaves_no_folder_behind(
    backtester: Run, tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tape

    def fail(*_: object) -> None:
        raise ConfigurationError("no chart library")

    monkeypatch.setattr("backtester.report_data.write_report", fail)
    ended = backtester("--exchange", "simulator")
    assert (ended.code, ended.out) == (3, "")
    assert list(RUNS_FOLDER.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(backtester: Run, tape: Path) -> None:
    del tape
    RUNS_FOLDER.write_text("in the way")
    ended = backtester(*SIMULATED)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("backtester: the run's folder data/runs/")
    assert "--no-keep" in ended.err


def test_list_has_the_newest_last_and_says_how_to_forget_one(
    kept: Callable[..., Path], backtester: Run
) -> None:
    first, second = kept(), kept("--strategy", "macd")
    # Both may be of one second, and then the ids decide.
    order = sorted([first, second])
    lines = backtester("list").out.splitlines()
    ids = [line.partition(" ")[0] for line in lines[1:3]]
    assert ids == [folder.name.rpartition("_")[2] for folder in order]
    assert lines[3] == "2 runs in data/runs; to forget one, delete its folder"
    shutil.rmtree(first)
    assert len(backtester("list", "--json").document["runs"]) == 1


def test_list_without_runs_is_no_error(backtester: Run) -> None:
    assert backtester("list").out == "0 runs in data/runs; to forget one, delete its folder\n"


def test_show_prints_what_the_run_printed(backtester: Run, tape: Path) -> None:
    del tape
    printed = backtester(*SIMULATED).out.splitlines()
    shown = backtester("show").out.splitlines()
    assert shown[: len(printed)] == printed
    assert [line.partition(":")[0] for line in shown[len(printed) :]] == ["made", "digests"]


@pytest.mark.parametrize("size", [2, 6])
def test_a_run_is_found_by_the_beginning_of_its_id(kept: Callable[..., Path], size: int) -> None:
    folder = kept()
    assert load_run(folder.name.rpartition("_")[2][:size]).folder == folder


def test_a_beginning_of_several_ids_is_refused_with_all_of_them(
    kept: Callable[..., Path],
) -> None:
    folder = kept()
    for end in ("ab1111", "ab2222"):
        shutil.copytree(folder, folder.with_name(f"{folder.name[:-6]}{end}"))
    with pytest.raises(UsageError, match=r"2 runs are called ab\.\.\.; write more.*ab1111, ab2222"):
        load_run("ab")
    assert load_run("ab1111").id == "ab1111"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 2}', '{"format": 99, "result": {}}', '{"format": 2, "result": 3}'],
)
def test_a_damaged_manifest_is_named_and_hides_no_other_run(
    kept: Callable[..., Path], backtester: Run, content: str
) -> None:
    good, bad = kept(), RUNS_FOLDER / "20990101T000000Z_x_y_1h_ffffff"
    bad.mkdir()
    (bad / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"ffffff/manifest\.json"):
        load_run("ffffff")
    assert [run.folder for run in stored_runs()[0]] == [good]
    listed = backtester("list")
    assert listed.code == 0
    assert "ffffff/manifest.json" in listed.err


def test_a_table_that_was_cut_is_named(kept: Callable[..., Path]) -> None:
    folder = kept()
    (folder / "trades.csv").write_text("entry_index\nx\n")
    (folder / "equity.npy").write_bytes(b"\x93NUMPY")
    run = load_run(folder)
    with pytest.raises(DataError, match=r"trades\.csv cannot be read"):
        run.trade_rows()
    with pytest.raises(DataError, match=r"equity\.npy cannot be read"):
        _ = run.equity


def test_a_folder_that_is_being_written_is_no_run(kept: Callable[..., Path]) -> None:
    folder = kept()
    shutil.copytree(folder, folder.with_name(f".{folder.name}"))
    assert run_folders() == [folder]


def test_what_a_killed_run_left_is_deleted_an_hour_later(kept: Callable[..., Path]) -> None:
    first = kept()
    old, young, other = (
        first.with_name(name) for name in (f".{first.name}", f".{first.name}x", ".mine")
    )
    for folder in (old, young, other):
        folder.mkdir()
        age = 0 if folder == young else 2 * 3_600
        moment = time.time() - age
        os.utime(folder, (moment, moment))
    kept("--strategy", "macd")
    assert [folder.exists() for folder in (old, young, other)] == [False, True, True]


def test_compare_shows_metrics_side_by_side_and_only_what_differs(
    kept: Callable[..., Path], backtester: Run
) -> None:
    runs = [load_run(kept()), load_run(kept("--stop-loss", "0.05", "--to", "2024-03-01"))]
    ids = [run.id for run in runs]
    ended = backtester("compare", *ids)
    assert ended.out.splitlines()[0].split() == ids
    names = {line.split("  ")[0] for line in ended.out.partition("differs in")[2].splitlines()[1:]}
    assert names == {"settings.to", "settings.exits.stop_loss", "range.to", "digest.data"}
    document = backtester("compare", *ids, "--json").document
    assert document["differences"]["settings.exits.stop_loss"] == {ids[0]: None, ids[1]: 0.05}
    assert document["metrics"][ids[1]] == runs[1].metrics


def test_another_parameter_is_one_difference(kept: Callable[..., Path], backtester: Run) -> None:
    ids = [load_run(kept(*flags)).id for flags in ((), ("--param", "period=15"))]
    differences = backtester("compare", *ids, "--json").document["differences"]
    assert differences == {"parameters.period": {ids[0]: 14, ids[1]: 15}}


def test_compare_of_equal_runs_says_so(kept: Callable[..., Path], backtester: Run) -> None:
    ids = [load_run(kept()).id for _ in range(2)]
    assert backtester("compare", *ids).out.endswith("\nnothing differs\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "zz"), "no run is kept in data/runs; run: uv run backtester"),
        (("compare", "last"), "compare needs two runs or more"),
        (("--cash", "5", "list"), "put --cash behind the command"),
    ],
)
def test_a_wrong_call_is_one_line(backtester: Run, arguments: tuple[str, ...], words: str) -> None:
    ended = backtester(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_equity_is_kept_to_the_last_bit(kept: Callable[..., Path]) -> None:
    rows = np.load(kept() / "equity.npy")
    assert rows.dtype.names == ("timestamp", "equity", "buy_and_hold")
    assert (np.diff(rows["timestamp"]) == 3_600).all()


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--stop-loss", "0.02", "--take-profit", "0.03", "--slippage", "3"),
        ("--param", "buy=1", "--param", "sell=99"),
        ("--to", "2024-02-17"),
    ],
)
def test_rows_of_trades_are_the_engines_trades_to_the_last_bit(
    tape: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    del tape
    monkeypatch.setenv("BACKTESTER__ACCOUNT__FEE_COIN", "received")
    backtest = backtested(backtest_settings(("--exchange", "simulator", *flags), "explain"))
    rows = TradeRows(backtest.result, backtest.signals, backtest.tape.warm_up)
    wanted = [trade_values(backtest, trade) for trade in backtest.result.trades]
    assert (list(rows), len(rows)) == (wanted, len(wanted))
    for start, stop in ((0, 1), (1, 3), (-2, None), (2, 2), (0, 10_000)):
        assert rows[start:stop] == wanted[start:stop]
    assert not wanted or rows[-1] == wanted[-1]
    assert tuple(rows[0] if rows else TRADE_COLUMNS) == TRADE_COLUMNS


def test_many_trades_print_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    trades = [{"number": number, "why": '}\n"{,'} for number in range(4_001)]
    for count in (0, 1, 2_000, 2_001, 4_000, 4_001):
        print_document({"a": {"b": Path("c")}, "trades": trades[:count]})
        assert json.loads(capsys.readouterr().out) == {"a": {"b": "c"}, "trades": trades[:count]}


LARGER = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Larger(Strategy):
    name: ClassVar[str] = "larger"
    higher_timeframes: ClassVar[tuple[str, ...]] = ("1d",)

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.zeros(len(candles), dtype=np.int8), {})
"""


def test_larger_candles_are_part_of_the_digest_of_the_data(
    kept: Callable[..., Path], candles: Candles
) -> None:
    Path("larger.py").write_text(LARGER)
    run = load_run(kept("--strategy", "larger.py"))
    assert run.manifest["digests"]["data"] != data_digest(candles)
    backtest, changes = rerun(run)
    assert changes == []
    assert list(backtest.higher.candles) == ["1d"]


def test_a_folder_that_is_no_run_is_not_advised_to_be_deleted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run's folder; see: uv run backtester list"):
        load_run(tmp_path)
