"""`--walk-forward`: choices use the training part only; the equity equals that of backtests."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onetape.backtest as ot
from browser import BrowserTab
from onetape.core.clock import format_utc

Run = Callable[..., Any]
Document = dict[str, Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=20,30")
FEW = ("--min-trades", "5")
SCHEME = ("--walk-forward", "40d/20d", *FEW)


ALWAYS_LONG = """
import numpy as np
from dataclasses import dataclass
from typing import ClassVar
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Long(Strategy):
    name: ClassVar[str] = "long"
    lookback: ClassVar[int] = 1
    n: int = parameter(1, ge=1, le=9)

    def evaluate(self, candles, higher):
        return Signals(np.ones(len(candles), dtype=np.int8), {})
"""


def format_day(moment: int) -> str:
    return format_utc(moment).replace(" ", "T")


def make_parameter_flags(window: Document) -> list[str]:
    return [f"--param={name}={value}" for name, value in window["parameters"].items()]


def test_each_choice_is_the_best_of_backtests_of_its_training_part(
    optimize: Run, backtest_json: Run
) -> None:
    found = optimize(*GRID, *SCHEME)
    assert [len(found["windows"]), found["trials"]["here"]] == [4, 6]
    for window in found["windows"][:2]:
        ends = (
            "--from",
            format_day(window["train_start"]),
            "--to",
            format_day(window["test_start"]),
        )
        sharpes: dict[tuple[int, int], float] = {}
        returns: dict[tuple[int, int], float] = {}
        for fast in (5, 10, 15):
            for slow in (20, 30):
                flags = ("--param", f"fast={fast}", "--param", f"slow={slow}")
                metrics = backtest_json("-s", "sma_cross", *flags, *ends).document["metrics"]
                if metrics["trades"] >= 5:
                    sharpes[fast, slow] = metrics["sharpe"]
                    returns[fast, slow] = metrics["total_return"]
        best = max(sharpes, key=lambda pair: sharpes[pair])
        assert window["parameters"] == {"fast": best[0], "slow": best[1]}
        assert window["in_sample"] == pytest.approx(sharpes[best], rel=1e-12)
        assert window["in_sample_return"] == pytest.approx(returns[best], rel=1e-12)


def test_test_parts_are_consecutive_up_to_the_end_of_the_range(optimize: Run) -> None:
    windows = optimize(*GRID, *SCHEME)["windows"]
    for before, after in itertools.pairwise(windows):
        assert before["test_end"] == after["test_start"]
        assert after["test_start"] - after["train_start"] == 40 * 86_400
    anchored = optimize(*GRID, *SCHEME, "--anchored")["windows"]
    assert {window["train_start"] for window in anchored} == {windows[0]["train_start"]}
    assert anchored[0]["parameters"] == windows[0]["parameters"]


def test_the_equity_of_a_window_equals_the_backtest_of_its_test_part(
    optimize: Run, backtest_json: Run
) -> None:
    found = optimize(*GRID, "--walk-forward", "90d/30d", *FEW, "--boundary", "carry")
    (window,) = found["windows"]
    ends = ("--from", format_day(window["test_start"]), "--to", format_day(window["test_end"]))
    alone = backtest_json("-s", "sma_cross", *make_parameter_flags(window), *ends).document[
        "metrics"
    ]
    assert found["metrics"] == alone
    assert window["out_of_sample_return"] == pytest.approx(alone["total_return"])


def test_returns_of_the_windows_multiply_to_the_stitched_return(optimize: Run) -> None:
    found = optimize(*GRID, *SCHEME)
    product = np.prod([1 + window["out_of_sample_return"] for window in found["windows"]])
    assert product - 1 == pytest.approx(found["metrics"]["total_return"])


def test_a_boundary_sells_and_costs_or_carries_the_position(optimize: Run, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(ALWAYS_LONG)
    flags = ("-s", "long.py", "--param", "n=1,2", "--walk-forward", "40d/20d", "--min-trades", "0")
    closed = optimize(*flags)["metrics"]
    carried = optimize(*flags, "--boundary", "carry")["metrics"]
    # Sold at the begin of three test parts, and bought again.
    assert (closed["trades"], closed["open_at_end"]) == (3, True)
    assert (carried["trades"], carried["open_at_end"]) == (0, True)
    assert closed["fees"] > 6 * carried["fees"]


def test_efficiency_has_no_value_where_the_training_part_lost(optimize: Run) -> None:
    found = optimize(*GRID, *SCHEME)
    for window in found["windows"]:
        assert (window["efficiency"] is None) == (window["in_sample_return"] <= 0)


def test_later_candles_change_no_choice(optimize: Run, database: Path, tmp_path: Path) -> None:
    del database
    whole = optimize(*GRID, *SCHEME)["windows"]
    shutil.rmtree(tmp_path / "data/walk_forwards")
    shorter = optimize(*GRID, *SCHEME, "--to", format_day(whole[1]["test_end"]))["windows"]
    assert shorter == whole[:2]


def test_every_windowing_counts_as_a_look_and_its_combinations_as_trials(optimize: Run) -> None:
    first = optimize(*GRID, *SCHEME)["trials"]
    again = optimize(*GRID, *SCHEME)["trials"]
    other = optimize(*GRID, *SCHEME, "--anchored")["trials"]
    assert (first["market"], first["looks"], first["earlier"]) == (6, 1, 0)
    assert (again["market"], again["looks"], again["earlier"]) == (6, 1, 6)
    assert (other["market"], other["looks"], other["earlier"]) == (12, 2, 0)


def test_a_window_without_a_choice_trades_nothing(optimize: Run) -> None:
    found = optimize(*GRID, "--walk-forward", "40d/20d", "--min-trades", "10000")
    assert {window["parameters"] for window in found["windows"]} == {None}
    assert (found["metrics"]["trades"], found["metrics"]["total_return"]) == (0, 0)
    assert found["verdict"]["text"].startswith("too little data")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--walk-forward", "40d"), 2, "--walk-forward must be two lengths such as 365d/90d"),
        (("--walk-forward", "40d/0d"), 2, "--walk-forward must be two lengths"),
        (("--walk-forward", "4y/1y"), 2, "--walk-forward must be two lengths"),
        (
            ("--walk-forward", "40d/9d", "--boundary", "hold"),
            2,
            "--boundary must be close or carry",
        ),
        (
            ("--walk-forward", "400d/20d"),
            4,
            "has 120 days in the range, and a walk-forward of 400d",
        ),
        (
            ("--walk-forward", "40d/9d", "--sampler", "tpe", "--trials", "9"),
            2,
            "--walk-forward takes --sampler grid or random",
        ),
    ],
)
def test_impossible_windows_are_refused_in_one_line(
    backtester: Run, database: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    del database
    ended = backtester("optimize", "--exchange", "simulator", *GRID, *arguments)
    assert (ended.code, ended.err.count("\n")) == (code, 1)
    assert words in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--anchored",), "--anchored has no effect without --walk-forward"),
        (("--boundary", "carry"), "--boundary has no effect without --walk-forward"),
        (
            ("--walk-forward", "40d/20d", "--out-of-sample", "0.2"),
            "--out-of-sample has no effect with --walk-forward",
        ),
    ],
)
def test_a_flag_without_effect_on_the_search_is_refused_in_one_line(
    backtester: Run, database: Path, arguments: tuple[str, ...], words: str
) -> None:
    del database
    ended = backtester("optimize", "--exchange", "simulator", *GRID, *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert words in ended.err


def test_the_text_states_verdict_windows_and_stability(backtester: Run, database: Path) -> None:
    del database
    out = backtester("optimize", "--exchange", "simulator", *GRID, *SCHEME).out.splitlines()
    assert out[0].startswith("sma_cross on simulator BTC/USDT 1h: walk-forward, 4 windows, 6 comb")
    assert out[1].startswith("trials: 6 trials here, 6 on simulator BTC/USDT in all; looks at")
    assert out[2].startswith("verdict: ")
    assert any(line.startswith("stitched out of sample: return ") for line in out)
    assert any(line.startswith("chosen fast: ") for line in out)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_equity_and_windows(
    optimize: Run, open_page: Callable[..., BrowserTab], width: int
) -> None:
    found = optimize(*GRID, *SCHEME)
    page = open_page(Path(found["page"]).resolve(), width=width)
    assert page.run("document.querySelectorAll('#windows tbody tr').length") == 4
    assert page.run("document.querySelectorAll('#equity path').length") == 2
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.run("document.querySelectorAll('#windows th')[0].click()")
    page.run("document.querySelectorAll('#windows th')[0].click()")
    first = "document.querySelector('#windows tbody td').textContent"
    assert page.run(first) == format_utc(found["windows"][-1]["train_start"])[:10]
    assert page.complaints() == []


def test_the_python_function_gives_the_numbers_of_the_command(
    optimize: Run, database: Path
) -> None:
    del database
    found = optimize(*GRID, *SCHEME)
    candles = ot.load_candles("BTC/USDT", "1h", exchange="simulator", start="2024-01-01")
    params = {"fast": [5, 10, 15], "slow": [20, 30]}
    walked = ot.walk_forward("sma_cross", candles, params, "40d/20d", min_trades=5, jobs=2)
    assert json.loads(json.dumps(walked.metrics)) == found["metrics"]
    assert walked.windows["fast"].tolist() == [
        one["parameters"]["fast"] for one in found["windows"]
    ]
    assert float(walked.equity.iloc[-1]) == found["metrics"]["final_equity"]
    assert walked.verdict == found["verdict"]["text"]
    assert "walk-forward 40d/20d, rolling: 4 windows" in repr(walked)
