"""Runs of the backfiller, once or on a schedule, and the summaries that they print."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import typer

from backfiller.backfill_job import BackfillJob, make_job
from backfiller.fetch_round import Outcome, fetch_all
from backfiller.gap_remedies import describe_unproven_gaps
from backfiller.progress import open_progress_display
from backfiller.run_database import RunDatabase
from backfiller.schedule import run_every
from backfiller.series_fetch import FetchSummary, SeriesFailure
from backfiller.settings import BackfillerSettings
from onetape.cli.output import note, print_json, print_line
from onetape.cli.simulator_address import check_simulator_url
from onetape.cli.stop import StopRequest
from onetape.core.clock import SystemClock
from onetape.core.errors import CandleGapError, DataError, ExchangeError, UsageError
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.timeframes import Timeframe
from onetape.exchange.clients import Endpoint
from onetape.history.gaps import PROOF_INTERVAL_MS

#: Exit code after SIGTERM: 128 plus the number of the signal, as shells state it.
EXIT_TERMINATED = 143


def backfill_all(settings: BackfillerSettings, *, days: int | None, as_json: bool) -> None:
    """Fetch every series of the settings, once or on their schedule, and print the summaries.

    Raises:
        OnetapeError: the settings are invalid, or a series failed; candles stored before stay.
        CandleGapError: candles are missing for an unknown reason (not on a schedule).
        Exit: SIGTERM stopped the only run.
        Abort: Ctrl-C stopped the only run.
    """
    job = make_job(settings, days=days)
    every = None if settings.every is None else Timeframe.parse(settings.every)
    with ExitStack() as stack:
        with RunDatabase(job.path, job.exchanges[0]):
            pass  # An unusable file is reported before a simulator is started.
        endpoints = make_endpoints(job, settings.simulator_url, stack)
        asyncio.run(_run_until_stopped(job, endpoints, every, as_json=as_json))


def make_endpoints(
    job: BackfillJob, simulator_url: str | None, stack: ExitStack
) -> dict[str, Endpoint]:
    """Return the endpoint of each exchange of a job, as `make_endpoint` does."""
    return {name: make_endpoint(name, simulator_url, stack) for name in job.exchanges}


def make_endpoint(exchange: str, simulator_url: str | None, stack: ExitStack) -> Endpoint:
    """Return the endpoint of an exchange; for the simulator's, one is started if none runs.

    Args:
        exchange: Id of the exchange.
        simulator_url: Address of a running simulator; None: the usual one.
        stack: Exit stack that stops a started simulator.

    Raises:
        UsageError: the address of the simulator is invalid.
        ConfigurationError: another server listens at the address.
        ExchangeUnreachable: no simulator listens at the address.
    """
    if exchange != SIMULATOR_ID:
        return Endpoint(exchange)
    from onetape.simulator.embedded import find_or_start_simulator

    check_simulator_url(simulator_url)
    return Endpoint(SIMULATOR_ID, stack.enter_context(find_or_start_simulator(simulator_url)))


async def _run_until_stopped(
    job: BackfillJob, endpoints: Mapping[str, Endpoint], every: Timeframe | None, *, as_json: bool
) -> None:
    """Run once, or on the schedule of `every`, until the end or a signal.

    Raises:
        Exit, Abort: a signal stopped the only run.
    """
    stop = StopRequest()
    is_scheduled = every is not None

    async def run() -> None:
        with (
            RunDatabase(job.path, job.exchanges[0]) as database,
            open_progress_display(len(job.keys)) as display,
        ):
            outcomes = await fetch_all(job, endpoints, database, display)
        _print_summaries(outcomes, job.path, as_json=as_json, is_scheduled=is_scheduled)

    if every is None:
        work = run()
    else:
        jitter = Random()  # noqa: S311 - no secret
        work = run_every(
            every, run, clock=SystemClock(), random=jitter, pause=asyncio.sleep, note=note
        )
    await stop.run_unless_stopped(work)
    if not stop.name:
        return
    if every is not None:
        note(f"{stop.name}: stopped; what was fetched is stored")
    elif stop.name == "SIGTERM":
        raise typer.Exit(EXIT_TERMINATED)
    else:
        raise typer.Abort


def _print_summaries(
    outcomes: Sequence[Outcome], path: Path, *, as_json: bool, is_scheduled: bool
) -> None:
    """Print the summaries of a run.

    Args:
        outcomes: Result of each series.
        path: The database.
        as_json: Whether to print one JSON document; on a schedule it is one line.
        is_scheduled: Whether later runs follow, so that unproven gaps are noted, not raised.

    Raises:
        OnetapeError: a series failed; of several errors the one with the highest exit code.
        CandleGapError: candles are missing and it is not proven yet that the exchange lacks them.
    """
    raise_failures(outcomes, if_only_series=True)
    summaries = [outcome for outcome in outcomes if isinstance(outcome, FetchSummary)]
    if as_json:
        document: dict[str, Any] = {
            "database": path,
            "series": [summary.make_document() for summary in summaries],
            "failed": [
                outcome.make_document()
                for outcome in outcomes
                if isinstance(outcome, SeriesFailure)
            ],
        }
        if is_scheduled:
            print_line(json.dumps(document, default=str, allow_nan=False))
        else:
            print_json(document)
    else:
        for summary in summaries:
            print_line(summary.format_line())
        if summaries:
            print_line(f"database: {path}")
    raise_failures(outcomes)
    gaps = [gap for summary in summaries for gap in summary.unproven_gaps]
    if gaps:
        text = describe_unproven_gaps(gaps, path, minutes=PROOF_INTERVAL_MS // 60_000)
        if not is_scheduled:
            raise CandleGapError(text)
        note(text)


def raise_failures(outcomes: Sequence[object], *, if_only_series: bool = False) -> None:
    """Raise the error of a series that failed; return if none failed.

    Args:
        outcomes: Result of each series.
        if_only_series: Raise only if the failed series is the only one, whose error is then raised.

    Raises:
        OnetapeError: error of the only series; of several series, an error that names the failed
            ones, of the class with the highest exit code.
    """
    failures = [outcome for outcome in outcomes if isinstance(outcome, SeriesFailure)]
    if len(outcomes) == len(failures) == 1:
        raise failures[0].error
    if not failures or if_only_series:
        return
    worst = max((failure.error for failure in failures), key=lambda error: error.exit_code)
    names = [str(failure.key) for failure in failures[:5]]
    more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
    kinds = (ExchangeError, DataError, UsageError)
    error_class = next((kind for kind in kinds if isinstance(worst, kind)), UsageError)
    raise error_class(f"{len(failures)} of {len(outcomes)} series failed: {', '.join(names)}{more}")
