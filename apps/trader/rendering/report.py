"""`trader report`: an account compared with its backtest, as text and as JSON."""

from pathlib import Path
from typing import Any

from onetape.cli.tables import Column, fit_table
from onetape.core.clock import format_utc
from onetape.core.digits import choose_money_decimals, format_fixed
from onetape.core.message_text import format_count
from onetape.core.symbols import split_symbol
from trader.rendering.blocks import wrap_text
from trader.traded_report.account import TradedAccount
from trader.traded_report.page import format_unprotected_lines, make_comparison_rows


def format_report(found: TradedAccount, file: Path, *, width: int | None = None) -> str:
    """Return the metrics of account and backtest, and each difference with its cause.

    Args:
        found: The account, with its backtest and the differences.
        file: Path of the page that was written.
        width: Maximum characters of a line; None: no limit.
    """
    quote = split_symbol(found.account.symbol)[1]
    decimals = choose_money_decimals(quote, found.metrics.start_cash)
    rows = make_comparison_rows(found)
    table = fit_table(
        [
            Column("figure", [row[0] for row in rows]),
            Column("traded", [row[1] for row in rows], right=True),
            Column("backtest", [row[2] for row in rows], right=True),
        ],
        width=width,
    )
    times = found.backtest.timestamp
    head = (
        f"{found.account.name}: {found.backtest.strategy_name}, "
        f"from {format_utc(int(times[0]))} to {format_utc(int(times[-1]))} UTC"
    )
    total = format_fixed(found.total, decimals, signed=True)
    several = len(found.backtest.runs) > 1
    count = format_count(len(found.differences), "cause")
    lines = [*wrap_text(head, "", "  ", width), table]
    if found.differences:
        lines.append(f"trading against backtest: {total} {quote}, by {count}")
    else:
        lines.append("trading against backtest: all trades are equal")
    for one in found.differences:
        money = format_fixed(one.money, decimals, signed=True)
        symbol = f"{one.symbol} " if several and one.symbol else ""
        lines += wrap_text(f"{money} {quote}  {symbol}{one.what}: {one.cause}", "  ", "    ", width)
    return "\n".join([*lines, *format_unprotected_lines(found), f"report: {file}"])


def make_report_document(found: TradedAccount, file: Path) -> dict[str, Any]:
    """Return the comparison for --json; money is in quote currency, 0.05 is 5 %."""
    return {
        "account": found.account.name,
        "symbols": [run.symbol for run in found.backtest.runs],
        "strategy": found.backtest.strategy_name,
        "parameters": dict(found.backtest.parameters),
        "from": int(found.backtest.timestamp[0]),
        "to": found.backtest.config.end,
        "traded": found.metrics.as_dict(),
        "backtest": found.backtest.metrics.as_dict(),
        "difference": found.total,
        "differences": found.differences,
        "unprotected": found.unprotected,
        "report": file,
    }
