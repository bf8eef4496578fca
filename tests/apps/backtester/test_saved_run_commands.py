"""`backtester list`, `show` and `compare` of saved runs, damaged ones included."""

import contextlib
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backtester.rendering.runs import format_run_list
from onetape.backtest.storage.runs import RUNS_FOLDER, list_run_folders, load_run, read_stored_runs
from onetape.core.errors import DataError, UsageError

Run = Callable[..., Any]
SIMULATED = ("--exchange", "simulator", "--no-report")


def run_in_terminal(columns: int, *arguments: str, folder: Path) -> str:
    """Return the output of the program in a terminal with a number of columns."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    sizeless = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "backtester.entry", *arguments]
    subprocess.run(command, cwd=folder, stdout=terminal, env=sizeless, check=True, timeout=180)
    os.close(terminal)
    printed = b""
    with contextlib.suppress(OSError):  # which is how the end is reported
        while more := os.read(controller, 65_536):
            printed += more
    os.close(controller)
    return printed.decode().replace("\r\n", "\n")


def test_list_shows_the_newest_run_last_and_how_to_delete_a_run(
    save_run: Callable[..., Path], backtester: Run
) -> None:
    first, second = save_run(), save_run("--strategy", "macd")
    lines = backtester("list").out.splitlines()
    ids = [line.partition(" ")[0] for line in lines[1:3]]
    assert ids == [folder.name.rpartition("_")[2] for folder in (first, second)]
    assert lines[3] == "2 runs in data/runs; to remove one, delete its folder"
    shutil.rmtree(first)
    assert len(backtester("list", "--json").document["runs"]) == 1


@pytest.mark.parametrize(("columns", "lines_of_a_run"), [(80, 2), (160, 1)])
def test_list_fits_a_terminal_and_lists_every_run(
    save_run: Callable[..., Path], tmp_path: Path, columns: int, lines_of_a_run: int
) -> None:
    run = load_run(save_run("--strategy", "buy_and_hold", "--from", "2024-01-05T07:00"))
    text = run_in_terminal(columns, "list", folder=tmp_path)
    *lines, last = text.splitlines()
    assert max(map(len, lines)) <= columns
    assert (len(lines), last.partition(" run in ")[0]) == (2 * lines_of_a_run, "1")
    numbers = (run.metrics["total_return"], run.metrics["max_drawdown"])
    for words in (
        *("made (UTC)", "strategy", "series", "range", "return", "max drawdown", "trades"),
        *(run.id, "buy_and_hold", "simulator BTC/USDT 1h", "0 + open"),
        *("2024-01-05 07:00 to 2024-04-30", f"{numbers[0]:+.2%}", f"{numbers[1]:.2%}"),
    ):
        assert words in text


def test_a_name_too_long_for_the_terminal_is_cut_in_the_list_alone(
    save_run: Callable[..., Path],
) -> None:
    name = "x" * 60
    strategy = f"user/strategies/{name}.py"
    Path(strategy).parent.mkdir(parents=True)
    Path(strategy).write_text(
        "import numpy as np\nfrom dataclasses import dataclass\n"
        "from onetape.strategies import Signals, Strategy\n\n\n@dataclass(frozen=True)\n"
        f"class X(Strategy):\n    name = {name!r}\n    lookback = 1\n\n"
        "    def evaluate(self, candles, higher):\n"
        "        return Signals(np.zeros(len(candles)), {})\n"
    )
    runs = [load_run(save_run("--strategy", name)), load_run(save_run())]
    lines = format_run_list(runs, width=80).splitlines()
    assert max(map(len, lines)) == 80
    assert "xxxxxx…" in lines[2]
    assert name in format_run_list(runs)


def test_list_without_runs_exits_with_0(backtester: Run) -> None:
    assert backtester("list").out == "0 runs in data/runs; to remove one, delete its folder\n"


def test_show_prints_what_the_run_printed(backtester: Run, database: Path) -> None:
    del database
    printed = backtester(*SIMULATED).out.splitlines()
    shown = backtester("show").out.splitlines()
    assert shown[: len(printed)] == printed
    assert [line.partition(":")[0] for line in shown[len(printed) :]] == ["made", "digests"]


@pytest.mark.parametrize("size", [2, 6])
def test_a_run_is_found_by_the_beginning_of_its_id(
    save_run: Callable[..., Path], size: int
) -> None:
    folder = save_run()
    assert load_run(folder.name.rpartition("_")[2][:size]).folder == folder


def test_an_ambiguous_beginning_of_an_id_is_refused_with_all_matching_ids(
    save_run: Callable[..., Path],
) -> None:
    folder = save_run()
    for end in ("ab1111", "ab2222"):
        shutil.copytree(folder, folder.with_name(f"{folder.name[:-6]}{end}"))
    with pytest.raises(UsageError, match=r"2 runs are called ab\.\.\.; write more.*ab1111, ab2222"):
        load_run("ab")
    assert load_run("ab1111").id == "ab1111"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 3}', '{"format": 2, "result": {}}', '{"format": 3, "result": 3}'],
)
def test_list_names_a_damaged_manifest_and_hides_no_other_run(
    save_run: Callable[..., Path], backtester: Run, content: str
) -> None:
    good, bad = save_run(), RUNS_FOLDER / "20990101T000000Z_x_y_1h_ffffff"
    bad.mkdir()
    (bad / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"ffffff/manifest\.json"):
        load_run("ffffff")
    assert [run.folder for run in read_stored_runs()[0]] == [good]
    listed = backtester("list")
    assert listed.code == 0
    assert "ffffff/manifest.json" in listed.err


def test_a_truncated_table_is_named(save_run: Callable[..., Path]) -> None:
    folder = save_run()
    (folder / "trades.csv").write_text("entry_index\nx\n")
    (folder / "equity.npy").write_bytes(b"\x93NUMPY")
    run = load_run(folder)
    with pytest.raises(DataError, match=r"trades\.csv cannot be read"):
        run.read_trade_records()
    with pytest.raises(DataError, match=r"equity\.npy cannot be read"):
        _ = run.equity


def test_a_folder_that_is_being_written_is_not_listed(save_run: Callable[..., Path]) -> None:
    folder = save_run()
    shutil.copytree(folder, folder.with_name(f".{folder.name}"))
    assert list_run_folders() == [folder]


def test_compare_shows_metrics_side_by_side_and_only_what_differs(
    save_run: Callable[..., Path], backtester: Run
) -> None:
    runs = [load_run(save_run()), load_run(save_run("--stop-loss", "0.05", "--to", "2024-03-01"))]
    ids = [run.id for run in runs]
    ended = backtester("compare", *ids)
    assert ended.out.splitlines()[0].split() == ids
    names = {line.split("  ")[0] for line in ended.out.partition("differs in")[2].splitlines()[1:]}
    assert names == {"settings.to", "settings.exits.stop_loss", "range.to", "digest.data"}
    document = backtester("compare", *ids, "--json").document
    assert document["differences"]["settings.exits.stop_loss"] == {ids[0]: None, ids[1]: 0.05}
    assert document["metrics"][ids[1]] == runs[1].metrics


def test_a_changed_parameter_is_one_difference(
    save_run: Callable[..., Path], backtester: Run
) -> None:
    ids = [load_run(save_run(*flags)).id for flags in ((), ("--param", "period=15"))]
    differences = backtester("compare", *ids, "--json").document["differences"]
    assert differences == {"parameters.period": {ids[0]: 14, ids[1]: 15}}


def test_compare_states_that_runs_are_equal(save_run: Callable[..., Path], backtester: Run) -> None:
    ids = [load_run(save_run()).id for _ in range(2)]
    assert backtester("compare", *ids).out.endswith("\nnothing differs\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "zz"), "no run is saved in data/runs; run: uv run backtester"),
        (("compare", "last"), "compare needs two runs or more"),
        (("--cash", "5", "list"), "put --cash behind the command"),
    ],
)
def test_invalid_arguments_print_one_line(
    backtester: Run, arguments: tuple[str, ...], words: str
) -> None:
    ended = backtester(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_deleting_is_not_advised_for_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run; see: uv run backtester list"):
        load_run(tmp_path)
