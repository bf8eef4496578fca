"""A run's document as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from backtester.alarm import warning_lines
from backtester.document import Document
from backtester.metric_table import metric_lines
from onetape.cli.dates import day_text
from onetape.cli.output import table
from onetape.core.clock import utc_text
from onetape.core.symbols import base_and_quote
from onetape.core.words import amount_text, counted, price_text

#: Trades shown in the terminal; the report, --json and the run's folder have all of them.
TRADES_SHOWN = 10


def result_text(document: Document) -> str:
    """Return what the terminal shows of a run."""
    lines = [heading(document), *warning_lines(document["check"]), "", _metrics_table(document), ""]
    lines += [_trades_table(document["trades"]), ""]
    parameters = ", ".join(f"{name} {value}" for name, value in document["parameters"].items())
    lines.append(f"parameters: {parameters or 'none'}")
    lines += [f"{label}: {value}" for label, value in document["assumptions"].items()]
    lines.append(f"check: {document['check']['text']}")
    lines += [f"note: {text}" for text in document["notes"]]
    lines.append(f"database: {document['database']}")
    lines += [f"{name}: {document[name]}" for name in ("report", "run") if document[name]]
    return "\n".join(lines)


def heading(document: Document) -> str:
    """Return what was run, in one line."""
    symbols = ", ".join(document.get("symbols") or [document["symbol"]])
    series = f"{document['exchange']} {symbols} {document['timeframe']}"
    warm_up = counted(document["warm_up"], "candle")
    return (
        f"{document['strategy']} on {series}, {day_text(document['from'])} to "
        f"{day_text(document['to'])} UTC: {counted(document['candles'], 'candle')} after {warm_up} "
        f"of warm-up, {document['seconds']:.2f} s"
    )


def quote_of(document: Document) -> str:
    """Return the quote currency of a run."""
    return base_and_quote(document["symbol"])[1]


def _metrics_table(document: Document) -> str:
    lines = metric_lines(document["metrics"], quote_of(document), brief=True)
    rows = [("", document["strategy"], "buy and hold"), *(line[:3] for line in lines)]
    return table(rows, right=(1, 2))


def _trades_table(trades: Sequence[dict[str, Any]]) -> str:
    if not trades:
        return "no trades"
    shown = trades[-TRADES_SHOWN:]
    head = ("entry", "price", "exit", "price", "amount", "profit", "", "left by")
    rows = [head, *(_trade_row(trade) for trade in shown)]
    if any(trade["symbol"] for trade in shown):
        symbols = ["symbol", *(trade["symbol"] for trade in shown)]
        rows = [(symbol, *row) for symbol, row in zip(symbols, rows, strict=True)]
    skipped = len(rows[0]) - len(head)
    older = len(trades) - TRADES_SHOWN
    more = f"\n({counted(older, 'earlier trade')} in the report and the run)" if older > 0 else ""
    return table(rows, right=tuple(skipped + column for column in (1, 3, 4, 5, 6))) + more


def _trade_row(trade: Mapping[str, Any]) -> tuple[str, ...]:
    is_open = trade["open_at_end"]
    return (
        utc_text(trade["entry_timestamp"]),
        price_text(trade["entry_price"]),
        "open at the end" if is_open else utc_text(trade["exit_timestamp"]),
        "" if is_open else price_text(trade["exit_price"]),
        amount_text(trade["amount"]),
        f"{trade['profit']:+,.2f}",
        f"{trade['profit_ratio']:+.2%}",
        "" if is_open else trade["exit_kind"].replace("_", " "),
    )
