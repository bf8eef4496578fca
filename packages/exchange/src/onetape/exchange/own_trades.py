"""Pages of the account's own trades: start of the next page, and ranges of the requests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onetape.exchange.dialects import Dialect
from onetape.exchange.proven_refusals import parse_json_body
from onetape.exchange.trading_records import get_fields


def iterate_time_windows(
    dialect: Dialect, since_ms: int, now_ms: int
) -> Iterator[tuple[int, int | None]]:
    """Yield the time ranges that together reach from a time until now, epoch milliseconds.

    Args:
        dialect: Dialect of the exchange, which may limit the length of a range.
        since_ms: First time.
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
        # Both ends are inclusive, and trades are stored by id: the ranges overlap at one moment.
        first_ms = last_ms


def find_next_position(
    dialect: Dialect, rows: Sequence[Mapping[str, Any]], body: str, rows_read: int
) -> str | None:
    """Return the position of the next page of own trades; None where this page was the last.

    Args:
        dialect: Dialect of the exchange.
        rows: Rows of this page, as CCXT has read them, oldest first.
        body: Body of the response.
        rows_read: Rows of this page and of those before it.
    """
    document = get_fields(parse_json_body(body))
    if dialect.trades_paging == "cursor":
        # Bybit has the cursor in its result, Coinbase next to its list.
        place = get_fields(document.get("result")) or document
        return str(place.get("nextPageCursor") or place.get("cursor") or "") or None
    if dialect.trades_paging == "ofs":
        count = get_fields(document.get("result")).get("count")
        is_last = not rows or not isinstance(count, int) or rows_read >= count
        return None if is_last else str(rows_read)
    if len(rows) < dialect.trades_limit:
        return None
    if dialect.trades_paging == "after":
        # OKX goes from the newest trade to the oldest, by ids of its bills.
        return str(get_fields(rows[0].get("info")).get("billId") or "") or None
    return str(rows[-1]["id"])
