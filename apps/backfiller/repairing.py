"""Repair what `verify` finds in stored series: missing candles, and invalid or unclosed rows.

Invalid rows are moved to the quarantine; candles are fetched from the exchange. For `backfiller
repair`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from backfiller.backfill_job import BackfillJob
from backfiller.fetch_plan import Range, join_ranges
from backfiller.fetch_round import (
    ReadyExchange,
    check_source,
    report_failure,
    run_for_each_exchange,
)
from backfiller.gap_remedies import UnprovenGap
from backfiller.progress import open_progress_display
from backfiller.run_database import RunDatabase
from backfiller.series_fetch import SeriesFailure
from onetape.core.candles import SeriesKey
from onetape.core.errors import ExchangeError, StoreError, UsageError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import read_closed_range
from onetape.store.database import Store
from onetape.store.gaps import find_unexplained
from onetape.store.unsound_rows import quarantine_forming_rows, quarantine_unsound_rows
from onetape.store.verify import Finding, verify

#: Age from which a proof is checked by another request, market time, milliseconds.
_OLD_PROOF_MS = 86_400_000
#: A time later than every proof, milliseconds.
_END_OF_TIME_MS = 2**62
#: Kinds of findings that a fetch repairs.
_FETCHED = ("gap", "forming row left behind")
#: Kinds of findings whose rows are moved to the quarantine before the fetch.
_UNSOUND = ("off-grid time", "high/low", "bad price", "bad volume")


class RepairResult(Struct, frozen=True):
    """Result of the repair of one series."""

    key: SeriesKey
    findings: int
    """Number of unexplained findings before the repair."""
    inserted: int
    """Number of fetched candles that were not stored before."""
    quarantined: int
    """Number of rows moved from the candle store to the quarantine."""
    left: list[Finding]
    """Findings that are unexplained after the repair."""
    unproven_gaps: list[UnprovenGap]
    """Gaps that are unexplained after the repair."""

    def format_line(self) -> str:
        """Return the outcome in one line."""
        if not self.findings and not self.inserted:
            return f"{self.key}: nothing to fix"
        quarantined = (
            f", {format_count(self.quarantined, 'row')} to quarantine" if self.quarantined else ""
        )
        left = format_count(len(self.left), "finding") + " left" if self.left else "all fixed"
        return (
            f"{self.key}: {format_count(self.findings, 'finding')}, "
            f"{format_count(self.inserted, 'candle')} fetched{quarantined}, {left}"
        )

    def make_document(self) -> dict[str, Any]:
        """Return the outcome for --json."""
        document = asdict(self)
        document.update(asdict(document.pop("key")))
        del document["unproven_gaps"]
        return document


def find_unexplained_findings(store: Store, keys: Sequence[SeriesKey]) -> list[Finding]:
    """Return the findings of `verify` that are unexplained; some concern the file, not a series."""
    return [finding for finding in verify(store, keys) if not finding.explained]


async def repair_series(
    exchange: RestExchange, store: Store, key: SeriesKey, *, all_gaps: bool = False
) -> RepairResult:
    """Repair one series with the candles that the exchange supplies.

    A row that breaks a rule is moved to the quarantine before its candle is requested: a kill in
    between leaves a gap that the next run fills. Gaps whose proof is more than a day old are
    requested again.

    Args:
        exchange: Exchange of the candles.
        store: The open database.
        key: The series.
        all_gaps: Request every explained gap again, however new.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; earlier repairs stay.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    findings = _find_series_findings(store, key)
    seen_ms, quarantined, inserted = exchange.now_ms(), 0, 0
    for finding in findings:
        if finding.kind in _UNSOUND:
            quarantined += quarantine_unsound_rows(
                store, key, finding.start, finding.end, seen_ms=seen_ms
            )
    for start, end in _make_fetch_ranges(findings, key, exchange.quirks.page_limit):
        report = await fetch_closed(exchange, store, key, start=start, end=end)
        inserted += report.inserted
    stored = read_closed_range(store, key)
    if stored is not None:
        before_ms = _END_OF_TIME_MS if all_gaps else seen_ms - _OLD_PROOF_MS
        confirmed = await confirm_gaps(
            exchange, store, key, start=stored[0], end=stored[1], requested_before_ms=before_ms
        )
        inserted += confirmed.inserted
    for finding in findings:
        if finding.kind == "forming row left behind" and not find_unexplained(
            store, key, [(finding.start, finding.end)]
        ):
            # The exchange is proven to lack this candle, so that no source will ever close it.
            quarantined += quarantine_forming_rows(
                store, key, finding.start, finding.end, seen_ms=seen_ms
            )
    left = _find_series_findings(store, key)
    gaps = [
        UnprovenGap.make_gap(key, finding.start, finding.candles, now_ms=seen_ms)
        for finding in left
        if finding.kind == "gap"
    ]
    return RepairResult(key, len(findings), inserted, quarantined, left, gaps)


def _find_series_findings(store: Store, key: SeriesKey) -> list[Finding]:
    """Return the unexplained findings of one series."""
    return [finding for finding in find_unexplained_findings(store, [key]) if finding.key == key]


def _make_fetch_ranges(findings: Sequence[Finding], key: SeriesKey, page_limit: int) -> list[Range]:
    """Return the ranges to fetch for these findings, joined where that saves pages."""
    timeframe = Timeframe.parse(key.timeframe)
    # At an off-grid time no candle can open, so nothing replaces the row.
    ranges = [
        (timeframe.floor(finding.start), timeframe.ceil(finding.end))
        for finding in findings
        if finding.kind in _FETCHED
        or (finding.kind in _UNSOUND and finding.kind != "off-grid time")
    ]
    return join_ranges(sorted(ranges), timeframe, page_limit)


def check_undamaged(findings: Sequence[Finding], path: Path) -> None:
    """Refuse to write into a file that is damaged.

    Raises:
        StoreError: the file is damaged.
    """
    for finding in findings:
        if finding.kind == "quick_check":
            raise StoreError(
                f"{path} is damaged ({finding.text}); no fetch repairs that; put a backup there: "
                "uv run backfiller restore FILE"
            )


async def repair_all(
    job: BackfillJob, endpoints: Mapping[str, Endpoint], store: Store, *, all_gaps: bool
) -> list[RepairResult | SeriesFailure]:
    """Repair every series of a job; a series that the exchange refuses does not stop the others.

    Args:
        job: The series.
        endpoints: Endpoint of each exchange, by its id.
        store: The open database; it stays open.
        all_gaps: Request every explained gap again, however new.

    Returns:
        The result of each series, or the error that prevented it, in the job's order.

    Raises:
        StoreError: the file cannot be written.
    """

    async def repair(ready: ReadyExchange) -> list[RepairResult | SeriesFailure]:
        await check_source(endpoints[ready.exchange.endpoint.exchange], store)
        done: list[RepairResult | SeriesFailure] = []
        for key in ready.keys:
            try:
                done.append(await repair_series(ready.exchange, store, key, all_gaps=all_gaps))
            except (ExchangeError, UsageError) as error:
                done.append(report_failure(key, error, display))
        return done

    with open_progress_display(len(job.keys)) as display:
        database = RunDatabase(job.path, job.exchanges[0], store)
        return await run_for_each_exchange(job, endpoints, database, display, repair)
