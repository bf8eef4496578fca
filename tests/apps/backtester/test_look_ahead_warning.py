"""Look-ahead is shown at the top of every output of a run; a clean run has no warning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backtester.rendering.runs import format_run_list
from browser import BrowserTab
from onetape.backtest.records import BiasCheck, join_checks
from onetape.backtest.storage.runs import load_run
from onetape.backtest.warning_banner import format_warning
from onetape.store.database import open_store

Run = Callable[..., Any]
SIMULATED = ("--exchange", "simulator")
GRID = ("--param", "period=3,9")
BIASED = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Biased(Strategy):
    name: ClassVar[str] = "biased"
    lookback = 2
    period: int = parameter(5, ge=1, le=50)

    def evaluate(self, candles, higher):
        rises = np.roll(candles.close, -1) > candles.close
        return Signals(np.where(rises, 1, -1).astype(np.int8), {})
"""
WARNING = "look-ahead: do not trust this result"
#: The red bar: its text, where it is, and the contrast of its text, as of WCAG 2.
BAR = """
(() => {
  const [bar] = document.querySelectorAll('[role=alert]');
  if (!bar) return null;
  const channels = (text) => text.match(/[0-9]+/g).slice(0, 3).map((one) => one / 255);
  const light = (text) => channels(text)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const style = getComputedStyle(bar);
  const [low, high] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
  const [red, green] = channels(style.backgroundColor);
  return {text: bar.textContent, after: bar.previousElementSibling.tagName, red: red > 2 * green,
    seen: bar.getBoundingClientRect().top < innerHeight / 2,
    contrast: (high + 0.05) / (low + 0.05)};
})()
"""


@pytest.fixture
def biased(database: Path) -> str:
    """Return a strategy that uses the next close."""
    del database
    Path("biased.py").write_text(BIASED)
    return "biased.py"


def test_the_terminal_warns_right_under_the_head_line(backtester: Run, biased: str) -> None:
    ended = backtester(*SIMULATED, "--no-report", "-s", biased)
    assert ended.code == 0
    assert ended.out.splitlines()[1] == f"! {WARNING} (below: bias check)"
    assert any(
        line.startswith("bias check: ") and "DIFFER" in line for line in ended.out.splitlines()
    )
    shown = backtester("show").out.splitlines()
    assert shown[1] == f"! {WARNING} (below: bias check)"


def test_list_marks_the_run_that_looks_ahead_at_any_width(save_run: Run, biased: str) -> None:
    runs = [load_run(save_run("-s", biased)), load_run(save_run())]
    wide, narrow = format_run_list(runs).splitlines(), format_run_list(runs, width=80).splitlines()
    assert [line.endswith("! look-ahead") for line in wide] == [False, True, False]
    assert [line.startswith("! look-ahead") for line in narrow] == [i == 3 for i in range(6)]
    assert max(map(len, narrow)) <= 80


def test_compare_marks_the_run_that_looks_ahead(
    save_run: Run, backtester: Run, biased: str
) -> None:
    ids = [load_run(save_run(*flags)).id for flags in (("-s", biased), ())]
    assert backtester("compare", *ids).out.splitlines()[1].split() == ["check", "!", "look-ahead"]


@pytest.mark.parametrize("flags", [(), ("--no-check",)])
def test_clean_and_unchecked_runs_have_no_warning(
    save_run: Run, backtester: Run, flags: tuple[str, ...]
) -> None:
    ids = [load_run(save_run(*flags)).id for _ in range(2)]
    assert not backtester("show").out.splitlines()[1].startswith("! ")
    assert "check" not in backtester("list").out + backtester("compare", *ids).out


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_has_a_readable_red_bar_under_its_headline(
    backtester: Run, biased: str, open_page: Callable[..., BrowserTab], *, dark: bool
) -> None:
    backtester(*SIMULATED, "--no-save", "--report", "report.html", "-s", biased)
    page = open_page(Path("report.html").resolve(), 390)
    page.dark(on=dark)
    bar = page.run(BAR)
    assert bar["text"].startswith("Look-ahead: do not trust this result. Check: ")
    assert "; why: uv run backtester check --exchange simulator --strategy biased.py" in bar["text"]
    assert (bar["after"], bar["red"], bar["seen"]) == ("H1", True, True)
    assert bar["contrast"] > 4.5


def test_the_report_of_several_symbols_warns_if_one_of_them_looks_ahead(
    backtester: Run, biased: str, database: Path, open_page: Callable[..., BrowserTab]
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume, closed, source) SELECT exchange, 'ETH/USDT', timeframe, timestamp, "
            "open, high, low, close, volume, closed, source FROM ohlcv_data"
        )
    both = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--no-save", "--report", "report.html")
    backtester(*SIMULATED, *both, "-s", biased)
    bar = open_page(Path("report.html").resolve()).run(BAR)
    assert "Check: BTC/USDT: " in bar["text"]
    assert "ETH/USDT: " in bar["text"]


def test_look_ahead_in_one_symbol_is_reported_before_a_short_warm_up_in_another() -> None:
    clean = replace(BiasCheck.make_not_run("clean"), clean=True)
    checks = {
        "A/B": replace(clean, clean=False, first_bad_bar=1, kind="warm-up"),
        "C/D": replace(clean, clean=False, first_bad_bar=9, kind="look-ahead"),
        "E/F": clean,
    }
    assert format_warning(join_checks(checks)) == WARNING


def test_the_report_of_a_clean_run_has_no_bar(backtester: Run, database: Path) -> None:
    del database
    backtester(*SIMULATED, "--no-save", "--report", "report.html")
    assert 'role="alert"' not in Path("report.html").read_text()


def test_an_optimization_whose_best_result_looks_ahead_warns_and_asks_to_fix_it_before_a_run(
    backtester: Run, biased: str
) -> None:
    lines = backtester("optimize", *SIMULATED, "-s", biased, *GRID).out.splitlines()
    assert lines[1] == f"! {WARNING} (below: bias check)"
    assert lines[-1].startswith("when it is fixed, run it: uv run backtester ")


def test_the_page_of_an_optimization_whose_best_result_looks_ahead_has_the_red_bar(
    optimize: Run, biased: str, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize("-s", biased, *GRID)["page"]).resolve())
    bar = page.run(BAR)
    assert bar["text"].startswith("Look-ahead: do not trust this result. Check of the best: ")
    assert (bar["after"], bar["red"]) == ("H1", True)
    assert page.run("document.querySelector('h3').textContent") == "When it is fixed, run the best"
    assert page.complaints() == []


def test_the_page_of_a_clean_optimization_has_no_bar(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize("-s", "rsi", "--param", "period=9,14")["page"]).resolve())
    assert page.run(BAR) is None
    assert page.run("document.querySelector('h3').textContent") == "Run the best"
