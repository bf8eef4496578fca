"""The page of a finished optimization, made of its records; `show_optimization` prints too."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Final

import msgspec

from backtester.rendering.optimization import (
    collect_notes,
    format_backtest_command,
    format_check_lines,
    format_evidence_lines,
    format_heading,
    format_hold_row,
    format_metric,
    format_neighbour_lines,
    format_optimization,
    format_part_lines,
    format_rank,
    format_reliability_lines,
    format_trials_line,
    format_verdict_lines,
    get_money_decimals,
    get_strategy_name,
    make_optimization_document,
)
from onetape.backtest.metric_definitions import get_definition
from onetape.backtest.warning_banner import format_warning
from onetape.cli.output import print_line
from onetape.core.message_text import format_count
from onetape.optimization.folder import PAGE
from onetape.optimization.neighbourhood import compute_neighbour_medians
from onetape.optimization.optimization_runner import Optimization, find_best
from onetape.optimization.ranking import LOWER_IS_BETTER, find_pareto_front
from onetape.optimization.space import format_parameter_value
from onetape.report.optimization import MetricChoice, OptimizationPage, write_optimization_page

#: Metrics that the page can show, after the one that ranks.
_METRICS: Final = (
    *("sharpe", "total_return", "max_drawdown", "trades", "profit_factor"),
    *("win_rate", "sortino", "calmar", "exposure"),
)
#: Metrics of the Pareto front, after those that rank.
_GOALS: Final = ("max_drawdown", "total_return", "sharpe", "profit_factor", "trades")
#: Maximum number of rows of the table; `--json` and the stored results have all combinations.
_ROWS: Final = 500


def show_optimization(optimization: Optimization, given: Sequence[str], *, as_json: bool) -> None:
    """Write the page of an optimization next to its results, and print text or one document.

    Args:
        optimization: The finished optimization.
        given: Flags of the optimization that a backtest of the best takes too.
        as_json: Whether to print a document.

    Raises:
        ConfigurationError: the page cannot be written.
    """
    path = optimization.folder / PAGE
    write_optimization_page(make_optimization_page(optimization, given), path)
    if as_json:
        encoded = msgspec.json.encode(
            make_optimization_document(optimization, path, given), enc_hook=str
        )
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        print_line(format_optimization(optimization, path, given))


def make_optimization_page(optimization: Optimization, given: Sequence[str]) -> OptimizationPage:
    """Return the contents of the page of an optimization."""
    names = [one.name for one in optimization.plan.ranges if not one.is_fixed]
    metrics = list(dict.fromkeys((*optimization.options.metrics, *_METRICS)))
    goals = list(dict.fromkeys((*optimization.options.metrics, *_GOALS)))
    key = optimization.context.window.key
    best, check = find_best(optimization), optimization.check
    head = ["#", *names]
    for metric in metrics[:4]:
        head += [get_definition(metric).label, "out-of-sample"]
    medians = compute_neighbour_medians(optimization.order, metrics[0])
    head.append("neighbours")
    rules = {one.name: one.text for one in optimization.plan.ranges}
    rules |= {
        "trading rules": optimization.trading_rules_text,
        "database": str(optimization.config.database),
    }
    return OptimizationPage(
        title=f"Optimization: {get_strategy_name(optimization)} on {key.symbol}",
        heading=format_heading(optimization),
        verdict="".join(format_verdict_lines(optimization))
        or "verdict: none, because no combination is ranked",
        trials=format_trials_line(optimization),
        parts=format_part_lines(optimization),
        findings=[
            *format_neighbour_lines(optimization),
            *format_reliability_lines(optimization),
            *format_evidence_lines(optimization),
            *format_check_lines(optimization),
            *collect_notes(optimization),
        ],
        warning=format_warning(check),
        warning_text="" if check is None else f"Check of the best: {check.text}",
        origin=optimization.context.window.origin,
        count=f"{format_count(len(optimization.order), 'combination')}, best first",
        head=head,
        rows=[
            [
                *_format_result_row(optimization, rank, names, metrics[:4]),
                format_metric(optimization, metrics[0], medians[rank - 1]),
            ]
            for rank in range(1, min(len(optimization.order), _ROWS) + 1)
        ],
        hold_row=[*format_hold_row(optimization, metrics[:4], len(names)), ""]
        if optimization.order
        else None,
        rules=rules,
        command="none is ranked"
        if best is None
        else format_backtest_command(optimization, best, given),
        names=names,
        metrics=[
            MetricChoice(
                metric,
                get_definition(metric).label,
                get_definition(metric).unit,
                metric in LOWER_IS_BETTER,
            )
            for metric in metrics
        ],
        money_decimals=get_money_decimals(optimization),
        ranked=sum(optimization.min_trades.is_ranked(result) for result in optimization.order),
        few=f"under {format_count(optimization.min_trades.in_sample, 'trade')}: not ranked",
        goals=goals,
        fronts={
            pair: find_pareto_front(optimization.order, pair, optimization.min_trades)
            for pair in combinations_with_replacement(goals, 2)
        },
        points=[[result["parameters"][name] for name in names] for result in optimization.order],
        in_sample=[
            [result["in_sample"][metric] for metric in metrics] for result in optimization.order
        ],
        out_of_sample=[
            [result["out_of_sample"][metric] for metric in metrics] for result in optimization.order
        ],
    )


def _format_result_row(
    optimization: Optimization, rank: int, names: Sequence[str], metrics: Sequence[str]
) -> list[str]:
    result = optimization.order[rank - 1]
    texts = [
        format_rank(optimization, rank, result),
        *(format_parameter_value(result["parameters"][name]) for name in names),
    ]
    for metric in metrics:
        texts += [
            format_metric(optimization, metric, result[part][metric])
            for part in ("in_sample", "out_of_sample")
        ]
    return texts
