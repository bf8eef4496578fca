"""Divide the own trades of an account into requests: time ranges, and pages inside a range.

Own trade is CCXT's word for an execution of an order of the account.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onetape.exchange.dialects import Dialect
from onetape.exchange.proven_refusals import parse_json_body
from onetape.exchange.trading_records import get_fields


def iterate_time_windows(
    dialect: Dialect, since_ms: int, now_ms: int
) -> Iterator[tuple[int, int | None]]:
    """Yield start and end (None: no end) of time ranges from a time until now, epoch milliseconds.

    Args:
        dialect: Dialect of the exchange, which may limit the length of a range.
        since_ms: Start of the first range.
        now_ms: The exchange's time.
    """
    length_ms = dialect.trades_window_ms
    if length_ms is None:
        yield since_ms, None
        return
    first_ms = since_ms
    while True:
        last_ms = first_ms + length_ms
        yield first_ms, last_ms
        if last_ms > now_ms:
            return
        # Both ends are inclusive; the overlap does no harm, because trades are collected by id.
        first_ms = last_ms


def find_next_position(
    dialect: Dialect, rows: Sequence[Mapping[str, Any]], body: str, rows_read: int
) -> str | None:
    """Return the position of the next page of own trades; None: this page was the last.

    Args:
        dialect: Dialect of the exchange.
        rows: Rows of this page, as CCXT has parsed them, oldest first.
        body: Body of the response.
        rows_read: Number of rows of this page and of all pages before it.
    """
    document = get_fields(parse_json_body(body))
    if dialect.trades_paging == "cursor":
        # Bybit has the cursor in `result`, Coinbase at the top level.
        result = get_fields(document.get("result")) or document
        return str(result.get("nextPageCursor") or result.get("cursor") or "") or None
    if dialect.trades_paging == "ofs":
        count = get_fields(document.get("result")).get("count")
        is_last = not rows or not isinstance(count, int) or rows_read >= count
        return None if is_last else str(rows_read)
    if len(rows) < dialect.trades_limit:
        return None
    if dialect.trades_paging == "after":
        # OKX returns the newest trades first; its pages are requested by the id of a bill.
        return str(get_fields(rows[0].get("info")).get("billId") or "") or None
    return str(rows[-1]["id"])
