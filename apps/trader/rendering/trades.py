"""`trader trades`: the fills of accounts, as a table, as CSV and as JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from onetape.cli.tables import Column, fit_table
from onetape.core.clock import format_utc
from onetape.core.digits import Digits
from onetape.core.message_text import format_count
from onetape.core.symbols import split_symbol
from onetape.core.trading import Fill
from onetape.core.trading_rules import format_decimal
from trader.rendering.blocks import format_fee_number, wrap_text

#: Number of characters of a client order id that a table shows.
_SHOWN_ID: Final = 8


def format_fills(
    fills: Sequence[Fill],
    digits: Mapping[tuple[str, str], Digits],
    database: Path,
    *,
    width: int | None = None,
) -> str:
    """Return a table of fills; in a narrow terminal without accounts, symbols and ids.

    Args:
        fills: Fills, oldest first; may be empty.
        digits: Decimals of amounts and prices, by account and symbol.
        database: Path of the database.
        width: Maximum characters of a line; None: no limit.
    """
    is_one = len({fill.account for fill in fills}) < 2
    last = f"database: {database}; {format_count(len(fills), 'fill')}; times are UTC"
    lines = wrap_text(last, "", "  ", width)
    if not fills:
        return "\n".join(lines)
    times = [format_utc(fill.executed_ms // 1_000) for fill in fills]
    shown = [digits[fill.account, fill.symbol] for fill in fills]
    pairs = list(zip(fills, shown, strict=True))
    amounts = [one.format_amount(fill.amount) for fill, one in pairs]
    bases = [split_symbol(fill.symbol)[0] for fill in fills]
    fees = [f"{format_fee_number(fill.fee)} {fill.fee_currency}" for fill in fills]
    columns = [
        Column("date", times, [text[5:] for text in times]),
        *([] if is_one else [Column("account", [fill.account for fill in fills], ())]),
        Column("symbol", [fill.symbol for fill in fills], () if is_one else bases, brief="base"),
        Column("side", [fill.side for fill in fills]),
        Column("amount", amounts, [text.rstrip("0").rstrip(".") for text in amounts], right=True),
        Column("price", [one.format_price(fill.price) for fill, one in pairs], right=True),
        Column("fee", fees, right=True),
        Column("order", [fill.client_order_id[:_SHOWN_ID] for fill in fills], ()),
    ]
    return "\n".join([fit_table(columns, width=width), *lines])


def format_fills_csv(fills: Sequence[Fill]) -> str:
    """Return fills as comma-separated values: a line of names, then a line for each fill."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [_make_fill_row(fill) for fill in fills]
    writer.writerow(_NAMES)
    writer.writerows([row[name] for name in _NAMES] for row in rows)
    return text.getvalue().rstrip("\n")


def make_fill_documents(fills: Sequence[Fill]) -> list[dict[str, Any]]:
    """Return fills for --json; amounts are text with all digits."""
    return [{**_make_fill_row(fill), "executed_ms": fill.executed_ms} for fill in fills]


#: Names of the values of a fill in CSV, in their order.
_NAMES: Final = (
    "date", "account", "exchange", "symbol", "side", "amount", "price", "fee", "fee_currency",
    "order_id", "trade_id", "session",
)  # fmt: skip


def _make_fill_row(fill: Fill) -> dict[str, str]:
    """Return the values of a fill by their names in CSV and JSON, with all digits."""
    moment = datetime.fromtimestamp(fill.executed_ms / 1_000, tz=UTC)
    return {
        "date": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{fill.executed_ms % 1_000:03}Z",
        "account": fill.account,
        "exchange": fill.exchange,
        "symbol": fill.symbol,
        "side": fill.side,
        "amount": format_decimal(fill.amount),
        "price": format_decimal(fill.price),
        "fee": format_decimal(fill.fee),
        "fee_currency": fill.fee_currency,
        "order_id": fill.client_order_id,
        "trade_id": fill.exchange_trade_id,
        "session": fill.session,
    }
