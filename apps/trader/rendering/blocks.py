"""Text that several subcommands print: a title with a line for each value below, fees, amounts."""

import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from onetape.core.digits import format_number
from onetape.core.trading_rules import format_decimal

_INDENT: Final = "  "


def format_block(title: str, rows: Sequence[tuple[str, str]], width: int | None) -> str:
    """Return a title and the rows below; long texts are wrapped and indented.

    Args:
        title: First line.
        rows: Label and text of each line below; rows with an empty text are left out.
        width: Maximum characters of a line; None: no limit.
    """
    shown = [(label, text) for label, text in rows if text]
    column = max((len(label) for label, _ in shown), default=0)
    lines = wrap_text(title, "", _INDENT * 2, width)
    for label, text in shown:
        head = f"{_INDENT}{label:<{column}}  "
        lines += wrap_text(text, head, " " * len(head), width)
    return "\n".join(lines)


def wrap_text(text: str, first: str, others: str, width: int | None) -> list[str]:
    """Return the lines of a text.

    Args:
        text: The text.
        first: Beginning of the first line.
        others: Beginning of the other lines.
        width: Maximum characters of a line; None: no limit, so there is one line.
    """
    if width is None:
        return [f"{first}{text}"]
    return textwrap.wrap(
        text, max(width, len(first) + 10), initial_indent=first, subsequent_indent=others
    )


def format_fees(fees: Mapping[str, Decimal]) -> str:
    """Return fees by currency, such as `12.5 USDT, 0.001 BNB`; `none` without a fee."""
    texts = [f"{format_fee_number(fee)} {currency}" for currency, fee in sorted(fees.items())]
    return ", ".join(texts) or "none"


def format_fee_number(fee: Decimal) -> str:
    """Return a fee with eight significant digits at most."""
    return format_number(float(fee), commas=True)


def format_exact_amount(value: Decimal | None) -> str | None:
    """Return an amount with all its digits for --json, such as `0.1735`; None for None."""
    return None if value is None else format_decimal(value)


def format_exact_fees(fees: Mapping[str, Decimal]) -> dict[str, str]:
    """Return fees by currency with all their digits, for --json."""
    return {currency: format_decimal(fee) for currency, fee in sorted(fees.items())}
