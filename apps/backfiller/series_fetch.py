"""Fetch the missing candles of one series into the store; `FetchSummary` is the result."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from backfiller.fetch_plan import FetchPlan, plan_series
from backfiller.gap_remedies import UnprovenGap
from onetape.core.candles import Candle, SeriesKey, find_candle_fault
from onetape.core.clock import format_utc
from onetape.core.errors import OnetapeError, RowsRefused
from onetape.core.message_text import format_count
from onetape.core.refused_rows import describe_refused_rows
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import read_candle_at, read_closed_range
from onetape.store.database import Store
from onetape.store.gaps import read_gaps

#: Called after each page with the number of candles of the plan requested so far, and their total.
Progress = Callable[[int, int], None]


class FetchSummary(Struct, frozen=True):
    """Result of one run for one series; counts of candles are of the requested range."""

    exchange: str
    symbol: str
    timeframe: str
    start: int
    """Start of the range, epoch seconds."""
    end: int
    """End of the range, exclusive: at most the end of the newest closed candle, epoch seconds."""
    stored: int
    """Number of candles that the store holds now."""
    inserted: int
    """Number of candles that were not stored before."""
    present: int
    """Number of fetched candles that were stored before."""
    revised: int
    """Number of candles whose fetched values differ from the stored ones (see revisions)."""
    quarantined: int
    """Number of refused rows."""
    missing: int
    """Number of candles that are missing between two stored ones."""
    gaps: int
    """Number of missing ranges, each with one cause."""
    unproven: int
    """Number of missing candles whose cause is unknown."""
    before: int
    """Number of candles before the first stored one."""
    after: int
    """Number of candles after the last stored one."""
    pages: int
    """Number of requests."""
    seconds: float
    """Duration."""
    unproven_gaps: list[UnprovenGap]
    """Missing ranges whose cause is unknown."""

    def format_line(self) -> str:
        """Return the summary in one line."""
        missing = format_count(self.missing, "candle")
        unproven = f", {self.unproven:,} of them unproven" if self.unproven else ""
        gaps = f"{format_count(self.gaps, 'gap')} ({missing}{unproven})" if self.gaps else "no gaps"
        where = "before" if self.stored else "there"
        before = (
            f", nothing for {format_count(self.before, 'candle')} {where}" if self.before else ""
        )
        after = f", nothing for {format_count(self.after, 'candle')} after" if self.after else ""
        revised = f", {self.revised:,} revised (see revisions)" if self.revised else ""
        refused = f", {self.quarantined:,} refused (see quarantine)" if self.quarantined else ""
        stored = format_count(self.stored, "candle")
        return (
            f"{self.exchange} {self.symbol} {self.timeframe}: {stored} from "
            f"{format_utc(self.start)} to {format_utc(self.end)} UTC, {self.inserted:,} new in "
            f"{format_count(self.pages, 'page')}, {gaps}{before}{after}{revised}{refused}, "
            f"{self.seconds:.1f} s"
        )

    def make_document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        document = asdict(self)
        del document["unproven_gaps"]
        return document


class SeriesFailure(Struct, frozen=True):
    """A series that could not be fetched; candles stored before the failure stay."""

    key: SeriesKey
    error: OnetapeError

    def make_document(self) -> dict[str, Any]:
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
) -> FetchSummary:
    """Fetch the closed candles of `[start, end)` that the store lacks, and store each page.

    Gaps whose cause is not proven yet are requested once more after that.

    Args:
        exchange: The exchange.
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds.
        end: End of the range, epoch seconds, exclusive; None: the newest closed candle.
        progress: Called after each page.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; candles that were stored stay.
        ExchangeRefused: the exchange refused the request.
        RowsRefused: every received row breaks a rule of candles.
        StoreError: the file cannot be written.
    """
    began = time.monotonic()
    timeframe = Timeframe.parse(key.timeframe)
    plan = plan_series(exchange, store, key, start=start, end=end)
    fetched, done = FetchReport(), 0
    refused: dict[Candle, str] = {}
    for range_start, range_end in plan.ranges:

        def report(page: Page, before: int = done, since: int = range_start) -> None:
            progress(before + timeframe.count_between(since, page.covered_until), plan.candles)
            refused.update(page.refused)

        # The stored candle before the range is read again, so that a late revision is found.
        overlaps = range_start > plan.start and read_candle_at(store, key, range_start) is None
        first = timeframe.shift(range_start, -1) if overlaps else range_start
        fetched = fetched.merge_with(
            await fetch_closed(exchange, store, key, start=first, end=range_end, on_page=report)
        )
        done += timeframe.count_between(range_start, range_end)
    if refused and not fetched.inserted + fetched.present:
        raise RowsRefused(f"{key}: {_describe_refused_candles(refused, timeframe)}")
    fetched = fetched.merge_with(
        await confirm_gaps(exchange, store, key, start=start, end=plan.end)
    )
    seconds = round(time.monotonic() - began, 3)
    return _make_summary(store, key, plan, fetched, seconds=seconds, now_ms=exchange.now_ms())


def _describe_refused_candles(refused: dict[Candle, str], timeframe: Timeframe) -> str:
    faults = [find_candle_fault(row, timeframe) or "" for row in refused]
    return describe_refused_rows(faults, next(iter(refused.values())), timeframe.name)


def _make_summary(
    store: Store,
    key: SeriesKey,
    plan: FetchPlan,
    fetched: FetchReport,
    *,
    seconds: float,
    now_ms: int,
) -> FetchSummary:
    timeframe = Timeframe.parse(key.timeframe)
    requested = timeframe.count_between(plan.start, plan.end)
    stored = read_closed_range(store, key)
    before = after = 0
    if stored is None:
        before = requested
    else:
        before = timeframe.count_between(plan.start, min(max(stored[0], plan.start), plan.end))
        last = min(max(timeframe.next(stored[1]), plan.start), plan.end)
        after = timeframe.count_between(last, plan.end)
    gaps = read_gaps(store, key, start=plan.start, end=plan.end)
    missing = sum(gap.candles for gap in gaps)
    unknown = [gap for gap in gaps if not gap.is_explained]
    return FetchSummary(
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        start=plan.start,
        end=plan.end,
        stored=requested - missing - before - after,
        inserted=fetched.inserted,
        present=fetched.present,
        revised=fetched.revised,
        quarantined=fetched.quarantined,
        missing=missing,
        gaps=len(gaps),
        unproven=sum(gap.candles for gap in unknown),
        before=before,
        after=after,
        pages=fetched.pages,
        seconds=seconds,
        unproven_gaps=[
            UnprovenGap.make_gap(key, gap.start, gap.candles, now_ms=now_ms) for gap in unknown
        ],
    )
