"""The page of a search: heat maps of two parameters, searched beside held out. Loads nothing."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from backtester.alarm import warning
from backtester.metric_table import DEFINITIONS, LABELS
from backtester.search.folder import PAGE
from backtester.search.ranking import LOWER_IS_BETTER
from backtester.search.run import Search, best_of
from backtester.search.space import value_text
from backtester.search.words import (
    check_lines,
    check_of,
    command,
    heading,
    hold_row,
    luck_lines,
    metric_text,
    money_places,
    notes,
    parts_lines,
    place_text,
    strategy_name,
)
from onetape.core.errors import ConfigurationError
from onetape.core.words import counted, error_text
from onetape.report.frame import alarm_bar, asset, definitions, filled, framed, script_json
from onetape.report.origin_banner import origin_banner

#: Metrics to choose from, after the one that ranks.
_METRICS: Final = (
    *("sharpe", "total_return", "max_drawdown", "trades", "profit_factor"),
    *("win_rate", "sortino", "calmar", "exposure"),
)
_SCRIPTS: Final = ("start.js", "numbers.js", "fields.js", "cloud.js", "search.js")
#: Rows of the table; --json and the results have all.
_ROWS: Final = 500


def write_page(search: Search, given: Sequence[str]) -> Path:
    """Write the page beside the results, so that a reader never meets half of one.

    Raises:
        ConfigurationError: it cannot be written.
    """
    path = search.folder / PAGE
    partial = path.with_suffix(".part")
    try:
        partial.write_text(rendered(search, given), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error_text(error)}") from error
    return path


def rendered(search: Search, given: Sequence[str]) -> str:
    """Return the page."""
    own = Path(__file__).with_name("page")
    best = best_of(search)
    values = {
        "market": "<br>".join(escape(line) for line in parts_lines(search)),
        "headline": escape(heading(search)),
        "banner": _alarm(search) + _banner(search),
        "luck": "".join(
            f"<li>{escape(line)}</li>"
            for line in [*luck_lines(search), *check_lines(search), *notes(search)]
        ),
        "count": escape(f"{counted(len(search.order), 'combination')}, best first"),
        "table": _table(search),
        "rules": _rules(search),
        "run": "When it is mended, run the best" if _alarm(search) else "Run the best",
        "command": "none is ranked" if best is None else escape(command(search, best, given)),
    }
    return framed(
        filled(asset("search.html", own), values),
        title=f"Search: {strategy_name(search)} on {search.ground.tape.key.symbol}",
        style=f"{asset('report.css')}\n{asset('search.css', own)}",
        data=_data(search),
        scripts=[asset(name, own) for name in _SCRIPTS],
    )


def _alarm(search: Search) -> str:
    return alarm_bar(
        warning(check_of(search)), f"Check of the best: {search.check.text}" if search.check else ""
    )


def _banner(search: Search) -> str:
    return origin_banner(
        search.ground.tape.origin, "No combination says anything about a real market."
    )


def _rules(search: Search) -> str:
    rows = {axis.name: axis.words for axis in search.planned.axes}
    rows |= {"market": search.market, "database": str(search.database)}
    return definitions(rows)


def _varying(search: Search) -> list[str]:
    return [axis.name for axis in search.planned.axes if not axis.is_fixed]


def _metrics(search: Search) -> list[str]:
    return list(dict.fromkeys((search.asked.metric, *_METRICS)))


def _table(search: Search) -> str:
    names, metrics = _varying(search), _metrics(search)[:4]
    heads = ["#", *names]
    for metric in metrics:
        heads += [LABELS[metric], "held out"]
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    rows = [_row(hold_row(search, metrics, len(names)), "hold")] if search.order else []
    rows += [
        _row(_texts(search, place, names, metrics))
        for place in range(1, min(len(search.order), _ROWS) + 1)
    ]
    return f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"


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


def _row(texts: Sequence[str], kind: str = "") -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    return f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"


def _data(search: Search) -> str:
    """Return what the script reads."""
    names, metrics = _varying(search), _metrics(search)
    document: dict[str, Any] = {
        "names": names,
        "metrics": metrics,
        "labels": {metric: LABELS[metric] for metric in metrics},
        "units": {one.field: one.unit for one in DEFINITIONS if one.field in metrics},
        "money_decimals": money_places(search),
        "lower_is_better": [metric for metric in metrics if metric in LOWER_IS_BETTER],
        "ranked": sum(search.least.ranks(result) for result in search.order),
        "few": f"under {counted(search.least.searched, 'trade')}: not ranked",
        "points": [[result["parameters"][name] for name in names] for result in search.order],
    }
    for part in ("searched", "held_out"):
        document[part] = [
            [_short(result[part][metric]) for metric in metrics] for result in search.order
        ]
    return script_json(document)


def _short(value: float | None) -> float | None:
    return value if value is None else float(f"{value:.9g}")
