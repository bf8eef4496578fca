"""Render a finished search: text for a terminal, and a JSON document."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict

from onetape.backtest.assumptions import window_notes
from onetape.backtest.intrabar import search_note
from onetape.backtest.metrics import DEFINITIONS, LABELS
from onetape.backtest.metrics import value_text as metric_value_text
from onetape.backtest.optimization.ranking import LOWER_IS_BETTER, Luck, Tried, luck_of
from onetape.backtest.optimization.run import Search, best_of
from onetape.backtest.optimization.space import value_text
from onetape.backtest.warning_banner import warning, warning_lines
from onetape.cli.output import table
from onetape.core.clock import day_text
from onetape.core.digits import money_decimals
from onetape.core.symbols import base_and_quote
from onetape.core.words import counted

#: Combinations shown in the terminal; the page and --json have all of them.
SHOWN: Final = 10
_BY_FIELD: Final = {one.field: one for one in DEFINITIONS}
#: Shown of both parts, beside the metric that ranks.
_BESIDE: Final = ("total_return", "max_drawdown", "trades")


def search_text(search: Search, page: Path, given: Sequence[str]) -> str:
    """Return what the terminal shows of a search."""
    lines = [
        heading(search),
        *warning_lines(search.check),
        *parts_lines(search),
        "",
        _table(search),
        "",
    ]
    lines += luck_lines(search)
    lines.append(f"market: {search.market}")
    lines += check_lines(search)
    lines += [f"note: {text}" for text in notes(search)]
    lines += [f"page: {page}", f"results: {search.folder}"]
    best = best_of(search)
    if best is not None:
        first = "when it is mended, run it" if warning(search.check) else "run it"
        lines.append(f"{first}: {command(search, best, given)}")
    return "\n".join(lines)


def search_document(search: Search, page: Path, given: Sequence[str]) -> dict[str, Any]:
    """Return the search for --json; ratios are parts, times are epoch seconds."""
    window, asked, best = search.ground.window, search.asked, best_of(search)
    return {
        "exchange": window.key.exchange,
        "symbol": window.key.symbol,
        "timeframe": window.key.timeframe,
        "strategy": strategy_name(search),
        "parameters": {axis.name: axis.words for axis in search.planned.axes},
        "market": search.market,
        "kind": "grid" if asked.random is None else "random",
        "seed": None if asked.random is None else asked.seed,
        "rank": asked.metric,
        "best_is": "lowest" if asked.metric in LOWER_IS_BETTER else "highest",
        "searched": {
            "from": window.start,
            "to": search.ground.split,
            "candles": search.ground.searched,
        },
        "held_out": {
            "from": search.ground.split,
            "to": window.end,
            "candles": len(window.candles) - window.warm_up - search.ground.searched,
        },
        "combinations": len(search.order) + len(search.failed),
        "invalid": search.planned.invalid,
        "failed": list(search.failed),
        "tried": {
            "here": search.tried_here,
            "of_these_earlier": search.earlier,
            "elsewhere": search.tried_elsewhere,
        },
        "min_trades": asdict(search.least),
        "luck": asdict(luck_of(search.order, asked.metric, search.least)),
        "check": None if search.check is None else asdict(search.check),
        "notes": notes(search),
        "results": [{**one, "ranked": search.least.ranks(one)} for one in search.order],
        "command": None if best is None else command(search, best, given),
        "seconds": search.seconds,
        "database": str(search.config.database),
        "folder": str(search.folder),
        "page": str(page),
    }


def strategy_name(search: Search) -> str:
    """Return the strategy's own name."""
    return next(iter(search.planned.strategies.values())).name


def heading(search: Search) -> str:
    """Return what was searched, in one line."""
    asked = search.asked
    kind = "grid" if asked.random is None else f"random, seed {asked.seed}"
    done = counted(len(search.order) + len(search.failed), "combination")
    left = [f"{search.planned.invalid:,} invalid left out"] if search.planned.invalid else []
    left += [f"{len(search.failed):,} failed"] if search.failed else []
    what = f"{strategy_name(search)} on {search.ground.window.key}"
    return f"{what}: {done} ({', '.join([kind, *left])}), {search.seconds:.2f} s"


def parts_lines(search: Search) -> list[str]:
    """Return the ranges of both parts."""
    window, split = search.ground.window, search.ground.split
    held_out = len(window.candles) - window.warm_up - search.ground.searched
    return [
        f"searched: {day_text(window.start)} to {day_text(split)} UTC, "
        f"{counted(search.ground.searched, 'candle')}, ranked by {LABELS[search.asked.metric]}, "
        f"{'lowest' if search.asked.metric in LOWER_IS_BETTER else 'highest'} first"
        f"{least_words(search)}",
        f"held out: {day_text(split)} to {day_text(window.end)} UTC, "
        f"{counted(held_out, 'candle')}, which the ranking does not see",
    ]


def least_words(search: Search) -> str:
    """Return what a combination needs to be ranked; empty where all are."""
    least = search.least.searched
    return f", with at least {counted(least, 'trade')} (--min-trades)" if least else ""


def luck_lines(search: Search) -> list[str]:
    """Return how far the ranking can be trusted."""
    metric, count = search.asked.metric, len(search.order)
    luck = luck_of(search.order, metric, search.least)
    lines = [tried_words(search)]
    if not count:
        return lines
    unranked = count - luck.ranked
    if unranked:
        lines.append(_unranked_words(search, unranked))
    if luck.ranked:
        lines += [best_words(search, luck), _correlation_words(search, luck)]
    return lines


def _unranked_words(search: Search, unranked: int) -> str:
    least = counted(search.least.searched, "trade")
    if unranked == len(search.order):
        return (
            f"best: none, because no combination has {least} in the searched part; search a longer "
            "range, or lower --min-trades"
        )
    return (
        f"{counted(unranked, 'combination')} with fewer than {least} in the searched part: marked "
        "few and listed after all others"
    )


def _correlation_words(search: Search, luck: Luck) -> str:
    """Return the rank correlation and what it is over, or why it is left out."""
    least, over = search.least, f"over {counted(luck.compared, 'combination')}"
    if least.searched:
        over += f" with at least {least.searched} trades searched and {least.held_out} held out"
    if luck.rank_correlation is None:
        why = "too few" if luck.compared < 3 else "all of them equal in one part"
        return f"rank correlation of searched and held out: left out, {over}: {why}"
    return (
        f"rank correlation of searched and held out: {luck.rank_correlation:+.2f} {over} "
        "(1: the order held; 0: it says nothing; under 0: it turned round)"
    )


def tried_words(search: Search) -> str:
    """Return how many combinations were tried, in all: the best of many is luck in part."""
    other = search.tried_here - len(search.order) - len(search.failed)
    parts = [f"{counted(len(search.order) + len(search.failed), 'combination')} tried"]
    if search.earlier:
        parts.append(f"{search.earlier:,} of them by an earlier start")
    if other > 0:
        parts.append(f"{other:,} others on the same candles before")
    elsewhere = search.tried_elsewhere
    if elsewhere:
        parts.append(f"{elsewhere:,} in other searches of it on this series")
    return f"{', '.join(parts)}: the best of many is luck in part"


def best_words(search: Search, luck: Luck) -> str:
    """Return what became of the best in the part that it was not chosen by."""
    metric, count = search.asked.metric, len(search.order)
    text = partial(metric_text, search, metric)
    place, whose = "", "all" if luck.ranked == count else "the ranked ones"
    if luck.best_held_out_rank is not None:
        place = f", rank {luck.best_held_out_rank:,} of {luck.ranked:,} there"
    return (
        f"best: {LABELS[metric]} {text(luck.best_searched)} searched, "
        f"{text(luck.best_held_out)} held out{place} "
        f"(median of {whose} {text(luck.median_held_out)})"
    )


def check_lines(search: Search) -> list[str]:
    """Return the result of the bias check of the best combination, in one line or none."""
    if search.check is None:
        return []
    which = "first in the list" if best_of(search) is None else "best"
    return [f"check of the {which}: {search.check.text}"]


def notes(search: Search) -> list[str]:
    """Return what a reader must know to trust the numbers, in sentences."""
    window = search.ground.window
    found = [*window_notes(window, "some combinations ask"), *search.pauses]
    if search.ground.detail is not None:
        found.append(search_note(search.ground.detail, window))
    return found


def command(search: Search, result: Tried, given: Sequence[str]) -> str:
    """Return the command that backtests one combination over the whole range.

    Args:
        search: The search.
        result: The combination.
        given: The flags of the search that a backtest takes too, without strategy and parameters.
    """
    words = ["uv", "run", "backtester", "--strategy", search.config.strategy.name]
    for name, value in result["parameters"].items():
        words += ["--param", f"{name}={value_text(value)}"]
    return shlex.join([*words, *given])


def metric_text(search: Search, metric: str, value: float | None) -> str:
    """Return a metric's value for people, as every result words it; none where it has none."""
    if value is not None and _BY_FIELD[metric].unit == "count":
        # The median of an even number of counts may be a half.
        return f"{value:,.1f}".removesuffix(".0")
    return metric_value_text(_BY_FIELD[metric], value, money_places(search)) or "none"


def money_places(search: Search) -> int:
    """Return the decimals of amounts of money."""
    quote = base_and_quote(search.ground.window.key.symbol)[1]
    return money_decimals(quote, search.ground.rules.cash)


def _table(search: Search) -> str:
    if not search.order:
        return "no combination gave a result"
    metric = search.asked.metric
    names = [axis.name for axis in search.planned.axes if not axis.is_fixed]
    columns = (metric, *(name for name in _BESIDE if name != metric))
    head = ["", *names]
    for column in columns:
        head += [LABELS[column], "held out"]
    rows = [head]
    for place, result in enumerate(search.order[:SHOWN], start=1):
        row = [
            place_text(search, place, result),
            *(value_text(result["parameters"][name]) for name in names),
        ]
        for column in columns:
            row += [
                metric_text(search, column, result[part][column])
                for part in ("searched", "held_out")
            ]
        rows.append(row)
    rows.append(hold_row(search, columns, len(names)))
    more = len(search.order) - SHOWN
    rest = (
        f"\n({counted(more, 'more combination')} in the page and with --json)" if more > 0 else ""
    )
    return table(rows, right=range(len(head))) + rest


def place_text(search: Search, place: int, result: Tried) -> str:
    """Return a combination's place, or the mark of one that hardly trades."""
    return str(place) if search.least.ranks(result) else "few"


def hold_row(search: Search, columns: Sequence[str], names: int) -> list[str]:
    """Return buy and hold's numbers, where it has them; it is the same for all combinations."""
    result = search.order[0]
    row = ["hold", *([""] * names)]
    for column in columns:
        for part in ("searched", "held_out"):
            hold: dict[str, Any] = result[part]["buy_and_hold"] or {}
            row.append(metric_text(search, column, hold[column]) if column in hold else "")
    return row
