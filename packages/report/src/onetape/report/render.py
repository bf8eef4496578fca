"""The HTML of the report page: escaped texts, tables, the legend of the chart's marks."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final

from onetape.core.message_text import format_count
from onetape.report.columns import get_market_digits
from onetape.report.comparison import render_comparison
from onetape.report.data import MetricRow, ReportData, ReportTitle
from onetape.report.frame import (
    fill_template,
    read_asset,
    render_definitions,
    render_page,
    render_warning_bar,
)
from onetape.report.group_tables import render_group_tables
from onetape.report.histogram import compute_histogram, describe_histogram
from onetape.report.library import read_chart_library
from onetape.report.merged_candles import compute_drawn_limit, group_by_timeframe
from onetape.report.monthly import compute_yearly_returns, render_monthly_table
from onetape.report.origin_banner import render_origin_banner
from onetape.report.payload import encode_payload

_SCRIPTS: Final = (
    *("format.js", "series.js", "chart_base.js", "moving.js", "levels.js", "chart.js"),
    *("drawing.js", "histogram.js", "sort.js", "trades.js", "filters.js", "report.js"),
    "overflow.js",
)
#: The marks of the chart, as paths in a square of 10.
_ARROW_UP, _ARROW_DOWN = "M5 0 10 5H7v5H3V5H0z", "M5 10 0 5h3V0h4v5h3z"
_CIRCLE, _SQUARE, _LINE = "M5 1a4 4 0 1 0 .01 0z", "M1 1h8v8H1z", "M0 4h10v2H0z"
_SHAPES: Final = {
    "buy": _ARROW_UP,
    "signal": _ARROW_DOWN,
    "time_stop": _ARROW_DOWN,
    "target": _SQUARE,
    "held": _SQUARE,
}
_SYMBOL_FILTER: Final = (
    '<label>Symbol <select id="filter-symbol"><option value="">all</option></select></label>'
)
_NO_PARAMETERS: Final = "<div><dt>none</dt><dd></dd></div>"
_KIND_TEXTS: Final = {
    "signal": "exit by signal, above the candle",
    "stop_loss": "exit by stop",
    "trailing_stop": "exit by trailing stop",
    "target": "exit by target",
    "time_stop": "exit by time",
}


def render_report(data: ReportData) -> str:
    """Return the report as one HTML page that loads nothing; equal data gives an equal page.

    Raises:
        ConfigurationError: the chart library is not installed.
    """
    title = data.title
    return render_page(
        _render_body(data),
        title=f"{title.strategy} on {title.symbol} {title.timeframe}",
        style=read_asset("report.css"),
        data=encode_payload(data),
        scripts=[read_asset(name) for name in _SCRIPTS],
        libraries=[read_chart_library()],
    )


def _render_body(data: ReportData) -> str:
    return fill_template(
        read_asset("report.html"),
        {
            "market": _render_market_title(data),
            "headline": _render_headline(data),
            "banner": render_warning_bar(data.title.warning, data.title.warning_text)
            + _render_banner(data.title),
            "drawn": _render_drawn_hint(data),
            "comparison": render_comparison(data),
            "keys": _render_legend(data),
            "months": render_monthly_table(
                compute_yearly_returns(
                    data.candles.timestamp, data.equity, data.buy_and_hold, data.start_cash
                )
            ),
            "symbols": _render_symbol_switch(data.symbols),
            "several": ' class="several"' if data.others else "",
            "symbol_head": '<th scope="col">Symbol</th>' if data.others else "",
            "symbol_filter": _SYMBOL_FILTER if data.others else "",
            "or_symbol": " and symbol" if data.others else "",
            "groups": render_group_tables(data),
            "histogram": escape(describe_histogram(compute_histogram(data.trades))),
            "metrics": "\n".join(_render_metric(row) for row in data.metrics),
            "parameters": render_definitions(data.title.parameters) or _NO_PARAMETERS,
            "rules": render_definitions(data.title.rules),
            "notes": _render_notes(data.title.notes),
            "trade_count": escape(_format_trade_count(data)),
            "quote": escape(data.title.quote),
            "generated": _format_moment(data.title.generated_at_ms // 1000),
        },
    )


def _render_market_title(data: ReportData) -> str:
    title = data.title
    series = f"{title.exchange} {title.symbol} {title.timeframe}"
    start, end = _format_moment(title.start_timestamp), _format_moment(title.end_timestamp)
    others = f" and {', '.join(data.symbols[1:])}" if data.others else ""
    return f"{escape(title.kind)} {escape(series + others)}, {start} to {end} UTC, end excluded"


def _render_symbol_switch(symbols: tuple[str, ...]) -> str:
    """Return a button for each market of the chart, the first pressed; nothing for one alone."""
    if len(symbols) == 1:
        return ""
    buttons = "\n".join(
        f'<button type="button" aria-pressed="{"false" if place else "true"}">'
        f"{escape(symbol)}</button>"
        for place, symbol in enumerate(symbols)
    )
    return (
        '<div class="buttons" id="symbols" role="group" aria-label="Symbol in the chart">\n'
        f"{buttons}\n</div>"
    )


def _render_headline(data: ReportData) -> str:
    line = data.headline
    fees = get_market_digits(data, data).format_money(line.fees_quote)
    fees = escape(f"{fees} {data.title.quote}".strip())
    held = f" of {escape(line.benchmark)}" if line.benchmark else ""
    return (
        f"{escape(data.title.strategy)} returned {_render_percent(line.strategy_return)}, "
        f"buy and hold{held} {_render_percent(line.buy_and_hold_return)}; "
        f'<span class="figure">fees {fees}</span>; '
        f"max drawdown {_render_percent(-abs(line.max_drawdown))}"
    )


def _render_percent(ratio: float) -> str:
    text = f"{ratio * 100:+,.1f} %"
    if float(f"{ratio * 100:.1f}") == 0:
        return '<span class="figure">0.0 %</span>'
    return f'<span class="figure {"gain" if ratio > 0 else "loss"}">{text}</span>'


def _render_banner(title: ReportTitle) -> str:
    return render_origin_banner(
        title.origin,
        "They show how the programs work, not what this strategy would earn.",
    )


def _render_drawn_hint(data: ReportData) -> str:
    limit = compute_drawn_limit(len(data.symbols))
    groups = group_by_timeframe(data.candles, limit)
    if not groups.name:
        return ""
    length = "longer" if groups.name == "merged" else groups.name
    found = format_count(len(data.candles), f"{data.title.timeframe} candle")
    each = " of each symbol" if data.others else ""
    return (
        f'<p class="hint" id="drawn">Drawn as {len(groups.starts):,} {length} candles: the range '
        f"has {found}; more than {limit:,}{each} are merged for drawing. Trades, "
        "equity and metrics come from every candle.</p>"
    )


def _render_metric(row: MetricRow) -> str:
    held = (
        f'<dd class="help">buy and hold {escape(row.buy_and_hold)}</dd>' if row.buy_and_hold else ""
    )
    explained = f'<dd class="help">{escape(row.help)}</dd>' if row.help else ""
    value = escape(row.strategy) or "none"
    return f'<div><dt>{escape(row.label)}</dt><dd class="value">{value}</dd>{held}{explained}</div>'


def _render_notes(notes: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _render_legend(data: ReportData) -> str:
    """Return the legend of the marks that the chart has."""
    kinds = {trade.exit_kind for trade in data.trades if not trade.open_at_end}
    names = [("buy", "entry, below the candle")]
    names += [(kind, text) for kind, text in _KIND_TEXTS.items() if kind in kinds]
    if any(trade.open_at_end for trade in data.trades):
        names.append(("held", "open position"))
    marks = [_render_legend_mark(name, _SHAPES.get(name, _CIRCLE), text) for name, text in names]
    if any(trade.stop for trade in data.trades):
        marks.append(_render_legend_mark("stop-line", _LINE, "stop"))
    if any(trade.target for trade in data.trades):
        marks.append(_render_legend_mark("target-line", _LINE, "target price"))
    return "\n".join(marks)


def _render_legend_mark(name: str, shape: str, text: str) -> str:
    picture = (
        f'<svg class="{name}" viewBox="0 0 10 10" aria-hidden="true"><path d="{shape}"/></svg>'
    )
    return f'<span class="key">{picture} {text}</span>'


def _format_trade_count(data: ReportData) -> str:
    still_open = sum(trade.open_at_end for trade in data.trades)
    ending = f", {still_open} still open" if still_open else ""
    return f"{format_count(len(data.trades), 'trade')}{ending}"


def _format_moment(timestamp: int) -> str:
    """Return a time as people read it: the day alone at midnight, else with hour and minute."""
    moment = datetime.fromtimestamp(timestamp, tz=UTC)
    form = "%Y-%m-%d" if timestamp % 86_400 == 0 else "%Y-%m-%d %H:%M"
    return moment.strftime(form)
