"""One round: all series of a job, side by side, each exchange within its own limits.

The failure of one series does not stop the others. An unusable database stops all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from backfiller.backfill_job import BackfillJob
from backfiller.progress import ProgressDisplay
from backfiller.run_database import RunDatabase
from backfiller.series_fetch import SeriesFailure, Summary, fetch_series
from onetape.cli.stop import cancel_and_wait
from onetape.core.candles import SeriesKey
from onetape.core.errors import ExchangeError, RowsRefused, UsageError
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import fetch_simulator_info
from onetape.exchange.rest import MarketInfo, RestExchange
from onetape.store.database import Store
from onetape.store.market_data import save_trading_rules
from onetape.store.simulated_source import require_source

#: Series of one exchange that are fetched at once; its requests queue for CCXT's limits.
SERIES_AT_ONCE: Final = 4

T = TypeVar("T")
Outcome = Summary | SeriesFailure
#: Errors that concern one series: others may have another symbol, or another exchange.
_OWN_FAULT: Final = (ExchangeError, UsageError, RowsRefused)


class Ready(Struct, frozen=True):
    """An exchange that responded, and the requested series that it has."""

    exchange: RestExchange
    keys: list[SeriesKey]
    markets: list[MarketInfo]
    start: int
    end: int | None


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

    async def fetch(ready: Ready) -> list[Outcome]:
        return await _fetch_exchange(ready, endpoints, database, display)

    return await run_for_each_exchange(job, endpoints, database, display, fetch)


async def run_for_each_exchange(
    job: BackfillJob,
    endpoints: Mapping[str, Endpoint],
    database: RunDatabase,
    display: ProgressDisplay,
    work: Callable[[Ready], Awaitable[Sequence[T]]],
) -> list[T | SeriesFailure]:
    """Open every exchange of a job, side by side, and run work for each series of the exchange.

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
        except _OWN_FAULT as error:
            return [report_failure(key, error, display) for key in keys]

    found = await gather_or_cancel(run_exchange(exchange) for exchange in job.exchanges)
    return [outcome for outcomes in found for outcome in outcomes]


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all coroutines; the first error cancels the others and is raised."""
    tasks = [asyncio.create_task(one) for one in work]
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
    """Print once why a series is not served, and return the error."""
    display.show_failure(str(error))
    return SeriesFailure(key, error)


async def _prepare(
    job: BackfillJob, exchange: RestExchange, keys: list[SeriesKey], display: ProgressDisplay
) -> tuple[Ready, dict[SeriesKey, SeriesFailure]]:
    """Load the markets and the time; separate the series that the exchange does not have."""
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
            display.note_once(f"{key.exchange} does not trade {key.symbol} now; its past is there")
    start, end = 0, None
    if markets:
        await exchange.compare_clocks()
        start, end = job.compute_range(exchange)
    return Ready(exchange, list(markets), list(markets.values()), start, end), failures


async def _fetch_exchange(
    ready: Ready, endpoints: Mapping[str, Endpoint], database: RunDatabase, display: ProgressDisplay
) -> list[Outcome]:
    exchange, store = ready.exchange, database.get_or_open_store()
    await check_source(endpoints[exchange.endpoint.exchange], store)
    turns = asyncio.Semaphore(SERIES_AT_ONCE)

    async def fetch_one_series(key: SeriesKey, market: MarketInfo) -> Outcome:
        async with turns:
            save_trading_rules(
                store, key.exchange, key.symbol, market.trading_rules, exchange.now_ms()
            )
            try:
                with display.track_series(str(key)) as progress:
                    return await fetch_series(
                        exchange, store, key, start=ready.start, end=ready.end, progress=progress
                    )
            except _OWN_FAULT as error:
                return report_failure(key, error, display)

    return await gather_or_cancel(
        fetch_one_series(key, market) for key, market in zip(ready.keys, ready.markets, strict=True)
    )


async def check_source(endpoint: Endpoint, store: Store) -> None:
    """Refuse candles of another simulated market than the file holds.

    Raises:
        StoreError: the simulator has another seed, or replays other candles.
    """
    simulated = await asyncio.to_thread(fetch_simulator_info, endpoint)
    if simulated is not None:
        require_source(store, simulated.source)
