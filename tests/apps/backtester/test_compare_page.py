"""`compare --report`: saved runs on one page, with the numbers that they were saved with."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import BrowserTab
from onetape.backtest.storage.runs import EQUITY, load_run

Run = Callable[..., Any]
PAGE = "runs.html"
#: A page is not much larger than the chart library: the simulator's four months are 2,880 points.
MOST_BYTES = 600_000


@pytest.fixture
def runs(save_run: Callable[..., Path]) -> list[Any]:
    """Return two saved runs of the same candles."""
    flags = ("--param", "fast=5", "--param", "slow=20")
    return [
        load_run(save_run("--strategy", "sma_cross", *flags)),
        load_run(save_run("--strategy", "sma_cross", *flags, "--stop-loss", "0.02")),
    ]


def read_page_data(page: str) -> dict[str, Any]:
    return json.loads(re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page)[0])


def test_the_page_shows_curves_and_numbers_of_the_saved_runs(
    runs: list[Any], backtester: Run, open_page: Callable[..., BrowserTab]
) -> None:
    ids = [run.id for run in runs]
    ended = backtester("compare", *ids, "--report", PAGE)
    assert (ended.code, ended.err) == (0, "")
    path = Path(PAGE).resolve()
    assert ended.out.endswith(f"\nreport: {path}\n")
    text = path.read_text()
    assert len(text) < MOST_BYTES
    found = read_page_data(text)
    for run, line in zip(runs, found["runs"], strict=True):
        last = run.read_equity()["equity"][-1] / run.metrics["start_cash"] * 100.0
        assert line["name"] == run.id
        assert line["equity"][-1] == pytest.approx(last, abs=1e-3)
        assert min(line["drawdown"]) == pytest.approx(run.metrics["max_drawdown"] * 100.0, abs=1e-3)
        assert f"{run.metrics['total_return'] * 100:+,.1f} %" in text
        assert f"{run.metrics['total_return']:.2%}" in text
    page = open_page(path)
    rows = page.run(
        "[...document.querySelectorAll('#differences-of-runs tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert rows == [["settings.exits.stop_loss", "-", "0.02"]]
    trades = page.run(
        "[...document.querySelectorAll('#exits tbody tr')]"
        ".map(row => [0, 1, 4].map(at => row.cells[at].textContent))"
    )
    closed = [sum(int(row[at]) for row in trades if row[0] != "open position") for at in (1, 2)]
    assert closed == [run.metrics["trades"] for run in runs]
    assert ["stop loss", "0"] in [row[:2] for row in trades]
    assert page.complaints() == []


def test_the_document_names_the_page(runs: list[Any], backtester: Run) -> None:
    ids = [run.id for run in runs]
    document = backtester("compare", *ids, "--json", "--report", PAGE).document
    assert document["report"] == str(Path(PAGE).resolve())
    assert backtester("compare", *ids, "--json").document["report"] is None


def test_six_runs_are_refused_and_nothing_is_written(runs: list[Any], backtester: Run) -> None:
    ended = backtester("compare", *([runs[0].id] * 6), "--report", PAGE)
    assert (ended.code, ended.out) == (2, "")
    assert "a page compares at most 5 runs, found 6" in ended.err
    assert not Path(PAGE).exists()


def test_a_file_that_is_not_a_report_is_not_replaced(runs: list[Any], backtester: Run) -> None:
    Path("notes.txt").write_text("mine")
    ended = backtester("compare", *(run.id for run in runs), "--report", "notes.txt")
    assert ended.code != 0
    assert "a file that is not an HTML page exists there" in ended.err
    assert Path("notes.txt").read_text() == "mine"


def test_a_damaged_run_prints_one_line_and_writes_no_page(runs: list[Any], backtester: Run) -> None:
    (runs[1].folder / EQUITY).write_bytes(b"no array")
    ended = backtester("compare", *(run.id for run in runs), "--report", PAGE)
    assert (ended.code, ended.out) == (4, "")
    assert f"{EQUITY} cannot be read" in ended.err
    assert not Path(PAGE).exists()
