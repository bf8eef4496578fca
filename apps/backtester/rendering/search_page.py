"""Show a finished search: its page from records, and text or one document on stdout."""

from collections.abc import Sequence
from typing import Final

import msgspec

from backtester.rendering.search import (
    check_lines,
    command,
    heading,
    hold_row,
    luck_lines,
    metric_text,
    money_places,
    notes,
    parts_lines,
    place_text,
    search_document,
    search_text,
    strategy_name,
)
from onetape.backtest.metrics import DEFINITIONS, LABELS
from onetape.backtest.optimization.folder import PAGE
from onetape.backtest.optimization.ranking import LOWER_IS_BETTER
from onetape.backtest.optimization.run import Search, best_of
from onetape.backtest.optimization.space import value_text
from onetape.backtest.warning_banner import warning
from onetape.cli.output import print_line
from onetape.core.words import counted
from onetape.report.optimization import MetricChoice, OptimizationPage, write_optimization_page

#: Metrics to choose from, after the one that ranks.
_METRICS: Final = (
    *("sharpe", "total_return", "max_drawdown", "trades", "profit_factor"),
    *("win_rate", "sortino", "calmar", "exposure"),
)
#: Rows of the table; --json and the results have all.
_ROWS: Final = 500


def show_search(search: Search, given: Sequence[str], *, as_json: bool) -> None:
    """Write the page of a search beside its results, and print text or one document.

    Args:
        search: The finished search.
        given: Flags of the search that a backtest of the best takes too.
        as_json: Whether to print a document.

    Raises:
        ConfigurationError: the page cannot be written.
    """
    path = search.folder / PAGE
    write_optimization_page(search_page(search, given), path)
    if as_json:
        encoded = msgspec.json.encode(search_document(search, path, given), enc_hook=str)
        print_line(msgspec.json.format(encoded, indent=2).decode("utf-8"))
    else:
        print_line(search_text(search, path, given))


def search_page(search: Search, given: Sequence[str]) -> OptimizationPage:
    """Return the contents of the page of a search."""
    names = [axis.name for axis in search.planned.axes if not axis.is_fixed]
    metrics = list(dict.fromkeys((search.asked.metric, *_METRICS)))
    units = {one.field: one.unit for one in DEFINITIONS}
    best, check = best_of(search), search.check
    head = ["#", *names]
    for metric in metrics[:4]:
        head += [LABELS[metric], "held out"]
    rules = {axis.name: axis.words for axis in search.planned.axes}
    rules |= {"market": search.market, "database": str(search.config.database)}
    return OptimizationPage(
        title=f"Search: {strategy_name(search)} on {search.ground.window.key.symbol}",
        heading=heading(search),
        parts=parts_lines(search),
        findings=[*luck_lines(search), *check_lines(search), *notes(search)],
        warning=warning(check),
        warning_text="" if check is None else f"Check of the best: {check.text}",
        origin=search.ground.window.origin,
        count=f"{counted(len(search.order), 'combination')}, best first",
        head=head,
        rows=[
            _texts(search, place, names, metrics[:4])
            for place in range(1, min(len(search.order), _ROWS) + 1)
        ],
        hold_row=hold_row(search, metrics[:4], len(names)) if search.order else None,
        rules=rules,
        command="none is ranked" if best is None else command(search, best, given),
        names=names,
        metrics=[
            MetricChoice(metric, LABELS[metric], units[metric], metric in LOWER_IS_BETTER)
            for metric in metrics
        ],
        money_decimals=money_places(search),
        ranked=sum(search.least.ranks(result) for result in search.order),
        few=f"under {counted(search.least.searched, 'trade')}: not ranked",
        points=[[result["parameters"][name] for name in names] for result in search.order],
        searched=[[result["searched"][metric] for metric in metrics] for result in search.order],
        held_out=[[result["held_out"][metric] for metric in metrics] for result in search.order],
    )


def _texts(search: Search, place: int, names: Sequence[str], metrics: Sequence[str]) -> list[str]:
    result = search.order[place - 1]
    texts = [
        place_text(search, place, result),
        *(value_text(result["parameters"][name]) for name in names),
    ]
    for metric in metrics:
        texts += [
            metric_text(search, metric, result[part][metric]) for part in ("searched", "held_out")
        ]
    return texts
