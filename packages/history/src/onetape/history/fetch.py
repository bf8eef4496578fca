"""Fetch closed candles of a range over REST and store them, page by page.

The backfiller and the trader's warm-up use it. Each page is one transaction, so that a process that
is killed leaves whole pages.
"""

from collections.abc import Callable
from contextlib import aclosing

from msgspec import Struct

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page, iterate_closed_pages
from onetape.exchange.rest import RestExchange
from onetape.store.candles import InsertReport, insert_closed_rows, insert_columns, read_last_closed
from onetape.store.database import Store

#: Number of the newest closed candles that each run reads again.
REREAD_CANDLES = 10
#: Least number of candles that are read again: an earlier run may have read the newest candle too
#: early, but not the one before it.
MIN_REREAD = 2


class FetchReport(Struct, frozen=True):
    """Counts of fetched candles by the result of storing them."""

    inserted: int = 0
    """Number of candles that were new."""
    present: int = 0
    """Number of closed candles that were stored before."""
    quarantined: int = 0
    """Number of unsound rows, which are in the quarantine."""
    pages: int = 0
    """Number of responses."""
    revised: int = 0
    """Number of fetched values that differ from the stored ones, and are new in `revisions`."""

    def merge_with(self, other: "FetchReport") -> "FetchReport":
        """Return the sums of both reports."""
        return FetchReport(
            self.inserted + other.inserted,
            self.present + other.present,
            self.quarantined + other.quarantined,
            self.pages + other.pages,
            self.revised + other.revised,
        )


def _ignore_page(page: Page) -> None:
    del page


async def fetch_closed(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int,
    on_page: Callable[[Page], None] = _ignore_page,
) -> FetchReport:
    """Fetch the closed candles that open in `[start, end)`, and store them page by page.

    Args:
        exchange: Exchange of the candles.
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        on_page: Called with each page after it was stored.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; candles that were stored stay.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    timeframe = Timeframe.parse(key.timeframe)
    walk = iterate_closed_pages(exchange, key.symbol, timeframe, start=start, end=end)
    async with aclosing(walk) as pages:
        async for page in pages:
            batch = _store_page(store, key, page)
            total = total.merge_with(
                FetchReport(batch.inserted, batch.present, batch.quarantined, 1, batch.revised)
            )
            on_page(page)
    return total


def find_reread_start(store: Store, key: SeriesKey, *, count: int = REREAD_CANDLES) -> int | None:
    """Return the open of the first candle that a run reads again, epoch seconds; None: no candles.

    The candle is the `count`-th newest closed one, or the `MIN_REREAD`-th if `count` is lower.
    Reading the newest candles again finds values that the exchange has changed.
    """
    newest = read_last_closed(store, key, max(count, MIN_REREAD))
    return int(newest.timestamp[0]) if len(newest) else None


def _store_page(store: Store, key: SeriesKey, page: Page) -> InsertReport:
    if page.refused:
        return insert_closed_rows(
            store, key, page.rows, source="rest", seen_ms=page.requested_ms, raw=page.refused
        )
    return insert_columns(store, key, page.candles, source="rest", seen_ms=page.requested_ms)
