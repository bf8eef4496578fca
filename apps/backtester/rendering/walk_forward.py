"""Output of a finished walk-forward: text for a terminal, and a document for `--json`."""

from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict

from backtester.rendering.optimization import make_user_metrics_documents
from onetape.backtest.assumptions import describe_window
from onetape.backtest.metric_definitions import format_metric_value, get_definition
from onetape.cli.output import format_table
from onetape.core.clock import format_day
from onetape.core.digits import choose_money_decimals
from onetape.core.message_text import format_count
from onetape.core.symbols import split_symbol
from onetape.optimization.space import format_parameter_value
from onetape.optimization.walk_forward_run import WalkForwardRun

#: Metrics of the stitched equity that the terminal shows.
_SHOWN_METRICS: Final = ("total_return", "cagr", "sharpe", "max_drawdown", "trades", "exposure")


def format_walk_forward(run: WalkForwardRun, page: Path) -> str:
    """Return a walk-forward as text for the terminal."""
    lines = [
        format_heading(run),
        format_trials_line(run),
        format_verdict_line(run),
        format_scheme_line(run),
        "",
        format_table(format_window_rows(run)),
        "",
        *format_stitched_lines(run),
        *run.walk_forward.verdict.lines,
        *format_stability_lines(run),
        f"trading rules: {run.trading_rules_text}",
        *(f"note: {text}" for text in collect_notes(run)),
        f"page: {page}",
        f"results: {run.folder}",
    ]
    return "\n".join(lines)


def format_heading(run: WalkForwardRun) -> str:
    """Return the heading of a walk-forward in one line."""
    done = format_count(len(run.plan.points), "combination")
    invalid = f", {run.plan.invalid:,} invalid left out" if run.plan.invalid else ""
    failed = f", {len(run.failed):,} failed" if run.failed else ""
    windows = format_count(len(run.walk_forward.windows), "window")
    return (
        f"{run.plan.strategy.name} on {run.context.window.key}: walk-forward, {windows}, {done} "
        f"({run.options.sampler}{invalid}{failed}), {run.seconds:.2f} s"
    )


def format_trials_line(run: WalkForwardRun) -> str:
    """Return the line with the number of trials, and of looks at the test parts."""
    counts, key = run.counts, run.context.window.key
    return (
        f"trials: {format_count(len(run.plan.points), 'trial')} here, {counts.market:,} on "
        f"{key.exchange} {key.symbol} in all; looks at these test parts: {counts.looks:,}"
    )


def format_verdict_line(run: WalkForwardRun) -> str:
    """Return the verdict in one line."""
    return f"verdict: {run.walk_forward.verdict.summary}"


def format_scheme_line(run: WalkForwardRun) -> str:
    """Return the lengths of the windows and the rule of a choice."""
    scheme = run.walk_forward.scheme
    label = get_definition(run.options.metric).label
    held = "sold" if scheme.boundary == "close" else "carried over"
    return (
        f"windows: {scheme.text} (training/test); choice by {label} "
        f"of at least {format_count(run.options.min_trades, 'trade')} (--min-trades); "
        f"at a boundary an open position is {held} (--boundary)"
    )


def format_window_rows(run: WalkForwardRun) -> list[list[str]]:
    """Return the table of the windows."""
    names = [each.name for each in run.plan.ranges if not each.is_fixed]
    metric = run.options.metric
    rows = [
        [
            *("training from", "test from", "to", *names),
            *(
                f"{get_definition(metric).label} training",
                "return training",
                "return test",
                "efficiency",
            ),
        ]
    ]
    for window in run.walk_forward.windows:
        chosen = window.parameters
        values = [
            "none" if chosen is None else format_parameter_value(chosen[name]) for name in names
        ]
        known = window.in_sample_return
        rows.append(
            [
                *(
                    format_day(moment)
                    for moment in (window.train_start, window.test_start, window.test_end)
                ),
                *values,
                format_metric(run, metric, window.in_sample),
                "" if known is None else f"{known:+.1%}",
                f"{window.out_of_sample_return:+.1%}",
                "" if window.efficiency is None else f"{window.efficiency:.0%}",
            ]
        )
    return rows


def format_stitched_lines(run: WalkForwardRun) -> list[str]:
    """Return the metrics of the stitched equity, buying and holding, and the efficiency."""
    found, hold = run.walk_forward, run.walk_forward.metrics.buy_and_hold
    texts = [
        f"{get_definition(name).label} {format_metric(run, name, getattr(found.metrics, name))}"
        for name in _SHOWN_METRICS
    ]
    lines = [f"stitched out of sample: {', '.join(texts)}"]
    held = "none" if hold is None else f"{hold.total_return:+.1%}"
    lines.append(f"buy and hold: {held}, at equal exposure {found.hold_return:+.1%}")
    known = [one for one in found.windows if one.efficiency is not None]
    efficiency = "none" if found.efficiency is None else f"{found.efficiency:.0%}"
    lines.append(
        f"efficiency: median {efficiency} over {format_count(len(known), 'window')} with "
        "a training part above 0 (annual return of the test part over that of the training part)"
    )
    return lines


def format_stability_lines(run: WalkForwardRun) -> list[str]:
    """Return the variation of the chosen parameters from window to window."""
    count = len(run.walk_forward.windows) - 1
    return [
        f"chosen {parameter.name}: {', '.join(map(_format_chosen_value, parameter.values))} "
        f"(changed at {parameter.changes} of {count} boundaries)"
        for parameter in run.walk_forward.stability
        if count and len(set(map(str, parameter.values))) > 0
    ]


def _format_chosen_value(value: Any) -> str:
    return "none" if value is None else format_parameter_value(value)


def collect_notes(run: WalkForwardRun) -> list[str]:
    """Return sentences on what affects the numbers of a walk-forward, such as gaps."""
    return describe_window(run.context.window, "some combinations need")


def format_metric(run: WalkForwardRun, metric: str, value: float | None) -> str:
    """Return a metric's value for people."""
    quote = split_symbol(run.context.window.key.symbol)[1]
    places = choose_money_decimals(quote, run.context.rules.cash)
    return format_metric_value(get_definition(metric), value, places) or "none"


def make_walk_forward_document(run: WalkForwardRun, page: Path) -> dict[str, Any]:
    """Return the walk-forward for --json; ratios are fractions, times are epoch seconds."""
    key, found = run.context.window.key, run.walk_forward
    return {
        "exchange": key.exchange,
        "symbol": key.symbol,
        "timeframe": key.timeframe,
        "strategy": run.plan.strategy.name,
        "parameters": {one.name: one.text for one in run.plan.ranges},
        "trading_rules": run.trading_rules_text,
        "sampler": run.options.sampler,
        "rank": list(run.options.metrics),
        "user_metrics": make_user_metrics_documents(run.options),
        "min_trades": run.options.min_trades,
        "scheme": asdict(found.scheme),
        "trials": {"here": len(run.plan.points), "earlier": run.earlier, **asdict(run.counts)},
        "verdict": found.verdict.as_dict(),
        "sharpe": asdict(found.sharpe),
        "metrics": found.metrics.as_dict(),
        "hold_return_at_equal_exposure": found.hold_return,
        "efficiency": found.efficiency,
        "windows": [asdict(one) for one in found.windows],
        "stability": [asdict(one) for one in found.stability],
        "failed": run.failed,
        "notes": collect_notes(run),
        "seconds": run.seconds,
        "folder": str(run.folder),
        "page": str(page),
    }
