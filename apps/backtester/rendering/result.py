"""Output of a backtest: text for a terminal, and the document of `--json`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from onetape.backtest.records import RunSummary, TradeRecord
from onetape.backtest.run_costs import format_returns
from onetape.backtest.warning_banner import format_warning_lines
from onetape.cli.output import format_table, print_bytes
from onetape.core.clock import format_day, format_utc
from onetape.core.digits import Digits
from onetape.core.message_text import format_count

if TYPE_CHECKING:
    from onetape.backtest.storage.runs import SavedRun

#: Number of trades shown in the terminal; report, `--json` and the run's folder have all.
TRADES_SHOWN = 10
#: Number of trades that are converted to text at a time, to save memory.
_AT_ONCE: Final = 2_000


def print_document(summary: RunSummary, trades: Sequence[TradeRecord]) -> None:
    """Print a backtest as one JSON document, each trade on a separate line."""
    encoder = msgspec.json.Encoder(enc_hook=str)
    text = msgspec.json.format(encoder.encode(summary), indent=2)
    print_bytes(text.removesuffix(b"}").rstrip() + b',\n  "trades": [\n')
    for start in range(0, len(trades), _AT_ONCE):
        stop = start + _AT_ONCE
        lines = encoder.encode_lines(trades[start:stop]).rstrip()
        is_last = stop >= len(trades)
        # JSON writes a line feed in a text as an escape, so lines of the output are not split.
        print_bytes(lines.replace(b"\n", b",\n") + (b"\n" if is_last else b",\n"))
    print_bytes(b"  ]\n}\n")


def convert_to_builtins(record: Struct) -> dict[str, Any]:
    """Return a record as builtin types that JSON can hold."""
    return msgspec.to_builtins(record, enc_hook=str)


def make_run_document(run: "SavedRun") -> dict[str, Any]:
    """Return a saved run as `--json` printed it."""
    return {
        **convert_to_builtins(run.summary),
        "trades": [convert_to_builtins(trade) for trade in run.read_trade_records()],
    }


def format_result(
    summary: RunSummary, trades: Sequence[TradeRecord], *, width: int | None = None
) -> str:
    """Return a backtest as text for a terminal.

    Args:
        summary: Summary of the backtest.
        trades: Trades of the backtest.
        width: Characters a line of the tables may have; None: any.
    """
    lines = [
        format_heading(summary),
        *format_warning_lines(summary.check),
        *_format_headline(summary),
        "",
        _format_metrics_table(summary),
        "",
    ]
    lines += [_format_trades_table(summary, trades, width), ""]
    parameters = ", ".join(f"{name} {value}" for name, value in summary.parameters.items())
    lines.append(f"parameters: {parameters or 'none'}")
    lines += [f"{label}: {value}" for label, value in summary.assumptions.items()]
    lines.append(f"bias check: {summary.check.text}")
    lines += [f"note: {text}" for text in summary.notes]
    lines.append(f"database: {summary.database}")
    places = {"report": summary.report, "run": summary.run}
    lines += [f"{name}: {place}" for name, place in places.items() if place]
    return "\n".join(lines)


def format_heading(summary: RunSummary) -> str:
    """Return the heading of a run in one line."""
    symbols = ", ".join(summary.all_symbols)
    series = f"{summary.exchange} {symbols} {summary.timeframe}"
    return (
        f"{summary.strategy} on {series}, {format_day(summary.from_)} to "
        f"{format_day(summary.to)} UTC: {format_count(summary.candles, 'candle')} "
        f"(warm-up {summary.warm_up:,}), {summary.seconds:.2f} s"
    )


def _format_headline(summary: RunSummary) -> list[str]:
    """Return the line with the returns after and without costs; none where there are no costs."""
    free, total = summary.return_without_costs, summary.metrics.total_return
    return [] if free is None else [f"return: {format_returns(total, free, summary.costs)}"]


def _format_metrics_table(summary: RunSummary) -> str:
    from onetape.backtest.metric_definitions import make_metric_lines  # not for --json

    lines = make_metric_lines(summary.metrics, summary.quote, brief=True)
    rows = [("", summary.strategy, summary.hold_label), *(line[:3] for line in lines)]
    return format_table(rows, right=(1, 2))


def _format_trades_table(
    summary: RunSummary, trades: Sequence[TradeRecord], width: int | None
) -> str:
    """Return a line for each of the last trades, or two lines if one does not fit."""
    if not trades:
        return "no trades"
    shown = trades[-TRADES_SHOWN:]
    head = ("entry", "price", "exit", "price", "amount", "profit", "", "exit reason")
    symbols = {trade.symbol or summary.symbol for trade in shown}
    digits = {symbol: summary.get_digits(symbol, trades) for symbol in symbols}
    rows = [head]
    rows += [_format_trade_row(trade, digits[trade.symbol or summary.symbol]) for trade in shown]
    if any(trade.symbol for trade in shown):
        names = ["symbol", *(trade.symbol for trade in shown)]
        rows = [(name, *row) for name, row in zip(names, rows, strict=True)]
    skipped = len(rows[0]) - len(head)
    older = len(trades) - TRADES_SHOWN
    more = (
        f"\n({format_count(older, 'earlier trade')} in the report and the run)" if older > 0 else ""
    )
    whole = format_table(rows, right=tuple(skipped + column for column in (1, 3, 4, 5, 6)))
    if width is None or max(map(len, whole.splitlines())) <= width:
        return whole + more
    return _fold_rows(rows, skipped) + more


def _fold_rows(rows: Sequence[tuple[str, ...]], skipped: int) -> str:
    """Return two lines for each row: the entry, and below it the exit with its reason."""
    before: list[tuple[str, ...]] = []
    for row in rows:
        entry, price, exit_, exit_price = row[skipped : skipped + 4]
        before += [(*row[:skipped], entry, price), (*("",) * skipped, exit_, exit_price)]
    starts = format_table(before, right=(skipped + 1,)).splitlines()
    ends = format_table([row[skipped + 4 : -1] for row in rows], right=(0, 1, 2)).splitlines()
    room = max(map(len, starts))
    lines = (text for end, row in zip(ends, rows, strict=True) for text in (end, row[-1]))
    return "\n".join(
        f"{start.ljust(room)}  {line}".rstrip() for start, line in zip(starts, lines, strict=True)
    )


def _format_trade_row(trade: TradeRecord, digits: Digits) -> tuple[str, ...]:
    closed, price, kind = trade.exit_timestamp, trade.exit_price, trade.exit_kind
    return (
        format_utc(trade.entry_timestamp),
        digits.format_price(trade.entry_price),
        "open position" if closed is None else format_utc(closed),
        "" if price is None else digits.format_price(price),
        digits.format_amount(trade.amount),
        digits.format_money(trade.profit, signed=True),
        f"{trade.profit_ratio:+.2%}",
        "" if kind is None else kind.replace("_", " "),
    )
