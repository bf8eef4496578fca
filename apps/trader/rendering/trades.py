"""Render the executions of accounts as a table, as CSV and as JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from onetape.cli.tables import Column, fit_table
from onetape.core.clock import format_utc
from onetape.core.digits import Digits
from onetape.core.steps import format_decimal
from onetape.core.symbols import split_symbol
from onetape.core.trading import Trade
from onetape.core.words import format_count
from trader.rendering.blocks import fee_number, wrapped

#: Characters of an order's id in a table.
_SHOWN_ID: Final = 8


def trades_text(
    trades: Sequence[Trade],
    digits: Mapping[str, Digits],
    database: Path,
    *,
    width: int | None = None,
) -> str:
    """Return a table of executions; in a narrow terminal without accounts, symbols and ids.

    Args:
        trades: Fills, oldest first; may be empty.
        digits: Decimals of amounts and prices, by account.
        database: The file that was read.
        width: Characters that a line may have; None: any.
    """
    is_one = len({trade.account for trade in trades}) < 2
    last = f"database: {database}; {format_count(len(trades), 'fill')}; times are UTC"
    lines = wrapped(last, "", "  ", width)
    if not trades:
        return "\n".join(lines)
    times = [format_utc(trade.executed_ms // 1_000) for trade in trades]
    shown = [digits[trade.account] for trade in trades]
    pairs = list(zip(trades, shown, strict=True))
    amounts = [one.format_amount(trade.amount) for trade, one in pairs]
    bases = [split_symbol(trade.symbol)[0] for trade in trades]
    fees = [f"{fee_number(trade.fee)} {trade.fee_currency}" for trade in trades]
    columns = [
        Column("date", times, [text[5:] for text in times]),
        *([] if is_one else [Column("account", [trade.account for trade in trades], ())]),
        Column("symbol", [trade.symbol for trade in trades], () if is_one else bases, brief="base"),
        Column("side", [trade.side for trade in trades]),
        Column("amount", amounts, [text.rstrip("0").rstrip(".") for text in amounts], right=True),
        Column("price", [one.format_price(trade.price) for trade, one in pairs], right=True),
        Column("fee", fees, right=True),
        Column("order", [trade.client_order_id[:_SHOWN_ID] for trade in trades], ()),
    ]
    return "\n".join([fit_table(columns, width=width), *lines])


def trades_csv(trades: Sequence[Trade]) -> str:
    """Return executions as comma-separated values: a line of names, then a line for each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [_values(trade) for trade in trades]
    writer.writerow(_NAMES)
    writer.writerows([row[name] for name in _NAMES] for row in rows)
    return text.getvalue().rstrip("\n")


def trade_documents(trades: Sequence[Trade]) -> list[dict[str, Any]]:
    """Return executions for --json; amounts are text, exact."""
    return [{**_values(trade), "executed_ms": trade.executed_ms} for trade in trades]


_NAMES: Final = (
    "date", "account", "exchange", "symbol", "side", "amount", "price", "fee", "fee_currency",
    "order_id", "trade_id", "session",
)  # fmt: skip


def _values(trade: Trade) -> dict[str, str]:
    """Return the values of an execution, by their names in CSV and JSON."""
    moment = datetime.fromtimestamp(trade.executed_ms / 1_000, tz=UTC)
    return {
        "date": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{trade.executed_ms % 1_000:03}Z",
        "account": trade.account,
        "exchange": trade.exchange,
        "symbol": trade.symbol,
        "side": trade.side,
        "amount": format_decimal(trade.amount),
        "price": format_decimal(trade.price),
        "fee": format_decimal(trade.fee),
        "fee_currency": trade.fee_currency,
        "order_id": trade.client_order_id,
        "trade_id": trade.exchange_trade_id,
        "session": trade.session,
    }
