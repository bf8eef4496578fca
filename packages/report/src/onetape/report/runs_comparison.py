"""The page that compares saved runs: equity and drawdown in one chart, metrics, exit reasons."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray
from onetape.core.digits import format_fixed
from onetape.core.errors import UsageError
from onetape.engine import compute_drawdown_curve
from onetape.report.columns import round_column
from onetape.report.frame import (
    encode_script_json,
    fill_template,
    read_asset,
    render_page,
    render_warning_bar,
)
from onetape.report.library import read_chart_library
from onetape.report.merged_candles import Grouping, group_times
from onetape.report.payload import encode_time_runs
from onetape.report.trade_groups import OPEN, TradeGroup, TradeOutcome, group_trades

#: Maximum number of runs of a page, because each needs another colour.
MAX_RUNS: Final = 5
#: Points of each line; of more, several are drawn as one.
MAX_DRAWN_POINTS: Final = 10_000
_SHARED_SCRIPTS: Final = (*("format.js", "series.js", "chart_base.js", "moving.js", "sort.js"),)


class ComparedRun(Struct, frozen=True, kw_only=True):
    """One run of a comparison. Arrays have the shape (n,) of its candles."""

    name: str
    """Short id of the run."""
    strategy: str
    """Display name of the strategy."""
    description: str
    """Strategy, parameters, market and range of the run, in one line."""
    quote: str
    """Code of the quote currency that the money of the run is in."""
    total_return: float
    """Return of the run as a ratio."""
    money_decimals: int
    """Decimals of amounts of quote currency."""
    close_timestamp: IntArray
    """Closes of the candles, epoch seconds UTC, strictly increasing."""
    equity: FloatArray
    """Equity at each close, quote currency."""
    buy_and_hold: FloatArray
    """Equity of buy and hold at each close, quote currency."""
    start_cash: float
    """Quote currency before the first candle."""
    outcomes: Sequence[TradeOutcome]
    """Result of each trade, grouped by exit reason."""
    notes: Sequence[str] = ()
    """Notes on the run, in sentences."""
    warning: str = ""
    """Fault found by the bias check, in short; empty: none."""
    warning_text: str = ""
    """Result of the bias check."""


class RunsComparison(Struct, frozen=True, kw_only=True):
    """Contents of the page."""

    runs: Sequence[ComparedRun]
    """Two to five runs."""
    metrics: Sequence[Sequence[str]]
    """Rows of the table of metrics: label and a value for each run; the first one has the names."""
    differences: Sequence[Sequence[str]]
    """Rows of what differs between the runs, in the same form; empty: nothing does."""

    def __post_init__(self) -> None:
        """Check the number of runs.

        Raises:
            UsageError: there are more runs than colours.
        """
        if len(self.runs) > MAX_RUNS:
            raise UsageError(
                f"a page compares at most {MAX_RUNS} runs, found {len(self.runs)}; name fewer "
                "runs, or leave out --report"
            )


def render_runs_comparison(page: RunsComparison) -> str:
    """Return the page as HTML; it loads nothing.

    Raises:
        ConfigurationError: the chart library is not installed.
    """
    folder = Path(__file__).with_name("runs_page")
    names = " and ".join(run.name for run in page.runs)
    values = {
        "headline": "; ".join(_render_return(run) for run in page.runs),
        "banner": "".join(
            render_warning_bar(f"{run.name}: {run.warning}", run.warning_text)
            for run in page.runs
            if run.warning
        ),
        "runs": "".join(
            f"<div><dt>{escape(run.name)}</dt><dd>{escape(run.description)}</dd></div>"
            for run in page.runs
        ),
        "metrics": _render_table(page.metrics),
        "exits": _render_exit_table(page.runs),
        "differences": _render_table(page.differences)
        or '<tbody><tr><th scope="row" class="text">nothing differs</th></tr></tbody>',
        "notes": "".join(
            f"<li>{escape(run.name)}: {escape(note)}</li>"
            for run in page.runs
            for note in run.notes
        ),
    }
    return render_page(
        fill_template(read_asset("runs.html", folder), values),
        title=f"Comparison of {names}",
        style=f"{read_asset('report.css')}\n{read_asset('runs.css', folder)}",
        data=encode_script_json(make_comparison_columns(page.runs)),
        scripts=[
            *(read_asset(name) for name in _SHARED_SCRIPTS),
            read_asset("runs.js", folder),
            read_asset("overflow.js"),
        ],
        libraries=[read_chart_library()],
    )


def make_comparison_columns(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Return the lines of the chart: equity and drawdown of each run at the closes of all runs.

    Equity is divided by the start cash, times 100, so that accounts of any size are comparable. A
    line begins and ends with its run; between two closes of a run its value does not change.
    """
    times = np.unique(np.concatenate([run.close_timestamp for run in runs]))
    groups = group_times(times, MAX_DRAWN_POINTS)
    lines = [
        {
            "name": run.name,
            "equity": _align_column(run, run.equity / run.start_cash * 100.0, times, groups),
            "drawdown": _align_column(
                run,
                compute_drawdown_curve(run.equity, run.start_cash) * 100.0,
                times,
                groups,
                is_lowest=True,
            ),
        }
        for run in runs
    ]
    return {
        "times": encode_time_runs(groups.timestamp),
        "count": len(groups.timestamp),
        "runs": lines,
        "holds": _make_hold_lines(runs, times, groups),
    }


def _make_hold_lines(
    runs: Sequence[ComparedRun], times: IntArray, groups: Grouping
) -> list[dict[str, Any]]:
    """Return buy and hold of the runs, each different line once."""
    found: list[dict[str, Any]] = []
    for run in runs:
        values = _align_column(run, run.buy_and_hold / run.start_cash * 100.0, times, groups)
        if all(line["values"] != values for line in found):
            found.append({"name": run.name, "values": values})
    return found


def _align_column(
    run: ComparedRun,
    column: FloatArray,
    times: IntArray,
    groups: Grouping,
    *,
    is_lowest: bool = False,
) -> list[float | None]:
    """Return a column of a run at the drawn times; None before its first close and after its last.

    Args:
        run: The run.
        column: Values at the closes of the run.
        times: Closes of all runs.
        groups: Groups of these closes that are drawn as one.
        is_lowest: Whether a group shows its lowest value, not its last.
    """
    places = np.searchsorted(run.close_timestamp, times, side="right") - 1
    inside = places >= 0
    if len(run.close_timestamp):
        inside &= times <= run.close_timestamp[-1]
    whole = np.full(len(times), np.nan)
    whole[inside] = column[places[inside]]
    return round_column(groups.take_lowest(whole) if is_lowest else groups.take_last(whole), 3)


def _render_return(run: ComparedRun) -> str:
    text = f"{run.total_return * 100:+,.1f} %"
    name = "" if float(f"{run.total_return * 100:.1f}") == 0 else f" {_get_sign(run.total_return)}"
    head = f"{escape(run.strategy)} ({escape(run.name)})"
    return f'{head} returned <span class="figure{name}">{text}</span>'


def _get_sign(value: float) -> str:
    """Return the class of a value's colour."""
    return "gain" if value > 0 else "loss"


def _render_table(rows: Sequence[Sequence[str]]) -> str:
    """Return head and body of a table whose first row is the head; empty without rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in rows[0][1:])
    body = "\n".join(
        f'<tr><th scope="row" class="text">{escape(label)}</th>'
        f"{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"
        for label, *texts in rows[1:]
    )
    first = f'<th scope="col" class="text">{escape(rows[0][0])}</th>'
    return f"<thead><tr>{first}{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _render_exit_table(runs: Sequence[ComparedRun]) -> str:
    """Return the exit reasons of all runs, with trades, win rate and profit of each run."""
    groups = [{one.name: one for one in group_trades(run.outcomes)} for run in runs]
    names = sorted(
        {name for found in groups for name in found},
        key=lambda name: (
            name == OPEN,
            -max(found[name].trades if name in found else 0 for found in groups),
            name,
        ),
    )
    head = "".join(
        f'<th scope="col">Trades, {name}</th><th scope="col">Win rate, {name}</th>'
        f'<th scope="col">Profit, {name}, {escape(run.quote)}</th>'
        for run in runs
        for name in [escape(run.name)]
    )
    body = "\n".join(
        f'<tr><th scope="row" class="text">{escape(name)}</th>'
        + "".join(
            _render_exit_cells(found.get(name), run.money_decimals)
            for run, found in zip(runs, groups, strict=True)
        )
        + "</tr>"
        for name in names
    )
    return (
        f'<thead><tr><th scope="col" class="text">Exit reason</th>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>"
    )


def _render_exit_cells(group: TradeGroup | None, decimals: int) -> str:
    if group is None:
        return '<td data-sort="0">0</td><td></td><td></td>'
    profit = format_fixed(group.profit, decimals, signed=True)
    name = f' class="{_get_sign(group.profit)}"' if profit.strip("+-0.,") else ""
    return (
        f'<td data-sort="{group.trades}">{group.trades:,}</td>'
        f'<td data-sort="{group.win_rate:.6g}">{group.win_rate * 100:.1f} %</td>'
        f'<td{name} data-sort="{group.profit:.10g}">{profit}</td>'
    )
