"""The tables of a page that sum up its trades: by exit reason, by entry reason and by symbol."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Final

from onetape.core.message_text import format_duration
from onetape.report.columns import get_market_digits
from onetape.report.data import ReportData
from onetape.report.trade_groups import (
    NO_REASON,
    OPEN,
    GroupKind,
    TradeGroup,
    group_trades,
    make_outcomes,
    sum_outcomes,
)

_TITLES: Final[Mapping[GroupKind, str]] = {
    "exit": "By exit reason",
    "entry": "By entry reason",
    "symbol": "By symbol",
}
_HEADS: Final[Mapping[GroupKind, str]] = {
    "exit": "Exit reason",
    "entry": "Entry reason",
    "symbol": "Symbol",
}
#: Value of the page's filter for trades that are open at the end.
_OPEN_VALUE: Final = "open"


def list_reasons(data: ReportData) -> list[str]:
    """Return the texts of all entry and exit reasons, each once, sorted; one may be empty."""
    return sorted({text for one in data.trades for text in (one.entry_reason, one.exit_reason)})


def render_group_tables(data: ReportData) -> str:
    """Return a table for each way to group the trades; a text for a page without trades."""
    if not data.trades:
        return '<p class="hint">No trade was made.</p>'
    kinds: tuple[GroupKind, ...] = ("exit", "entry", *(("symbol",) if data.others else ()))
    return "\n".join(_render_table(data, kind) for kind in kinds)


def _render_table(data: ReportData, kind: GroupKind) -> str:
    outcomes = make_outcomes(data, kind)
    closed = [one for one in outcomes if not one.is_open]
    texts = list_reasons(data) if kind != "symbol" else list(data.symbols)
    values = {text or NO_REASON: str(index) for index, text in enumerate(texts)}
    money = get_market_digits(data, data).format_money
    quote = escape(data.title.quote)
    heads = (
        *("Trades", "Win rate", f"Profit, {quote}", "Average", "Best", "Worst"),
        "Average holding",
    )
    rows = "\n".join(
        _render_row(group, _render_name(group, kind, values), money)
        for group in group_trades(outcomes)
    )
    total = _render_row(sum_outcomes("all closed", closed), "all closed", money) if closed else ""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        f'<h3 id="groups-{kind}-title">{_TITLES[kind]}</h3>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="groups-{kind}-title">\n'
        f'<table class="sortable groups" id="groups-{kind}">'
        f'<thead><tr><th scope="col" class="text">{_HEADS[kind]}</th>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n<tfoot>{total}</tfoot></table>\n</div>"
    )


def _render_name(group: TradeGroup, kind: GroupKind, values: Mapping[str, str]) -> str:
    """Return a group's name as a button that lists its trades; the text for a rest."""
    name = escape(group.name)
    if group.is_rest:
        return name
    is_open = group.name == OPEN
    chosen = "exit" if is_open else kind
    value = _OPEN_VALUE if is_open else values[group.name]
    return (
        f'<button type="button" class="link" data-filter="{chosen}" data-value="{value}">'
        f"{name}</button>"
    )


def _render_row(group: TradeGroup, name: str, money: Callable[..., str]) -> str:
    cells = [
        _render_cell(f"{group.trades:,}", group.trades),
        _render_cell(f"{group.win_rate * 100:.1f} %", group.win_rate),
        _render_cell(money(group.profit, signed=True), group.profit, is_signed=True),
        *(_render_ratio(ratio) for ratio in (group.average, group.best, group.worst)),
        _render_cell(format_duration(group.held_seconds), group.held_seconds),
    ]
    return f'<tr><th scope="row" class="text">{name}</th>{"".join(cells)}</tr>'


def _render_ratio(ratio: float | None) -> str:
    if ratio is None:
        return "<td></td>"
    text = f"{ratio * 100:+,.2f} %"
    return _render_cell("0.00 %" if text[1:] == "0.00 %" else text, ratio, is_signed=True)


def _render_cell(text: str, value: float, *, is_signed: bool = False) -> str:
    """Return a cell with the number that its column is sorted by."""
    name = ""
    if is_signed and text.strip("+-0., %"):
        name = f' class="{"gain" if value > 0 else "loss"}"'
    return f'<td{name} data-sort="{value:.10g}">{text}</td>'
