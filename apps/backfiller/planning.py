"""`backfiller --plan`: print the candles that a run would fetch, and how long that may take.

Only the markets and the time of each exchange are requested.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from backfiller.backfill_job import BackfillJob, make_job
from backfiller.backfiller_runs import make_endpoints, raise_failures
from backfiller.fetch_plan import FetchPlan, plan_series
from backfiller.fetch_round import ReadyExchange, run_for_each_exchange
from backfiller.progress import open_progress_display
from backfiller.run_database import RunDatabase
from backfiller.series_fetch import SeriesFailure
from backfiller.settings import BackfillerSettings
from onetape.cli.output import print_json, print_line
from onetape.core.message_text import format_count
from onetape.exchange.catalogue import get_exchange_facts
from onetape.exchange.clients import Endpoint


class TimedPlan(Struct, frozen=True):
    """A fetch plan and its estimated duration."""

    plan: FetchPlan
    seconds: float
    """Estimated duration: number of pages times the duration of one page, seconds.

    A page takes as long as the request for the exchange's time, or CCXT's pause if that is longer.
    """

    def make_document(self) -> dict[str, Any]:
        """Return plan and duration for --json."""
        return {**self.plan.make_document(), "seconds": round(self.seconds, 1)}

    def format_line(self) -> str:
        """Return plan and duration in one line."""
        pages = format_count(self.plan.pages, "page")
        return f"{self.plan.format_line()}; {pages}, about {format_rough_duration(self.seconds)}"


def print_plan(settings: BackfillerSettings, *, days: int | None, as_json: bool) -> None:
    """Print the series and candles that a run with these settings would fetch.

    Raises:
        OnetapeError: the settings are invalid, or a series cannot be fetched.
    """
    job = make_job(settings, days=days)
    with ExitStack() as stack:
        database = stack.enter_context(RunDatabase(job.path, job.exchanges[0]))
        endpoints = make_endpoints(job, settings.simulator_url, stack)
        plans = asyncio.run(_plan_all(job, endpoints, database))
    timed = [plan for plan in plans if isinstance(plan, TimedPlan)]
    # Exchanges are fetched concurrently; the series of one exchange share its rate limit.
    seconds = max(
        (
            sum(timed_plan.seconds for timed_plan in timed if timed_plan.plan.key.exchange == name)
            for name in endpoints
        ),
        default=0.0,
    )
    raise_failures(plans, if_only_series=True)
    if as_json:
        print_json(
            {
                "database": job.path,
                "series": [timed_plan.make_document() for timed_plan in timed],
                "failed": [
                    plan.make_document() for plan in plans if isinstance(plan, SeriesFailure)
                ],
                "seconds": round(seconds, 1),
            }
        )
    else:
        for timed_plan in timed:
            print_line(timed_plan.format_line())
        candles = sum(timed_plan.plan.candles for timed_plan in timed)
        pages = sum(timed_plan.plan.pages for timed_plan in timed)
        print_line(
            f"in all {format_count(candles, 'candle')} in {format_count(pages, 'page')}, about "
            f"{format_rough_duration(seconds)}; nothing was fetched"
        )
    raise_failures(plans)


async def _plan_all(
    job: BackfillJob, endpoints: Mapping[str, Endpoint], database: RunDatabase
) -> Sequence[TimedPlan | SeriesFailure]:
    """Return the plan of each series, in the job's order; a failed series has its error."""

    async def plan(ready: ReadyExchange) -> list[TimedPlan]:
        began = time.monotonic()
        await ready.exchange.compare_clocks()
        trip_seconds = time.monotonic() - began
        facts = get_exchange_facts(ready.exchange.endpoint.exchange)
        page_seconds = max(trip_seconds, facts.pause_ms / 1_000)
        plans = [
            plan_series(ready.exchange, database.store, key, start=ready.start, end=ready.end)
            for key in ready.keys
        ]
        return [TimedPlan(plan, plan.pages * page_seconds) for plan in plans]

    with open_progress_display(len(job.keys)) as display:
        return await run_for_each_exchange(job, endpoints, database, display, plan)


def format_rough_duration(seconds: float) -> str:
    """Return a length of time as a text: `3 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
