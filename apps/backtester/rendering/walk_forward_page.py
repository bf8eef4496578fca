"""The page of a finished walk-forward, made of its records; `show_walk_forward` prints too."""

from pathlib import Path
from typing import Final

import msgspec

from backtester.rendering.walk_forward import (
    collect_notes,
    format_heading,
    format_scheme_line,
    format_stability_lines,
    format_stitched_lines,
    format_trials_line,
    format_verdict_line,
    format_walk_forward,
    format_window_rows,
    make_walk_forward_document,
)
from onetape.cli.output import print_line
from onetape.optimization.walk_forward import compute_daily_equity
from onetape.optimization.walk_forward_run import WalkForwardRun
from onetape.report.walk_forward import WalkForwardPage, write_walk_forward_page

PAGE: Final = "walk_forward.html"
#: Number of points of the chart; more would not be visible.
_MAX_POINTS: Final = 2_000


def show_walk_forward(run: WalkForwardRun, *, as_json: bool) -> None:
    """Write the page of a walk-forward, and print text or one document.

    Raises:
        ConfigurationError: the page cannot be written.
    """
    path = run.folder / PAGE
    write_page(run, path)
    if as_json:
        encoded = msgspec.json.encode(make_walk_forward_document(run, path), enc_hook=str)
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        print_line(format_walk_forward(run, path))


def write_page(run: WalkForwardRun, path: Path) -> None:
    """Write the page of a walk-forward.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    found = run.walk_forward
    times, equity, hold = compute_daily_equity(found.result)
    count = min(len(times), _MAX_POINTS)
    shown = [round(at * (len(times) - 1) / max(count - 1, 1)) for at in range(count)]
    rows = format_window_rows(run)
    rules = {one.name: one.text for one in run.plan.ranges}
    rules |= {"trading rules": run.trading_rules_text, "database": str(run.config.database)}
    key = run.context.window.key
    page = WalkForwardPage(
        title=f"Walk-forward: {run.plan.strategy.name} on {key.symbol}",
        heading=format_heading(run),
        scheme=format_scheme_line(run),
        trials=format_trials_line(run),
        verdict=format_verdict_line(run),
        rungs=[line.strip() for line in found.verdict.lines],
        findings=[*format_stitched_lines(run), *format_stability_lines(run), *collect_notes(run)],
        origin=run.context.window.origin,
        head=rows[0],
        rows=rows[1:],
        rules=rules,
        times=[times[at] for at in shown],
        equity=[float(equity[at]) for at in shown],
        hold=[float(hold[at]) for at in shown],
        boundaries=[one.test_start for one in found.windows],
    )
    write_walk_forward_page(page, path)
