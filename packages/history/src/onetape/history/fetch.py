"""Closed candles from REST into the tape: the same for the backfiller and the trader's warm-up."""

from collections.abc import Callable
from dataclasses import dataclass

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page, closed_pages
from onetape.exchange.rest import RestExchange
from onetape.store.candles import first_row_after, insert_closed, missing_between
from onetape.store.database import Store
from onetape.store.gaps import CONFIRMED, NOT_FETCHED, GapState, set_gap, unexplained


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of the candles that came."""

    inserted: int = 0
    present: int = 0
    """Closed ones that the tape already had."""
    quarantined: int = 0
    pages: int = 0

    def plus(self, other: "FetchReport") -> "FetchReport":
        """Return both together."""
        return FetchReport(
            self.inserted + other.inserted,
            self.present + other.present,
            self.quarantined + other.quarantined,
            self.pages + other.pages,
        )


def _ignore(page: Page) -> None:
    del page


async def fetch_closed(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int,
    on_page: Callable[[Page], None] = _ignore,
) -> FetchReport:
    """Store the closed candles that open in `[start, end)` (epoch seconds), page by page.

    Raises:
        ExchangeUnreachable: the exchange stopped answering; what was stored stays.
        ExchangeRefused: the exchange answered no.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    timeframe = Timeframe.parse(key.timeframe)
    async for page in closed_pages(exchange, key.symbol, timeframe, start=start, end=end):
        batch = insert_closed(store, key, page.rows, source="rest", seen_ms=exchange.now_ms())
        total = total.plus(FetchReport(batch.inserted, batch.present, batch.quarantined, 1))
        on_page(page)
    return total


async def confirm_gaps(
    exchange: RestExchange, store: Store, key: SeriesKey, *, start: int, end: int
) -> FetchReport:
    """Ask once more for what is missing in `[start, end)`, which must have been asked for already.

    What is missing twice while the exchange has a later candle, it does not have at all: the gap
    ledger keeps it, with the date. Without a later candle the exchange may merely lag, and a row
    that went to quarantine may come back sound: such a gap stays "not fetched", and is asked for
    again.

    Raises:
        ExchangeUnreachable: the exchange stopped answering; nothing unproven was written down.
        ExchangeRefused: the exchange answered no.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    holes = unexplained(store, key, missing_between(store, key, start, end))
    for hole_start, hole_end in holes:
        again = await fetch_closed(exchange, store, key, start=hole_start, end=hole_end)
        total = total.plus(again)
        for left_start, left_end in missing_between(store, key, hole_start, hole_end):
            sound = again.quarantined == 0
            proven = sound and await _goes_on_after(exchange, store, key, left_end)
            state: GapState = CONFIRMED if proven else NOT_FETCHED
            set_gap(store, key, left_start, left_end, state=state, asked_ms=exchange.now_ms())
    return total


async def _goes_on_after(
    exchange: RestExchange, store: Store, key: SeriesKey, timestamp: int
) -> bool:
    """Return whether the exchange has a candle, be it the forming one, at or after a time."""
    if first_row_after(store, key, timestamp - 1) is not None:
        return True
    rows = await exchange.candles(key.symbol, key.timeframe, since_ms=timestamp * 1_000, limit=1)
    return any(row.timestamp >= timestamp for row in rows)
