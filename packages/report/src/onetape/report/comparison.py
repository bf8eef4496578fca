"""The section of a page that compares a traded account with a backtest of the same candles."""

from html import escape

from onetape.core.message_text import format_count
from onetape.report.columns import get_market_digits
from onetape.report.data import Comparison, DifferenceCause, ReportData


def render_comparison(data: ReportData) -> str:
    """Return the section; nothing for a page without a comparison."""
    found = data.comparison
    if found is None:
        return ""
    money = get_market_digits(data, data).format_money
    quote = escape(data.title.quote)
    total = _render_money(found.total, money(found.total, signed=True))
    count = format_count(len(found.differences), "cause")
    return "\n".join(
        [
            '<section aria-labelledby="comparison-title">',
            '<div class="bar">',
            '<h2 id="comparison-title">Traded account and backtest</h2>',
            '<p class="hint"><span>The backtest used the same candles. '
            f"Difference to the backtest: {total} {quote}, from {count}.</span></p>",
            "</div>",
            '<div class="columns">',
            _render_metrics_table(found),
            "</div>",
            _render_differences(data, found, quote),
            "</section>",
        ]
    )


def _render_metrics_table(found: Comparison) -> str:
    rows = "\n".join(
        f'<tr><th scope="row" class="text">{escape(label)}</th>'
        f"<td>{escape(traded)}</td><td>{escape(tested)}</td></tr>"
        for label, traded, tested in found.rows
    )
    return (
        '<table id="comparison"><thead><tr><th scope="col" class="text">Metric</th>'
        '<th scope="col">Traded</th><th scope="col">Backtest</th></tr></thead>\n'
        f"<tbody>{rows}</tbody></table>"
    )


def _render_differences(data: ReportData, found: Comparison, quote: str) -> str:
    if not found.differences:
        return '<p class="hint">All trades are equal.</p>'
    symbol = '<th scope="col">Symbol</th>' if data.others else ""
    head = (
        f'<th scope="col" class="text">Position (UTC)</th>{symbol}'
        f'<th scope="col">{quote}</th><th scope="col" class="text">Cause</th>'
    )
    rows = "\n".join(_render_difference_row(one, data) for one in found.differences)
    return (
        '<h3>Differences</h3>\n<div class="scroll tall" tabindex="0" role="region" '
        'aria-label="Differences between traded account and backtest">\n'
        f'<table id="differences"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _render_difference_row(one: DifferenceCause, data: ReportData) -> str:
    text = get_market_digits(data, data).format_money(one.money, signed=True)
    symbol = f"<td>{escape(one.symbol)}</td>" if data.others else ""
    return (
        f'<tr><td class="text">{escape(one.what)}</td>{symbol}'
        f"<td>{_render_money(one.money, text)}</td>"
        f'<td class="text">{escape(one.cause)}</td></tr>'
    )


def _render_money(value: float, text: str) -> str:
    name = "gain" if value > 0 else "loss" if value < 0 else ""
    return f'<span class="figure {name}">{escape(text)}</span>' if name else escape(text)
