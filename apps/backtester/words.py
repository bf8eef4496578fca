"""A run's document as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from backtester.alarm import warning_lines
from backtester.document import Document
from backtester.metric_table import metric_lines
from backtester.run_digits import digits_in
from onetape.cli.dates import day_text
from onetape.cli.output import table
from onetape.core.clock import utc_text
from onetape.core.digits import Digits
from onetape.core.symbols import base_and_quote
from onetape.core.words import counted

#: Trades shown in the terminal; the report, --json and the run's folder have all of them.
TRADES_SHOWN = 10


def result_text(document: Document, *, width: int | None = None) -> str:
    """Return what the terminal shows of a run.

    Args:
        document: Of the run.
        width: Characters a line of the tables may have; None: any.
    """
    lines = [heading(document), *warning_lines(document["check"]), "", _metrics_table(document), ""]
    lines += [_trades_table(document, width), ""]
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


def _trades_table(document: Document, width: int | None) -> str:
    """Return a line for each of the last trades, or two where one does not fit."""
    trades: Sequence[dict[str, Any]] = document["trades"]
    if not trades:
        return "no trades"
    shown = trades[-TRADES_SHOWN:]
    head = ("entry", "price", "exit", "price", "amount", "profit", "", "left by")
    symbols = {trade["symbol"] or document["symbol"] for trade in shown}
    digits = {symbol: digits_in(document, symbol) for symbol in symbols}
    rows = [head]
    rows += [_trade_row(trade, digits[trade["symbol"] or document["symbol"]]) for trade in shown]
    if any(trade["symbol"] for trade in shown):
        names = ["symbol", *(trade["symbol"] for trade in shown)]
        rows = [(name, *row) for name, row in zip(names, rows, strict=True)]
    skipped = len(rows[0]) - len(head)
    older = len(trades) - TRADES_SHOWN
    more = f"\n({counted(older, 'earlier trade')} in the report and the run)" if older > 0 else ""
    whole = table(rows, right=tuple(skipped + column for column in (1, 3, 4, 5, 6)))
    if width is None or max(map(len, whole.splitlines())) <= width:
        return whole + more
    return _folded(rows, skipped) + more


def _folded(rows: Sequence[tuple[str, ...]], skipped: int) -> str:
    """Return two lines for each row: its exit under its entry, with what it was left by."""
    before: list[tuple[str, ...]] = []
    for row in rows:
        entry, price, left, exit_price = row[skipped : skipped + 4]
        before += [(*row[:skipped], entry, price), (*("",) * skipped, left, exit_price)]
    starts = table(before, right=(skipped + 1,)).splitlines()
    ends = table([row[skipped + 4 : -1] for row in rows], right=(0, 1, 2)).splitlines()
    room = max(map(len, starts))
    lines = (text for end, row in zip(ends, rows, strict=True) for text in (end, row[-1]))
    return "\n".join(
        f"{start.ljust(room)}  {line}".rstrip() for start, line in zip(starts, lines, strict=True)
    )


def _trade_row(trade: Mapping[str, Any], digits: Digits) -> tuple[str, ...]:
    is_open = trade["open_at_end"]
    return (
        utc_text(trade["entry_timestamp"]),
        digits.price_text(trade["entry_price"]),
        "open at the end" if is_open else utc_text(trade["exit_timestamp"]),
        "" if is_open else digits.price_text(trade["exit_price"]),
        digits.amount_text(trade["amount"]),
        digits.money_text(trade["profit"], signed=True),
        f"{trade['profit_ratio']:+.2%}",
        "" if is_open else trade["exit_kind"].replace("_", " "),
    )
