"""Fetch what is missing of one series into the store."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from backfiller.plan import plan_series
from onetape.core.candles import SeriesKey
from onetape.core.clock import utc_text
from onetape.core.errors import OnetapeError
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.exchange.pages import Page
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import missing_between, row_at
from onetape.store.database import Store
from onetape.store.gaps import unexplained

#: Called after each page with how many candles of the plan have been asked for, and the total.
Progress = Callable[[int, int], None]


class Summary(Struct, frozen=True):
    """What one run did for one series. Times are epoch seconds, ranges half-open."""

    exchange: str
    symbol: str
    timeframe: str
    start: int
    end: int
    """One candle past the newest that was closed."""
    stored: int
    """Candles of the range that the tape holds now."""
    inserted: int
    present: int
    revised: int
    """Candles that came with another value than the tape has: open in the revision ledger."""
    quarantined: int
    missing: int
    """Candles of the range that the exchange did not send."""
    gaps: int
    """In how many stretches they are missing."""
    unproven: int
    """How many of the missing ones the exchange has not been proven to lack."""
    pages: int
    seconds: float

    def line(self) -> str:
        """Return the summary in one line."""
        missing = counted(self.missing, "candle")
        unproven = f", {self.unproven:,} of them not fetched" if self.unproven else ""
        gaps = f"{counted(self.gaps, 'gap')} ({missing}{unproven})" if self.gaps else "no gaps"
        revised = f", {self.revised:,} revised (see revisions)" if self.revised else ""
        refused = f", {self.quarantined:,} refused (see quarantine)" if self.quarantined else ""
        stored = counted(self.stored, "candle")
        return (
            f"{self.exchange} {self.symbol} {self.timeframe}: {stored} from "
            f"{utc_text(self.start)} to {utc_text(self.end)} UTC, {self.inserted:,} new in "
            f"{counted(self.pages, 'page')}, {gaps}{revised}{refused}, {self.seconds:.1f} s"
        )

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return asdict(self)


class Failure(Struct, frozen=True):
    """A series that could not be fetched; what was stored of it before stays."""

    key: SeriesKey
    error: OnetapeError

    def document(self) -> dict[str, Any]:
        """Return the failure for --json."""
        return {
            **asdict(self.key),
            "error": str(self.error),
            "exit_code": self.error.exit_code,
        }


async def fetch_series(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int | None,
    progress: Progress,
) -> Summary:
    """Fetch the closed candles of `[start, end)` that the store lacks, and store each page.

    Raises:
        ExchangeUnreachable: the exchange stopped answering; what was stored stays.
        ExchangeRefused: the exchange answered no.
        StoreError: the file cannot be written.
    """
    began = time.monotonic()
    timeframe = Timeframe.parse(key.timeframe)
    plan = plan_series(exchange, store, key, start=start, end=end)
    fetched, done = FetchReport(), 0
    for part_start, part_end in plan.ranges:

        def report(page: Page, before: int = done, since: int = part_start) -> None:
            progress(before + timeframe.count_between(since, page.reached), plan.candles)

        # One candle of overlap with what is stored: a late revision of it is seen.
        overlaps = part_start > plan.start and row_at(store, key, part_start) is None
        first = timeframe.shift(part_start, -1) if overlaps else part_start
        fetched = fetched.plus(
            await fetch_closed(exchange, store, key, start=first, end=part_end, on_page=report)
        )
        done += timeframe.count_between(part_start, part_end)
    fetched = fetched.plus(await confirm_gaps(exchange, store, key, start=start, end=plan.end))
    left = missing_between(store, key, start, plan.end)
    missing = _candles(left, timeframe)
    return Summary(
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        start=plan.start,
        end=plan.end,
        stored=timeframe.count_between(start, plan.end) - missing,
        inserted=fetched.inserted,
        present=fetched.present,
        revised=fetched.revised,
        quarantined=fetched.quarantined,
        missing=missing,
        gaps=len(left),
        unproven=_candles(unexplained(store, key, left), timeframe),
        pages=fetched.pages,
        seconds=round(time.monotonic() - began, 3),
    )


def _candles(ranges: list[tuple[int, int]], timeframe: Timeframe) -> int:
    return sum(timeframe.count_between(*part) for part in ranges)
