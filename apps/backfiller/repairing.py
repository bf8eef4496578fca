"""Repair gaps, rows that were never closed and rows that break a rule, from the exchange."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from backfiller.backfill_job import BackfillJob
from backfiller.fetch_plan import Range, join_ranges
from backfiller.fetch_round import Ready, check_source, report_failure, run_for_each_exchange
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
NEVER_MS = 2**62
#: Kinds of findings that a fetch repairs; others need rows removed first, or concern the file.
_FETCHED = ("gap", "forming row left behind")
_UNSOUND = ("off-grid time", "high/low", "bad price", "bad volume")


class Repaired(Struct, frozen=True):
    """Result of the repair of one series."""

    key: SeriesKey
    findings: int
    """Number of unexplained findings before the repair."""
    inserted: int
    withdrawn: int
    """Number of rows moved from the candle store to the quarantine."""
    left: list[Finding]
    """Findings that are unexplained after the repair."""
    unproven_gaps: list[UnprovenGap]
    """Gaps that are unexplained after the repair."""

    def format_line(self) -> str:
        """Return the outcome in one line."""
        if not self.findings and not self.inserted:
            return f"{self.key}: nothing to fix"
        withdrawn = (
            f", {format_count(self.withdrawn, 'row')} to quarantine" if self.withdrawn else ""
        )
        left = format_count(len(self.left), "finding") + " left" if self.left else "all fixed"
        return (
            f"{self.key}: {format_count(self.findings, 'finding')}, "
            f"{format_count(self.inserted, 'candle')} fetched{withdrawn}, {left}"
        )

    def make_document(self) -> dict[str, Any]:
        """Return the outcome for --json."""
        document = asdict(self)
        document.update(asdict(document.pop("key")))
        del document["unproven_gaps"]
        return document


def find_unexplained_findings(store: Store, keys: Sequence[SeriesKey]) -> list[Finding]:
    """Return the unexplained findings of `verify`."""
    return [finding for finding in verify(store, keys) if not finding.explained]


async def repair_series(
    exchange: RestExchange, store: Store, key: SeriesKey, *, all_gaps: bool = False
) -> Repaired:
    """Repair one series with the candles that the exchange supplies.

    A row that breaks a rule goes to quarantine before its candle is requested: a kill in between
    leaves a gap that the next run fills. Proven gaps are requested again once they are a day old.

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
    findings = [one for one in find_unexplained_findings(store, [key]) if one.key == key]
    seen_ms, withdrawn, inserted = exchange.now_ms(), 0, 0
    for one in findings:
        if one.kind in _UNSOUND:
            withdrawn += quarantine_unsound_rows(store, key, one.start, one.end, seen_ms=seen_ms)
    for start, end in _make_fetch_ranges(findings, key, exchange.quirks.page_limit):
        report = await fetch_closed(exchange, store, key, start=start, end=end)
        inserted += report.inserted
    stored = read_closed_range(store, key)
    if stored is not None:
        before_ms = NEVER_MS if all_gaps else seen_ms - _OLD_PROOF_MS
        confirmed = await confirm_gaps(
            exchange, store, key, start=stored[0], end=stored[1], requested_before_ms=before_ms
        )
        inserted += confirmed.inserted
    for one in findings:
        if one.kind == "forming row left behind" and not find_unexplained(
            store, key, [(one.start, one.end)]
        ):
            # The exchange is proven to lack this candle, so that no source will ever close it.
            withdrawn += quarantine_forming_rows(store, key, one.start, one.end, seen_ms=seen_ms)
    left = [one for one in find_unexplained_findings(store, [key]) if one.key == key]
    gaps = [
        UnprovenGap.make_gap(key, one.start, one.candles, now_ms=seen_ms)
        for one in left
        if one.kind == "gap"
    ]
    return Repaired(key, len(findings), inserted, withdrawn, left, gaps)


def _make_fetch_ranges(findings: Sequence[Finding], key: SeriesKey, page_limit: int) -> list[Range]:
    timeframe = Timeframe.parse(key.timeframe)
    wanted = [
        (timeframe.floor(one.start), timeframe.ceil(one.end))
        for one in findings
        if one.kind in _FETCHED or (one.kind in _UNSOUND and one.kind != "off-grid time")
    ]
    return join_ranges(sorted(wanted), timeframe, page_limit)


def check_undamaged(findings: Sequence[Finding], path: Path) -> None:
    """Refuse to write into a file that is damaged.

    Raises:
        StoreError: the file is damaged.
    """
    for one in findings:
        if one.kind == "quick_check":
            raise StoreError(
                f"{path} is damaged ({one.text}); no fetch repairs that; put a backup there: "
                "uv run backfiller restore FILE"
            )


async def repair_all(
    job: BackfillJob, endpoints: Mapping[str, Endpoint], store: Store, *, all_gaps: bool
) -> list[Repaired | SeriesFailure]:
    """Repair every series of a job; a series that the exchange refuses does not stop the others.

    Args:
        job: The series.
        endpoints: Endpoints of the exchanges.
        store: The open database.
        all_gaps: Request every explained gap again, however new.

    Raises:
        StoreError: the file cannot be written.
    """

    async def repair(ready: Ready) -> list[Repaired | SeriesFailure]:
        await check_source(endpoints[ready.exchange.endpoint.exchange], store)
        done: list[Repaired | SeriesFailure] = []
        for key in ready.keys:
            try:
                done.append(await repair_series(ready.exchange, store, key, all_gaps=all_gaps))
            except (ExchangeError, UsageError) as error:
                done.append(report_failure(key, error, display))
        return done

    with open_progress_display(len(job.keys)) as display:
        database = RunDatabase(job.path, job.exchanges[0], store)
        return await run_for_each_exchange(job, endpoints, database, display, repair)
