"""Fetch what is missing of one series into the store."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from onetape.core.candles import SeriesKey
from onetape.core.clock import utc_text
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted
from onetape.exchange.pages import Page, last_closed_open
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import missing_between
from onetape.store.database import Store
from onetape.store.gaps import unexplained

Range = tuple[int, int]
#: Called after each page with how many candles of the plan have been asked for, and the total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Summary:
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
    quarantined: int
    missing: int
    """Candles of the range that the exchange did not send."""
    gaps: int
    """In how many stretches they are missing."""
    pages: int
    seconds: float

    def line(self) -> str:
        """Return the summary in one line."""
        missing = counted(self.missing, "candle")
        gaps = f"{counted(self.gaps, 'gap')} ({missing})" if self.gaps else "no gaps"
        refused = f", {self.quarantined:,} refused (see quarantine)" if self.quarantined else ""
        stored = counted(self.stored, "candle")
        return (
            f"{self.exchange} {self.symbol} {self.timeframe}: {stored} from "
            f"{utc_text(self.start)} to {utc_text(self.end)} UTC, {self.inserted:,} new in "
            f"{counted(self.pages, 'page')}, {gaps}{refused}, {self.seconds:.1f} s"
        )

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return asdict(self)


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
    newest = last_closed_open(timeframe, exchange.now_ms(), exchange.quirks.close_grace_ms)
    stop = timeframe.next(newest) if end is None else min(end, timeframe.next(newest))
    holes = unexplained(store, key, missing_between(store, key, start, stop))
    plan = _joined(holes, timeframe, exchange.quirks.page_limit)
    total = sum(timeframe.count_between(*part) for part in plan)
    fetched, done = FetchReport(), 0
    for part_start, part_end in plan:

        def report(page: Page, before: int = done, since: int = part_start) -> None:
            progress(before + timeframe.count_between(since, page.reached), total)

        # One candle of overlap with what is stored: a late revision of it is seen.
        overlaps = part_start > timeframe.ceil(start)
        first = timeframe.shift(part_start, -1) if overlaps else part_start
        fetched = fetched.plus(
            await fetch_closed(exchange, store, key, start=first, end=part_end, on_page=report)
        )
        done += timeframe.count_between(part_start, part_end)
    fetched = fetched.plus(await confirm_gaps(exchange, store, key, start=start, end=stop))
    left = missing_between(store, key, start, stop)
    missing = sum(timeframe.count_between(*hole) for hole in left)
    return Summary(
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        start=timeframe.ceil(start),
        end=stop,
        stored=timeframe.count_between(start, stop) - missing,
        inserted=fetched.inserted,
        present=fetched.present,
        quarantined=fetched.quarantined,
        missing=missing,
        gaps=len(left),
        pages=fetched.pages,
        seconds=round(time.monotonic() - began, 3),
    )


def _joined(holes: list[Range], timeframe: Timeframe, page_limit: int) -> list[Range]:
    """Join holes that one page reaches across: asking once beats asking for each."""
    joined: list[Range] = []
    for start, end in holes:
        if joined and timeframe.count_between(joined[-1][1], start) < page_limit:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
