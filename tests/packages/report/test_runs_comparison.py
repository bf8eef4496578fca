"""Runs on one page: their lines at common times, their tables, and the page in Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.core.errors import UsageError
from onetape.report.runs_comparison import (
    MAX_DRAWN_POINTS,
    ComparedRun,
    RunsComparison,
    make_comparison_columns,
    render_runs_comparison,
)
from onetape.report.trade_groups import TradeOutcome
from onetape.report.write import write_page

Opener = Callable[..., BrowserTab]
HOUR = 3_600
START = 1_704_067_200


def make_compared_run(name: str = "aaaaaa", **more: Any) -> ComparedRun:
    """Return a run of twelve hours that loses and wins."""
    equity = np.array([1_000.0, 900.0, 1_100.0, 1_200.0, 1_150.0, 1_300.0] * 2)
    values: dict[str, Any] = {
        "name": name,
        "strategy": "rsi",
        "description": "rsi (period 14) on binance BTC/USDT 1h, 2024-01-01 to 2024-01-02 UTC",
        "quote": "USDT",
        "total_return": 0.3,
        "money_decimals": 2,
        "close_timestamp": START + HOUR * (1 + np.arange(12, dtype=np.int64)),
        "equity": equity,
        "buy_and_hold": equity + 10.0,
        "start_cash": 1_000.0,
        "outcomes": (
            TradeOutcome("stop loss", -100.0, -0.1, HOUR),
            TradeOutcome("target", 400.0, 0.4, 2 * HOUR),
        ),
    }
    return ComparedRun(**(values | more))


def make_comparison(*runs: ComparedRun) -> RunsComparison:
    names = [run.name for run in runs]
    return RunsComparison(
        runs=runs,
        metrics=[["", *names], ["return", *("30.00%" for _ in runs)]],
        differences=[["differs in", *names], ["parameters.period", *map(str, range(len(runs)))]],
    )


@pytest.fixture
def open_runs(open_page: Opener, tmp_path: Path) -> Opener:
    """Return a function that writes a comparison of runs and opens it."""

    def opened(*runs: ComparedRun, width: int = 1280) -> BrowserTab:
        page = make_comparison(*runs)
        path = write_page(lambda: render_runs_comparison(page), tmp_path / "runs.html")
        return open_page(path, width, 900)

    return opened


def test_equity_is_a_percentage_of_start_cash_and_drawdown_is_computed_from_all_closes() -> None:
    large = make_compared_run(
        "bbbbbb", start_cash=10_000.0, equity=make_compared_run().equity * 10.0
    )
    first, second = make_comparison_columns([make_compared_run(), large])["runs"]
    assert first["equity"] == second["equity"]
    assert first["equity"][:3] == [100.0, 90.0, 110.0]
    assert first["drawdown"][:6] == pytest.approx([0.0, -10.0, 0.0, 0.0, -4.167, 0.0], abs=1e-3)


def test_runs_of_different_ranges_and_timeframes_share_the_axis_of_closes() -> None:
    later = make_compared_run(
        "bbbbbb",
        close_timestamp=START + 4 * HOUR * (1 + np.arange(4, dtype=np.int64)),
        equity=np.array([1_000.0, 1_100.0, 1_200.0, 1_300.0]),
        buy_and_hold=np.ones(4),
    )
    found = make_comparison_columns([make_compared_run(), later])
    assert found["count"] == 13
    assert found["times"]["start"] == START + HOUR
    hourly, slow = (run["equity"] for run in found["runs"])
    assert hourly[-2:] == [130.0, None]
    assert slow == [None] * 3 + [100.0] * 4 + [110.0] * 4 + [120.0, 130.0]


def test_buy_and_hold_is_drawn_once_where_it_is_the_same() -> None:
    same, other = make_compared_run("bbbbbb"), make_compared_run("cccccc", buy_and_hold=np.ones(12))
    holds = make_comparison_columns([make_compared_run(), same, other])["holds"]
    assert [line["name"] for line in holds] == ["aaaaaa", "cccccc"]


def test_long_runs_are_drawn_with_fewer_points_and_their_deepest_fall() -> None:
    count = 3 * MAX_DRAWN_POINTS
    equity = np.full(count, 1_000.0)
    equity[12_345] = 400.0
    run = make_compared_run(
        close_timestamp=START + 60 * np.arange(count, dtype=np.int64),
        equity=equity,
        buy_and_hold=equity,
    )
    found = make_comparison_columns([run, replace(run, name="bbbbbb")])
    assert found["count"] <= MAX_DRAWN_POINTS
    assert min(found["runs"][0]["drawdown"]) == -60.0


def test_exit_reasons_of_the_runs_are_next_to_each_other() -> None:
    other = make_compared_run("bbbbbb", outcomes=(TradeOutcome("time <stop>", 5.0, 0.01, HOUR),))
    page = render_runs_comparison(make_comparison(make_compared_run(), other))
    table = page.partition('id="exits"')[2].partition("</table>")[0]
    assert "Trades, bbbbbb" in table
    assert "time &lt;stop&gt;" in table
    assert "+400.00" in table
    assert '<td data-sort="0">0</td><td></td><td></td>' in table


def test_a_fault_of_the_bias_check_is_at_the_top() -> None:
    fault = make_compared_run(
        "bbbbbb", warning="look-ahead: do not trust this result", warning_text="Check"
    )
    page = render_runs_comparison(make_comparison(make_compared_run(), fault))
    assert 'role="alert"><strong>Bbbbbb: look-ahead' in page


def test_more_runs_than_colours_are_refused() -> None:
    with pytest.raises(UsageError, match="compares at most 5 runs, found 6; name fewer runs"):
        make_comparison(*(make_compared_run(f"run{number}") for number in range(6)))


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)]
)
def test_the_page_has_no_console_message_needs_no_network_and_is_as_wide_as_the_screen(
    open_runs: Opener, width: int, dark: bool
) -> None:
    page = open_runs(make_compared_run(), make_compared_run("bbbbbb"), width=width)
    page.dark(on=dark)
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.run("window.onetapeRuns.background()") == ("#171c24" if dark else "#ffffff")


def test_the_chart_has_a_line_for_each_run_and_moves_by_arrow_keys(open_runs: Opener) -> None:
    page = open_runs(make_compared_run(), make_compared_run("bbbbbb"))
    assert page.run("window.onetapeRuns.lines()") == [
        ["aaaaaa, % of start", "bbbbbb, % of start", "buy and hold"],
        ["aaaaaa, drawdown %", "bbbbbb, drawdown %"],
    ]
    width = "(b => b.to - b.from)(window.onetapeRuns.visibleRange())"
    before = page.run(width)
    page.run("document.getElementById('chart').focus()")
    page.key("+")
    assert page.run(width) < before
    page.click(*page.centre("#log-scale"))
    assert page.run("window.onetapeRuns.logScale()") == 1


def test_the_exit_table_is_sorted_by_a_heading(open_runs: Opener) -> None:
    page = open_runs(make_compared_run(), make_compared_run("bbbbbb"))
    names = "[...document.querySelectorAll('#exits tbody tr')].map(row => row.cells[0].textContent)"
    assert page.run(names) == ["stop loss", "target"]
    head = "#exits thead th:nth-child(4)"
    page.click(*page.centre(head))
    page.click(*page.centre(head))
    assert page.run(names) == ["target", "stop loss"]
