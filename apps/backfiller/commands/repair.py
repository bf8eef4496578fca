"""`backfiller repair`: fix what `backfiller verify` finds, with candles from the exchange."""

from typing import TYPE_CHECKING, Annotated

import typer

from backfiller.commands.series_selection import (
    CONFIG,
    load_backfiller_settings,
    open_database,
    read_chosen_series,
)
from onetape.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backfiller.repairing import RepairResult
    from onetape.core.candles import SeriesKey
    from onetape.store.database import Store


def repair_store(
    *,
    exchange: options.Exchanges = None,
    symbol: options.Symbols = None,
    timeframe: options.Timeframes = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Also replace stored values by open revisions of a higher rank."
        ),
    ] = False,
    gaps: Annotated[
        bool,
        typer.Option(
            "--gaps",
            help="Also request every explained gap again, not only those proven over a day ago.",
        ),
    ] = False,
    db: options.Database = None,
    config: CONFIG = None,
    simulator_url: options.SimulatorUrl = None,
    json_: options.Json = False,
) -> None:
    """Fix what verify finds: fetch missing, never closed and invalid candles again."""
    import asyncio
    from contextlib import ExitStack

    from backfiller.backfill_job import make_job_for_keys
    from backfiller.backfiller_runs import make_endpoints, raise_failures
    from backfiller.repairing import check_undamaged, find_unexplained_findings, repair_all
    from backfiller.series_fetch import SeriesFailure
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import SystemClock
    from onetape.core.message_text import format_count
    from onetape.store.revisions import accept_outranking, read_revisions

    settings = load_backfiller_settings(db, config, exchange)
    url = simulator_url or settings.simulator_url
    with ExitStack() as stack:
        store = stack.enter_context(open_database(db, config, exchange))
        keys = read_chosen_series(store, exchange, symbol, timeframe)
        findings = find_unexplained_findings(store, keys)
        check_undamaged(findings, store.path)
        series_to_fetch = [
            key
            for key in keys
            if any(finding.key == key for finding in findings) or _has_explained_gaps(store, key)
        ]
        outcomes: Sequence[RepairResult | SeriesFailure] = []
        if series_to_fetch:
            job = make_job_for_keys(
                series_to_fetch, store.path, retry_seconds=settings.retry_seconds
            )
            endpoints = make_endpoints(job, url, stack)
            outcomes = asyncio.run(repair_all(job, endpoints, store, all_gaps=gaps))
        accepted = 0
        if accept:
            numbers = [revision.id for key in keys for revision in read_revisions(store, key)]
            accepted = accept_outranking(store, numbers, accepted_ms=SystemClock().now_ms())
        path = store.path
    done = [outcome for outcome in outcomes if not isinstance(outcome, SeriesFailure)]
    raise_failures(outcomes, if_only_series=True)
    if json_:
        failed = [
            outcome.make_document() for outcome in outcomes if isinstance(outcome, SeriesFailure)
        ]
        series = [result.make_document() for result in done]
        print_json({"database": path, "series": series, "failed": failed, "accepted": accepted})
    else:
        for result in done:
            if result.findings or result.inserted:
                print_line(result.format_line())
        revised = f", {format_count(accepted, 'revision')} accepted" if accept else ""
        found = sum(result.findings > 0 for result in done)
        print_line(f"{path}: {found} of {len(keys)} series had findings{revised}")
    raise_failures(outcomes)
    _raise_remaining_findings(done, path)


def _has_explained_gaps(store: "Store", key: "SeriesKey") -> bool:
    """Return whether a series has explained gaps, which may be requested again."""
    from onetape.store.gaps import read_explained_gaps

    return bool(read_explained_gaps(store, key))


def _raise_remaining_findings(done: "list[RepairResult]", path: "Path") -> None:
    """Raise an error if a repaired series still has an unexplained finding.

    Raises:
        CandleGapError: only unproven gaps are left.
        DataError: another finding is left.
    """
    from backfiller.gap_remedies import describe_unproven_gaps
    from onetape.core.errors import CandleGapError, DataError
    from onetape.core.message_text import format_count
    from onetape.history.gaps import PROOF_INTERVAL_MS

    left = [finding for result in done for finding in result.left]
    gaps = [gap for result in done for gap in result.unproven_gaps]
    if left and len(left) == len(gaps):
        raise CandleGapError(
            describe_unproven_gaps(gaps, path, minutes=PROOF_INTERVAL_MS // 60_000)
        )
    if left:
        raise DataError(
            f"{format_count(len(left), 'finding')} left that the exchange could not supply now, "
            f"such as {left[0].text}; try again later, or see: uv run backfiller verify"
        )
