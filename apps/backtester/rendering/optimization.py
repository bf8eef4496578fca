"""Output of a finished optimization: text for a terminal, and a document for `--json`."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict

from onetape.backtest.assumptions import describe_window
from onetape.backtest.intrabar_candles import describe_intrabar_candles
from onetape.backtest.metric_definitions import format_metric_value, get_definition
from onetape.backtest.warning_banner import format_warning, format_warning_lines
from onetape.cli.output import format_table
from onetape.core.clock import format_day
from onetape.core.digits import choose_money_decimals
from onetape.core.message_text import format_count
from onetape.core.symbols import split_symbol
from onetape.optimization.account_parameters import (
    format_account_flags,
    select_strategy_parameters,
)
from onetape.optimization.neighbourhood import compute_neighbour_medians
from onetape.optimization.optimization_runner import Optimization, find_best
from onetape.optimization.ranking import (
    LOWER_IS_BETTER,
    RankStability,
    TrialResult,
    compute_rank_stability,
)
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.space import format_parameter_value

#: Number of combinations shown in the terminal; the page and `--json` have all of them.
SHOWN_COMBINATIONS: Final = 10
#: Metrics shown for both parts, in addition to the metric that ranks.
_SHOWN_METRICS: Final = ("total_return", "max_drawdown", "trades")


def format_optimization(optimization: Optimization, page: Path, given: Sequence[str]) -> str:
    """Return an optimization as text for the terminal."""
    lines = [
        format_heading(optimization),
        *format_warning_lines(optimization.check),
        format_trials_line(optimization),
        *format_verdict_lines(optimization),
        *format_part_lines(optimization),
        "",
        _format_result_table(optimization),
        "",
    ]
    lines += format_reliability_lines(optimization)
    lines += format_neighbour_lines(optimization)
    lines += format_evidence_lines(optimization)
    lines.append(f"trading rules: {optimization.trading_rules_text}")
    lines += format_check_lines(optimization)
    lines += [f"note: {text}" for text in collect_notes(optimization)]
    lines += [f"page: {page}", f"results: {optimization.folder}"]
    best = find_best(optimization)
    if best is not None:
        first = "when it is fixed, run it" if format_warning(optimization.check) else "run it"
        lines.append(f"{first}: {format_backtest_command(optimization, best, given)}")
    return "\n".join(lines)


def make_optimization_document(
    optimization: Optimization, page: Path, given: Sequence[str]
) -> dict[str, Any]:
    """Return the optimization for --json; ratios are fractions, times are epoch seconds."""
    window, options, best = (
        optimization.context.window,
        optimization.options,
        find_best(optimization),
    )
    return {
        "exchange": window.key.exchange,
        "symbol": window.key.symbol,
        "timeframe": window.key.timeframe,
        "strategy": get_strategy_name(optimization),
        "parameters": {one.name: one.text for one in optimization.plan.ranges},
        "trading_rules": optimization.trading_rules_text,
        "sampler": options.sampler,
        "seed": None if options.sampler == "grid" else options.seed,
        "constraints": [one.text for one in options.constraints],
        "rank": options.metric if len(options.metrics) == 1 else list(options.metrics),
        "user_metrics": make_user_metrics_documents(options),
        "best_is": "lowest" if options.metric in LOWER_IS_BETTER else "highest",
        "in_sample": {
            "from": window.start,
            "to": optimization.context.split,
            "candles": optimization.context.in_sample,
        },
        "out_of_sample": {
            "from": optimization.context.split,
            "to": window.end,
            "candles": len(window.candles) - window.warm_up - optimization.context.in_sample,
        },
        "combinations": len(optimization.order) + len(optimization.failed),
        "invalid": optimization.plan.invalid,
        "failed": list(optimization.failed),
        "trials": {
            "here": len(optimization.plan.points) + len(optimization.plan.failed),
            "earlier": optimization.earlier,
            "repeated": optimization.plan.repeated,
            **asdict(optimization.counts),
        },
        "min_trades": asdict(optimization.min_trades),
        "judgement": None if optimization.judgement is None else optimization.judgement.as_dict(),
        "rank_stability": asdict(
            compute_rank_stability(optimization.order, options.metric, optimization.min_trades)
        ),
        "check": None if optimization.check is None else asdict(optimization.check),
        "notes": collect_notes(optimization),
        "results": _make_result_documents(optimization),
        "command": None if best is None else format_backtest_command(optimization, best, given),
        "seconds": optimization.seconds,
        "database": str(optimization.config.database),
        "folder": str(optimization.folder),
        "page": str(page),
    }


def make_user_metrics_documents(options: SearchOptions) -> list[dict[str, str]]:
    """Return name, file and digest of each metric of the user, for --json."""
    return [
        {"name": one.name, "file": one.file, "digest": one.digest} for one in options.user_metrics
    ]


def _make_result_documents(optimization: Optimization) -> list[dict[str, Any]]:
    """Return the results for --json, without the details that only statistics use."""
    medians = compute_neighbour_medians(optimization.order, optimization.options.metric)
    return [
        {
            **{name: value for name, value in one.items() if name != "details"},
            "ranked": optimization.min_trades.is_ranked(one),
            "neighbours": around,
        }
        for one, around in zip(optimization.order, medians, strict=True)
    ]


def get_strategy_name(optimization: Optimization) -> str:
    """Return the name of the strategy."""
    return optimization.plan.strategy.name


def format_heading(optimization: Optimization) -> str:
    """Return the heading of an optimization in one line."""
    options = optimization.options
    kind = "grid" if options.sampler == "grid" else f"{options.sampler}, seed {options.seed}"
    done = format_count(len(optimization.order) + len(optimization.failed), "combination")
    invalid, failed = optimization.plan.invalid, len(optimization.failed)
    others = [f"{invalid:,} invalid left out"] if invalid else []
    others += [f"{failed:,} failed"] if failed else []
    what = f"{get_strategy_name(optimization)} on {optimization.context.window.key}"
    return f"{what}: {done} ({', '.join([kind, *others])}), {optimization.seconds:.2f} s"


def format_part_lines(optimization: Optimization) -> list[str]:
    """Return the in-sample and the out-of-sample range, one line each."""
    context, metric = optimization.context, optimization.options.metric
    window, split = context.window, context.split
    out_of_sample = len(window.candles) - window.warm_up - context.in_sample
    return [
        f"in-sample: {format_day(window.start)} to {format_day(split)} UTC, "
        f"{format_count(context.in_sample, 'candle')}, ranked by {get_definition(metric).label}, "
        f"{'lowest' if metric in LOWER_IS_BETTER else 'highest'} first"
        f"{describe_min_trades(optimization)}",
        f"out-of-sample: {format_day(split)} to {format_day(window.end)} UTC, "
        f"{format_count(out_of_sample, 'candle')}, not used by the ranking",
    ]


def describe_min_trades(optimization: Optimization) -> str:
    """Return the minimum of trades of a ranked combination; empty without a minimum."""
    minimum = optimization.min_trades.in_sample
    return f", with at least {format_count(minimum, 'trade')} (--min-trades)" if minimum else ""


def format_reliability_lines(optimization: Optimization) -> list[str]:
    """Return lines on the reliability of the ranking."""
    metric, count = optimization.options.metric, len(optimization.order)
    stability = compute_rank_stability(optimization.order, metric, optimization.min_trades)
    lines: list[str] = []
    if not count:
        return lines
    unranked = count - stability.ranked
    if unranked:
        lines.append(_describe_unranked(optimization, unranked))
    if stability.ranked:
        lines += [
            describe_best(optimization, stability),
            _describe_rank_correlation(optimization, stability),
        ]
    return lines


def _describe_unranked(optimization: Optimization, unranked: int) -> str:
    minimum = format_count(optimization.min_trades.in_sample, "trade")
    if unranked == len(optimization.order):
        return (
            f"best: none, because no combination has {minimum} in the in-sample part; choose a "
            "longer range, or lower --min-trades"
        )
    return (
        f"{format_count(unranked, 'combination')} with fewer than {minimum} in the in-sample part: "
        "marked few and listed after all others"
    )


def _describe_rank_correlation(optimization: Optimization, stability: RankStability) -> str:
    """Return the rank correlation and its number of trials, or the reason why it is left out."""
    minimum = optimization.min_trades
    over = f"over {format_count(stability.compared, 'combination')}"
    if minimum.in_sample:
        over += f" with at least {format_count(minimum.in_sample, 'trade')} in-sample and "
        over += f"{minimum.out_of_sample} out-of-sample"
    if stability.rank_correlation is None:
        why = "too few" if stability.compared < 3 else "all of them equal in one part"
        return f"rank correlation of in-sample and out-of-sample: left out, {over}: {why}"
    return (
        f"rank correlation of in-sample and out-of-sample: {stability.rank_correlation:+.2f} "
        f"{over} (Spearman: 1 same order, 0 unrelated, below 0 reversed)"
    )


def format_trials_line(optimization: Optimization) -> str:
    """Return the number of trials and of looks at the out-of-sample part, with a warning."""
    counts, plan = optimization.counts, optimization.plan
    key = optimization.context.window.key
    here = format_count(len(plan.points) + len(plan.failed), "trial")
    earlier = f" ({optimization.earlier:,} by an earlier start)" if optimization.earlier else ""
    return (
        f"trials: {here} here{earlier}, {counts.market:,} on {key.exchange} {key.symbol} in all, "
        f"{counts.strategy:,} of them of {plan.strategy.name}; "
        f"looks at this out-of-sample part: {counts.looks:,}"
    )


def format_verdict_lines(optimization: Optimization) -> list[str]:
    """Return the verdict on the best combination in one line; empty if none is ranked."""
    judgement = optimization.judgement
    return [] if judgement is None else [f"verdict: {judgement.verdict.summary}"]


def format_neighbour_lines(optimization: Optimization) -> list[str]:
    """Return a line that states whether the best trial is on a plateau; none without neighbours."""
    best, metric = find_best(optimization), optimization.options.metric
    medians = compute_neighbour_medians(optimization.order, metric)
    if best is None or medians[0] is None:
        return []
    return [
        "neighbours of the best (one step in one parameter): median "
        f"{get_definition(metric).label} {format_metric(optimization, metric, medians[0])} "
        f"in-sample, the best {format_metric(optimization, metric, best['in_sample'][metric])}: "
        "a plateau where they are close, a spike where not"
    ]


def format_evidence_lines(optimization: Optimization) -> list[str]:
    """Return the statistics of the best trial: the steps of the verdict, and more figures."""
    judgement = optimization.judgement
    if judgement is None:
        return []
    sharpe = judgement.sharpe
    lines = [*judgement.verdict.lines]
    spread = "none" if sharpe.spread_of_trials is None else f"{sharpe.spread_of_trials:.2f}"
    lines.append(
        f"Sharpe spread: {spread} across the trials, {sharpe.spread_without_skill:.2f} of one "
        "without skill (used); smallest true Sharpe that this range and number of trials detect: "
        f"{sharpe.smallest_detectable:.2f}"
    )
    lines.append(
        f"range for {format_count(sharpe.trials, 'trial')}: "
        f"{sharpe.minimum_backtest_years:.1f} years, or the best without skill has a Sharpe of 1"
    )
    found = judgement.overfitting
    if found is not None:
        lines.append(
            f"overfitting (CSCV, {format_count(found.trials, 'trial')}, {found.splits:,} splits): "
            f"the best of one half is below the median of the other in {found.probability:.0%}, "
            f"and loses there in {found.probability_of_loss:.0%}"
        )
    spa = judgement.superior_ability
    if spa is not None:
        lines.append(
            f"SPA: p {spa.consistent:.3f} that none of {format_count(spa.trials, 'trial')} beats "
            f"{spa.benchmark}"
        )
    ranges = judgement.intervals
    if ranges is not None:
        total, fall = ranges.total_return, ranges.max_drawdown
        lines.append(
            f"90 % intervals out of sample: return {total.low:+.1%} to {total.high:+.1%}, maximum "
            f"drawdown {fall.low:.1%} to {fall.high:.1%}{_describe_shuffled_drawdown(optimization)}"
        )
    return lines


def _describe_shuffled_drawdown(optimization: Optimization) -> str:
    judgement = optimization.judgement
    shuffled = None if judgement is None else judgement.shuffled_drawdown
    return "" if shuffled is None else f" ({shuffled.low:.1%} to {shuffled.high:.1%} shuffled)"


def describe_best(optimization: Optimization, stability: RankStability) -> str:
    """Return the out-of-sample result of the best combination."""
    metric, count = optimization.options.metric, len(optimization.order)
    text = partial(format_metric, optimization, metric)
    rank, whose = "", "all" if stability.ranked == count else "the ranked ones"
    if stability.best_out_of_sample_rank is not None:
        rank = f", rank {stability.best_out_of_sample_rank:,} of {stability.ranked:,} there"
    return (
        f"best: {get_definition(metric).label} {text(stability.best_in_sample)} in-sample, "
        f"{text(stability.best_out_of_sample)} out-of-sample{rank} "
        f"(median of {whose} {text(stability.median_out_of_sample)})"
    )


def format_check_lines(optimization: Optimization) -> list[str]:
    """Return the result of the bias check of the best combination, in one line or none."""
    if optimization.check is None:
        return []
    which = "first in the list" if find_best(optimization) is None else "best"
    return [f"check of the {which}: {optimization.check.text}"]


def collect_notes(optimization: Optimization) -> list[str]:
    """Return sentences on what affects the numbers of an optimization, such as gaps."""
    window = optimization.context.window
    found = [*describe_window(window, "some combinations need"), *optimization.pauses]
    if optimization.context.intrabar is not None:
        found.append(describe_intrabar_candles(optimization.context.intrabar, window))
    return found


def format_backtest_command(
    optimization: Optimization, result: TrialResult, given: Sequence[str]
) -> str:
    """Return the command that backtests one combination over the whole range.

    Args:
        optimization: The optimization.
        result: The combination.
        given: Flags that a backtest takes too, without strategy and parameters.
    """
    command = ["uv", "run", "backtester", "--strategy", optimization.config.strategy.name]
    for name, value in select_strategy_parameters(result["parameters"]).items():
        command += ["--param", f"{name}={format_parameter_value(value)}"]
    return shlex.join([*command, *given, *format_account_flags(result["parameters"])])


def format_metric(optimization: Optimization, metric: str, value: float | None) -> str:
    """Return the text of a metric's value, with its unit; `none` where it is not defined."""
    if value is not None and get_definition(metric).unit == "count":
        # The median of an even number of counts may be a half.
        return f"{value:,.1f}".removesuffix(".0")
    return (
        format_metric_value(get_definition(metric), value, get_money_decimals(optimization))
        or "none"
    )


def get_money_decimals(optimization: Optimization) -> int:
    """Return the decimals of amounts of money."""
    quote = split_symbol(optimization.context.window.key.symbol)[1]
    return choose_money_decimals(quote, optimization.context.rules.cash)


def _format_result_table(optimization: Optimization) -> str:
    if not optimization.order:
        return "no combination gave a result"
    metric = optimization.options.metric
    names = [one.name for one in optimization.plan.ranges if not one.is_fixed]
    columns = (metric, *(name for name in _SHOWN_METRICS if name != metric))
    head = ["", *names]
    for column in columns:
        head += [get_definition(column).label, "out-of-sample"]
    medians = compute_neighbour_medians(optimization.order, metric)
    has_neighbours = any(value is not None for value in medians)
    head += ["neighbours"] if has_neighbours else []
    rows = [head]
    for rank, result in enumerate(optimization.order[:SHOWN_COMBINATIONS], start=1):
        row = [
            format_rank(optimization, rank, result),
            *(format_parameter_value(result["parameters"][name]) for name in names),
        ]
        for column in columns:
            row += [
                format_metric(optimization, column, result[part][column])
                for part in ("in_sample", "out_of_sample")
            ]
        row += [format_metric(optimization, metric, medians[rank - 1])] if has_neighbours else []
        rows.append(row)
    hold = format_hold_row(optimization, columns, len(names))
    rows.append([*hold, ""] if has_neighbours else hold)
    more = len(optimization.order) - SHOWN_COMBINATIONS
    rest = (
        f"\n({format_count(more, 'more combination')} in the page and with --json)"
        if more > 0
        else ""
    )
    return format_table(rows, right=range(len(head))) + rest


def format_rank(optimization: Optimization, rank: int, result: TrialResult) -> str:
    """Return a combination's rank as text; `few` if it has too few trades to be ranked."""
    return str(rank) if optimization.min_trades.is_ranked(result) else "few"


def format_hold_row(optimization: Optimization, columns: Sequence[str], names: int) -> list[str]:
    """Return the metrics of buy and hold, which are equal for all parameter sets."""
    result = optimization.order[0]
    row = ["hold", *([""] * names)]
    for column in columns:
        for part in ("in_sample", "out_of_sample"):
            hold: dict[str, Any] = result[part]["buy_and_hold"] or {}
            row.append(format_metric(optimization, column, hold[column]) if column in hold else "")
    return row
