"""A damaged folder of a saved run is reported in one line; no partial data is returned."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.backtest.storage.runs import load_run
from onetape.core.errors import DataError

Run = Callable[..., Any]
Keep = Callable[..., Path]
#: Puts nothing in the place of a value: it is deleted.
GONE = object()


def damage(folder: Path, place: str, value: object) -> None:
    """Change one value of a manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    *way, name = place.split(".")
    inside = manifest
    for step in way:
        inside = inside[step]
    if value is GONE:
        del inside[name]
    else:
        inside[name] = value
    path.write_text(json.dumps(manifest))


DAMAGES: list[tuple[str, object]] = [
    ("made", 5),
    ("versions", GONE),
    ("digests.data", 7),
    ("settings", []),
    ("result.symbol", GONE),
    ("result.symbol", 1),
    ("result.to", GONE),
    ("result.to", "2024"),
    ("result.from", 10**15),
    ("result.parameters", None),
    ("result.check.differing", GONE),
    ("result.check", None),
    ("result.notes", 3),
    ("result.metrics.buy_and_hold", GONE),
    ("result.metrics.buy_and_hold", {"total_return": "much"}),
    ("result.metrics.win_rate", "half"),
    ("result.metrics.cagr", GONE),
    ("result.metrics.fees", None),
]


def test_a_damaged_manifest_prints_one_line_in_every_command_and_hides_no_other_run(
    save_run: Keep, backtester: Run
) -> None:
    good = save_run()
    good_id = load_run(good).id
    bad = shutil.copytree(good, good.with_name(f"{good.name[:-6]}ffffff"))
    for place, value in DAMAGES:
        shutil.copy(good / "manifest.json", bad)
        damage(bad, place, value)
        listed = backtester("list")
        assert (listed.code, listed.err.count("\n")) == (0, 1), place
        assert good_id in listed.out
        assert listed.err.startswith(f"{bad}/manifest.json cannot be read (ValidationError"), place
        assert place.rpartition(".")[2] in listed.err
        for arguments in (("show", "ffffff"), ("compare", good_id, "ffffff")):
            ended = backtester(*arguments)
            assert (ended.code, ended.out, ended.err) == (4, "", f"backtester: {listed.err}")


def cut(lines: Sequence[str]) -> str:
    return "".join(lines[:-2])


def cut_inside(lines: Sequence[str]) -> str:
    return "".join(lines)[:-9]


def remove_column(lines: Sequence[str]) -> str:
    return "".join([*lines[:2], lines[2].partition(",")[2], *lines[3:]])


def change_head(lines: Sequence[str]) -> str:
    return "".join([lines[0].replace("profit_ratio", "profit_part"), *lines[1:]])


def replace_number_by_word(lines: Sequence[str]) -> str:
    cells = lines[1].split(",")
    return "".join([lines[0], ",".join([*cells[:4], "x", *cells[5:]]), *lines[2:]])


def remove_exit(lines: Sequence[str]) -> str:
    return "".join([lines[0], lines[1].replace(",signal,", ",,"), *lines[2:]])


TABLES: list[Callable[[Sequence[str]], str]] = [
    cut,
    cut_inside,
    remove_column,
    change_head,
    replace_number_by_word,
    remove_exit,
    lambda lines: "".join([*lines, lines[1]]),
    lambda lines: "junk\n" * len(lines),
    lambda lines: "",
]


def test_an_incomplete_table_of_trades_is_refused(save_run: Keep, backtester: Run) -> None:
    folder = save_run()
    path = folder / "trades.csv"
    lines = path.read_bytes().decode().splitlines(keepends=True)
    for number, damaged in enumerate(TABLES):
        path.write_bytes(damaged(lines).encode())
        with pytest.raises(DataError, match=r"trades\.csv cannot be read \(.*delete data/runs/"):
            _ = load_run(folder).trades
        ended = backtester("show")
        assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1), number


def test_a_complete_table_of_trades_is_read(save_run: Keep) -> None:
    run = load_run(save_run("--stop-loss", "0.02"))
    assert len(run.trades) == run.metrics["trades"] + run.metrics["open_at_end"] > 3


def test_an_invalid_or_truncated_equity_file_is_refused(save_run: Keep) -> None:
    path = save_run() / "equity.npy"
    rows = np.load(path)
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"equity\.npy cannot be read \("):
            _ = load_run().equity
    np.save(path, rows[:-1])
    with pytest.raises(DataError, match=r"it has 2,879 rows, and the manifest counts 2,880"):
        _ = load_run().equity
