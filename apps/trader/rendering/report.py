"""Render the comparison of an account with its backtest as text and as a JSON document."""

from pathlib import Path
from typing import Any

from onetape.cli.tables import Column, fitted
from onetape.core.clock import utc_text
from onetape.core.digits import fixed_text, money_decimals
from onetape.core.symbols import base_and_quote
from onetape.core.words import counted
from trader.rendering.blocks import wrapped
from trader.traded_report.account import TradedAccount
from trader.traded_report.page import comparison_rows, unprotected_lines


def report_text(found: TradedAccount, file: Path, *, width: int | None = None) -> str:
    """Return the figures of trading and backtest, and each difference with its cause.

    Args:
        found: The account.
        file: The page that was written.
        width: Characters that a line may have; None: any.
    """
    quote = base_and_quote(found.account.symbol)[1]
    decimals = money_decimals(quote, found.metrics.start_cash)
    rows = comparison_rows(found)
    table = fitted(
        [
            Column("figure", [row[0] for row in rows]),
            Column("traded", [row[1] for row in rows], right=True),
            Column("backtest", [row[2] for row in rows], right=True),
        ],
        width=width,
    )
    times = found.backtest.timestamp
    head = (
        f"{found.account.name}: {found.backtest.strategy_name}, from {utc_text(int(times[0]))} to "
        f"{utc_text(int(times[-1]))} UTC"
    )
    total = fixed_text(found.total, decimals, signed=True)
    several = len(found.backtest.runs) > 1
    count = counted(len(found.differences), "cause")
    lines = [*wrapped(head, "", "  ", width), table]
    if found.differences:
        lines.append(f"trading against backtest: {total} {quote}, by {count}")
    else:
        lines.append("trading against backtest: all trades are equal")
    for one in found.differences:
        money = fixed_text(one.money, decimals, signed=True)
        symbol = f"{one.symbol} " if several and one.symbol else ""
        lines += wrapped(f"{money} {quote}  {symbol}{one.what}: {one.cause}", "  ", "    ", width)
    return "\n".join([*lines, *unprotected_lines(found), f"report: {file}"])


def report_document(found: TradedAccount, file: Path) -> dict[str, Any]:
    """Return the comparison for --json; money is in quote currency, ratios are parts."""
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
