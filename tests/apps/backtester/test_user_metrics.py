"""`--rank FILE.py`: a metric of the user ranks combinations; an error of it is one line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import BrowserTab

Run = Callable[..., Any]
Document = dict[str, Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=20,30")
ALL = ("--min-trades", "0")
FILE = "user/metrics/own.py"
#: Recomputes our metrics from what a function gets, and returns the largest difference.
RECOMPUTED = """
import math
import numpy as np

def own(run):
    ours, equity = run.metrics, run.equity
    high = np.maximum.accumulate(np.concatenate(([run.start_cash], equity)))[1:]
    sharpe = run.returns.mean() / run.returns.std(ddof=1) * math.sqrt(run.periods)
    pairs = [
        (ours["total_return"], equity[-1] / run.start_cash - 1),
        (ours["max_drawdown"], (equity / high - 1).min()),
        (ours["sharpe"], sharpe),
        (ours["trades"], len(run.profits)),
        (ours["expectancy"], run.profits.mean()),
        (ours["best_trade"], run.profit_ratios.max()),
        (ours["average_bars"], (run.exit_bars - run.entry_bars[: len(run.exit_bars)]).mean()),
        (ours["market_change"], run.candles.close[-1] / run.candles.close[0] - 1),
        (len(equity), len(run.candles)),
    ]
    columns = (run.equity, run.returns, run.profits, run.candles.close, run.entry_bars)
    assert not any(column.flags.writeable for column in columns)
    return -max(abs(first - second) for first, second in pairs)
"""


@pytest.fixture
def metric(folder: Path) -> Callable[..., None]:
    """Return a function that writes the file of a metric."""

    def write(text: str, name: str = FILE) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def refused(backtester: Run, database: Path) -> Callable[..., str]:
    """Return a function that optimizes by a metric which is refused, and returns the last line."""
    del database

    def run(*arguments: str, code: int = 2) -> str:
        ended = backtester("optimize", "--exchange", "simulator", *GRID, *ALL, *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended.err
        return ended.err

    return run


def test_a_user_metric_ranks_combinations_and_is_in_every_result(
    optimize: Run, metric: Run
) -> None:
    text = 'def own(run):\n    return run.metrics["total_return"] * 2 - run.metrics["fees"] / 1e4\n'
    metric(text)
    found = optimize(*GRID, *ALL, "--rank", FILE)
    assert (found["rank"], found["best_is"]) == ("own", "highest")
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert found["user_metrics"] == [{"name": "own", "file": FILE, "digest": digest}]
    for result in found["results"]:
        for part in ("in_sample", "out_of_sample"):
            ours = result[part]
            assert ours["own"] == ours["total_return"] * 2 - ours["fees"] / 1e4
    values = [result["in_sample"]["own"] for result in found["results"]]
    assert len(values) == 6
    assert values == sorted(values, reverse=True)
    assert found["rank_stability"]["best_in_sample"] == values[0]
    lines = (Path(found["folder"]) / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["in_sample"]["own"] for line in lines) == sorted(values)


def test_the_function_of_a_user_metric_gets_the_columns_of_the_built_in_metrics(
    optimize: Run, metric: Run
) -> None:
    metric(RECOMPUTED)
    found = optimize(*GRID, *ALL, "--rank", FILE)
    values = [
        result[part]["own"]
        for result in found["results"]
        for part in ("in_sample", "out_of_sample")
    ]
    assert values == pytest.approx(np.zeros(12), abs=1e-9)


def test_a_user_metric_leaves_the_built_in_metrics_unchanged(optimize: Run, metric: Run) -> None:
    plain = optimize(*GRID, *ALL)
    metric('def own(run):\n    return -run.metrics["fees"]\n')
    found = optimize(*GRID, *ALL, "--rank", "sharpe", "--rank", FILE)
    assert found["rank"] == ["sharpe", "own"]
    assert found["folder"] != plain["folder"]
    by_values = {tuple(one["parameters"].values()): one for one in plain["results"]}
    for result in found["results"]:
        before = by_values[tuple(result["parameters"].values())]
        assert {**result["in_sample"]} == {**before["in_sample"], "own": result["in_sample"]["own"]}
    # Another metric is another look, and no other trial.
    assert (found["trials"]["market"], found["trials"]["looks"]) == (6, 2)


def test_a_walk_forward_chooses_by_a_user_metric(optimize: Run, metric: Run) -> None:
    metric('def own(run):\n    return -run.metrics["fees"]\n')
    walk = ("--walk-forward", "40d/20d", *ALL)
    found = optimize(*GRID, *walk, "--rank", FILE)
    ours = optimize(*GRID, *walk, "--rank", "fees")
    assert [one["parameters"] for one in found["windows"]] == [
        one["parameters"] for one in ours["windows"]
    ]
    assert [one["in_sample"] for one in found["windows"]] == [
        -one["in_sample"] for one in ours["windows"]
    ]
    assert (found["rank"], found["user_metrics"][0]["name"]) == (["own"], "own")


def test_the_text_has_name_and_digits_of_a_user_metric(
    backtester: Run, database: Path, metric: Run
) -> None:
    del database
    metric('def own(run):\n    return run.metrics["total_return"] / 1e6\n')
    ended = backtester("optimize", "--exchange", "simulator", *GRID, *ALL, "--rank", FILE)
    assert ended.code == 0, ended.err
    assert ", ranked by own, highest first" in ended.out
    assert "e-0" in next(line for line in ended.out.splitlines() if line.startswith("best: own "))
    ended = backtester(
        "optimize",
        "--exchange",
        "simulator",
        *GRID,
        *ALL,
        "--rank",
        FILE,
        "--walk-forward",
        "40d/20d",
    )
    assert ended.code == 0, ended.err
    assert "; choice by own of at least 0 trades" in ended.out


def test_the_page_shows_a_user_metric_without_a_console_message(
    optimize: Run, metric: Run, open_page: Callable[..., BrowserTab]
) -> None:
    metric('def own(run):\n    return run.metrics["total_return"] / 1e3\n')
    found = optimize(*GRID, *ALL, "--rank", FILE)
    page = open_page(Path(found["page"]).resolve())
    fields = (
        "[...document.querySelectorAll('#map-in_sample td button')].map((one) => one.textContent)"
    )
    texts = page.run(fields)
    assert len(texts) == 6
    assert all("0.0" in text for text in texts)
    assert len(set(texts)) > 1, "a small value keeps its digits"
    assert page.complaints() == []


def test_a_resumed_optimization_uses_no_value_of_changed_code(optimize: Run, metric: Run) -> None:
    metric("def own(run):\n    return 1\n")
    first = optimize(*GRID, *ALL, "--rank", FILE)
    again = optimize(*GRID, *ALL, "--rank", FILE)
    assert (again["folder"], again["trials"]["earlier"]) == (first["folder"], 6)
    metric("def own(run):\n    return 2\n")
    changed = optimize(*GRID, *ALL, "--rank", FILE)
    assert changed["folder"] != first["folder"]
    assert changed["trials"]["earlier"] == 0
    assert {one["in_sample"]["own"] for one in changed["results"]} == {2.0}


def test_a_stored_result_without_the_metric_is_refused(
    optimize: Run, refused: Run, metric: Run
) -> None:
    metric("def own(run):\n    return 1\n")
    path = Path(optimize(*GRID, *ALL, "--rank", FILE)["folder"]) / "results.jsonl"
    path.write_text(path.read_text().replace('"own"', '"other"'))
    line = refused("--rank", FILE, code=3)
    assert "has a line that is not a result (it lacks own)" in line


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("run.metrics['trades'] / 0", "line 3: ZeroDivisionError: "),
        ("[][1]", "line 3: IndexError: list index out of range"),
        ("exit('so')", "line 3: SystemExit: so"),
        ("float('nan')", "it returned nan, not a finite number"),
        ("-float('inf')", "it returned -inf, not a finite number"),
        ("10 ** 400", "it returned inf, not a finite number"),
        ("None", "it returned a value of type NoneType, not a finite number"),
        ("'1'", "it returned a value of type str, not a finite number"),
        ("True", "it returned a value of type bool, not a finite number"),
        ("run.equity", "it returned a value of type ndarray, not a finite number"),
    ],
)
def test_a_user_metric_without_a_number_prints_one_line_and_loses_no_result(
    optimize: Run, refused: Run, metric: Run, returned: str, words: str
) -> None:
    """The function fails for the combination with most trades alone."""
    metric('def own(run):\n    return -run.metrics["trades"]\n')
    most = optimize(*GRID, *ALL, "--rank", FILE)["results"][-1]
    trades = most["in_sample"]["trades"]
    metric(
        f"def own(run):\n    if run.metrics['trades'] == {trades}:\n        return {returned}\n"
        "    return 1.0\n"
    )
    values = ", ".join(f"{name} {value}" for name, value in most["parameters"].items())
    line = refused("--rank", FILE)
    assert line.startswith(f"backtester: rank: {values}: own of {FILE}, in-sample: {words}")
    assert line.endswith(
        "; return a finite number for every backtest, also for one without trades\n"
    )
    # What was finished is whole, and the same line comes again.
    assert refused("--rank", FILE) == line
    (folder,) = [
        path.parent
        for path in Path("data/optimizations").glob("*/optimization.json")
        if not (path.parent / "choice.json").exists()
    ]
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert all(json.loads(line)["in_sample"]["own"] == 1.0 for line in lines)


def test_a_walk_forward_names_the_window_in_which_a_user_metric_has_no_number(
    refused: Run, metric: Run
) -> None:
    metric("def own(run):\n    return None\n")
    line = refused("--rank", FILE, "--walk-forward", "40d/20d", "--jobs", "1")
    assert f"own of {FILE}, training part of window 1: it returned a value of type NoneType" in line


@pytest.mark.parametrize(
    ("text", "rank", "code", "words"),
    [
        (None, FILE, 2, f"--rank {FILE}: file not found; give the path of a .py file"),
        ("x = 1\n", FILE, 2, "must have one function, or one called own (it has: none)"),
        ("def a(run): ...\ndef b(run): ...\n", FILE, 2, "(it has: a, b); name one: user/metrics"),
        ("def a(run): ...\n", f"{FILE}:b", 2, "the file has no function 'b'"),
        ("def fees(run): ...\n", FILE, 2, "fees is the name of a built-in metric; rename"),
        ("def own(run):\n    return (\n", FILE, 3, f"metric file {FILE}, line 2: SyntaxError: "),
        ("import math\n\n1 / 0\n", FILE, 3, f"metric file {FILE}, line 3: ZeroDivisionError: "),
        ("import no_such\n", FILE, 3, "line 1: ModuleNotFoundError: No module named 'no_such'"),
        (None, f"{'a' * 300}.py", 2, "a.py: File name too long; name a .py file"),
    ],
)
def test_an_invalid_file_of_a_user_metric_is_refused_in_one_line(
    refused: Run, metric: Run, text: str | None, rank: str, code: int, words: str
) -> None:
    if text is not None:
        metric(text)
    assert words in refused("--rank", rank, code=code)
    assert not list(Path("data").glob("optimizations/*"))


def test_two_metrics_with_the_same_name_are_refused(refused: Run, metric: Run) -> None:
    metric("def own(run):\n    return 1\n")
    metric("def own(run):\n    return 2\n", "other.py")
    line = refused("--rank", FILE, "--rank", "other.py:own")
    assert f"other.py and {FILE} both have a metric own; rename one" in line


def test_output_of_a_user_metrics_function_is_not_in_the_document(
    optimize: Run, metric: Run
) -> None:
    metric("print('loaded')\n\ndef own(run):\n    print('called')\n    return 1\n")
    assert optimize(*GRID, *ALL, "--rank", FILE)["rank"] == "own"
