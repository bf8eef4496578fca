"""Fetch all series of a job once, concurrently, with one connection for each exchange.

The failure of one series does not stop the others; an unusable database stops all. `--plan` and
`repair` use the same functions for opening the exchanges.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from backfiller.backfill_job import BackfillJob
from backfiller.progress import ProgressDisplay
from backfiller.run_database import RunDatabase
from backfiller.series_fetch import FetchSummary, SeriesFailure, fetch_series
from onetape.cli.stop import cancel_and_wait
from onetape.core.candles import SeriesKey
from onetape.core.errors import ExchangeError, RowsRefused, UsageError
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import fetch_simulator_info
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.store.database import Store
from onetape.store.market_data import save_trading_rules
from onetape.store.simulated_source import ensure_simulated_source

#: Number of series of one exchange that are fetched at once; CCXT delays requests over its limits.
SERIES_AT_ONCE: Final = 4

T = TypeVar("T")
#: Result of fetching one series.
Outcome = FetchSummary | SeriesFailure
#: Errors that concern one series or one exchange, so that the other ones are still fetched.
_SERIES_ERRORS: Final = (ExchangeError, UsageError, RowsRefused)


class ReadyExchange(Struct, frozen=True):
    """An exchange that responded, and the requested series that it has."""

    exchange: RestExchange
    keys: list[SeriesKey]
    markets: list[MarketInfo]
    """Market of each series, in the order of `keys`."""
    start: int
    """Start of the range to fetch, epoch seconds."""
    end: int | None
    """End of the range, epoch seconds, exclusive; None: the newest closed candle."""


async def fetch_all(
    job: BackfillJob,
    endpoints: Mapping[str, Endpoint],
    database: RunDatabase,
    display: ProgressDisplay,
) -> list[Outcome]:
    """Fetch every series of a job; return the result of each, in the job's order.

    Raises:
        DataError: the database cannot be used; candles that were stored stay.
        ConfigurationError: the database cannot be created.
    """

    async def fetch(ready: ReadyExchange) -> list[Outcome]:
        return await _fetch_exchange(ready, endpoints, database, display)

    return await run_for_each_exchange(job, endpoints, database, display, fetch)


async def run_for_each_exchange(
    job: BackfillJob,
    endpoints: Mapping[str, Endpoint],
    database: RunDatabase,
    display: ProgressDisplay,
    work: Callable[[ReadyExchange], Awaitable[Sequence[T]]],
) -> list[T | SeriesFailure]:
    """Open every exchange of a job, concurrently, and await `work` for each one that responds.

    Args:
        job: The series.
        endpoints: Endpoint of each exchange, by its id.
        database: Its rate limit bans are shared with the exchanges.
        display: Shows notes and failures.
        work: Called with an exchange; returns the result of each of its `keys`, in their order.

    Returns:
        The result of the work for each series, or the error that prevented it, in the job's order.
    """

    async def run_exchange(exchange: str) -> list[T | SeriesFailure]:
        keys = job.get_exchange_keys(exchange)
        try:
            async with RestExchange(
                endpoints[exchange], retry_seconds=job.retry_seconds, note=display.note
            ) as rest:
                database.share_rate_limit_bans(rest)
                display.show_line(f"loading the markets of {exchange}")
                ready, failures = await _prepare(job, rest, keys, display)
                if not ready.keys:
                    return [failures[key] for key in keys]
                done = dict(zip(ready.keys, await work(ready), strict=True))
                return [done[key] if key in done else failures[key] for key in keys]
        except _SERIES_ERRORS as error:
            return [report_failure(key, error, display) for key in keys]

    found = await gather_or_cancel(run_exchange(exchange) for exchange in job.exchanges)
    return [outcome for outcomes in found for outcome in outcomes]


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all coroutines; the first error cancels the others and is raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        broken = [task for task in tasks if task.done() and not task.cancelled()]
        for task in broken:
            task.result()
        return [task.result() for task in tasks]
    finally:
        await cancel_and_wait(*tasks)


def report_failure(
    key: SeriesKey, error: ExchangeError | UsageError | RowsRefused, display: ProgressDisplay
) -> SeriesFailure:
    """Show the reason why a series failed, once for all series, and return the failure."""
    display.show_failure(str(error))
    return SeriesFailure(key, error)


async def _prepare(
    job: BackfillJob, exchange: RestExchange, keys: list[SeriesKey], display: ProgressDisplay
) -> tuple[ReadyExchange, dict[SeriesKey, SeriesFailure]]:
    """Load markets and time of an exchange; return it with its series, and the failed series.

    A series fails if the exchange does not have its symbol or timeframe.
    """
    failures: dict[SeriesKey, SeriesFailure] = {}
    markets: dict[SeriesKey, MarketInfo] = {}
    for key in keys:
        try:
            exchange.check_timeframe(key.timeframe)
            markets[key] = await exchange.fetch_market(key.symbol)
        except UsageError as error:
            failures[key] = report_failure(key, error, display)
            continue
        if not markets[key].active:
            display.note_once(
                f"{key.exchange} does not trade {key.symbol} now; its past candles can be fetched"
            )
    start, end = 0, None
    if markets:
        await exchange.compare_clocks()
        start, end = job.compute_range(exchange)
    return ReadyExchange(exchange, list(markets), list(markets.values()), start, end), failures


async def _fetch_exchange(
    ready: ReadyExchange,
    endpoints: Mapping[str, Endpoint],
    database: RunDatabase,
    display: ProgressDisplay,
) -> list[Outcome]:
    """Fetch the series of one exchange, `SERIES_AT_ONCE` at a time; store its trading rules too."""
    exchange, store = ready.exchange, database.get_or_open_store()
    await check_source(endpoints[exchange.endpoint.exchange], store)
    free_slots = asyncio.Semaphore(SERIES_AT_ONCE)

    async def fetch_one_series(key: SeriesKey, market: MarketInfo) -> Outcome:
        async with free_slots:
            save_trading_rules(
                store, key.exchange, key.symbol, market.trading_rules, exchange.now_ms()
            )
            try:
                with display.track_series(str(key)) as progress:
                    return await fetch_series(
                        exchange, store, key, start=ready.start, end=ready.end, progress=progress
                    )
            except _SERIES_ERRORS as error:
                return report_failure(key, error, display)

    return await gather_or_cancel(
        fetch_one_series(key, market) for key, market in zip(ready.keys, ready.markets, strict=True)
    )


async def check_source(endpoint: Endpoint, store: Store) -> None:
    """Refuse a simulator whose candles differ from those of the file; other exchanges pass.

    The first simulator is recorded in the database.

    Raises:
        StoreError: the simulator has another seed, or replays other candles.
    """
    simulated = await asyncio.to_thread(fetch_simulator_info, endpoint)
    if simulated is not None:
        ensure_simulated_source(store, simulated.source)
