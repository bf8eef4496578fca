"""One run of the backfiller: check what was asked for, fetch each series, say what was done."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from backfiller.commands.common import database_of
from backfiller.fetch import Summary, fetch_series
from backfiller.progress import shown_progress
from backfiller.settings import BackfillerSettings
from onetape.cli.dates import check_range, day_text, parse_moment
from onetape.cli.output import print_json, print_line, tell
from onetape.core.candles import SeriesKey
from onetape.core.errors import UsageError
from onetape.core.symbols import SIMULATOR_ID, spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.exchange.clients import Endpoint
from onetape.exchange.market_clock import simulator_seed
from onetape.exchange.rest import RestExchange, check_exchange
from onetape.store.candles import check_kind
from onetape.store.database import Store, open_if_exists, open_store
from onetape.store.market_data import save_market
from onetape.store.seed import hold_to_seed


def backfill_all(settings: BackfillerSettings, *, days: int | None, as_json: bool) -> None:
    """Fetch every series of the settings and print the summaries.

    Raises:
        OnetapeError: as its class says; what was stored before stays stored.
    """
    for exchange in settings.exchange:
        check_exchange(exchange)
    keys = series_of(settings)
    start = parse_moment(settings.from_, "--from")
    end = None if settings.to is None else parse_moment(settings.to, "--to")
    if days is None and end is not None:
        check_range(start, end)
    with ExitStack() as stack:
        path = database_of(settings.db, settings.exchange)
        # A file that exists is looked at before anything is asked for; a new one is made after.
        store = open_if_exists(path)
        if store is not None:
            check_kind(stack.enter_context(store), settings.exchange[0])
        summaries: list[Summary] = []
        for exchange in settings.exchange:
            endpoint = _endpoint(exchange, settings, stack)
            mine = [key for key in keys if key.exchange == exchange]
            job = _fetch(endpoint, mine, store, path, (start, end), days, stack)
            summaries += asyncio.run(job)
    if as_json:
        print_json({"database": path, "series": [summary.document() for summary in summaries]})
        return
    for summary in summaries:
        print_line(summary.line())
    print_line(f"database: {path}")


def series_of(settings: BackfillerSettings) -> list[SeriesKey]:
    """Return the series that the settings name.

    Raises:
        UsageError: a symbol or timeframe that cannot be read.
    """
    symbols = dict.fromkeys(spot_symbol(symbol) for symbol in settings.symbol)
    timeframes = dict.fromkeys(Timeframe.parse(name).name for name in settings.timeframe)
    return [
        SeriesKey(exchange, symbol, name)
        for exchange in dict.fromkeys(settings.exchange)
        for symbol in symbols
        for name in timeframes
    ]


def _endpoint(exchange: str, settings: BackfillerSettings, stack: ExitStack) -> Endpoint:
    if exchange != SIMULATOR_ID:
        return Endpoint(exchange)
    from onetape.simulator.embedded import find_or_start

    return Endpoint(SIMULATOR_ID, stack.enter_context(find_or_start(settings.simulator_url)))


async def _fetch(
    endpoint: Endpoint,
    keys: list[SeriesKey],
    store: Store | None,
    path: Path,
    wanted: tuple[int, int | None],
    days: int | None,
    stack: ExitStack,
) -> list[Summary]:
    summaries: list[Summary] = []
    tell(f"asking {endpoint.exchange} for its markets")
    async with RestExchange(endpoint) as exchange:
        for key in keys:
            exchange.check_timeframe(key.timeframe)
        markets = [await exchange.market(key.symbol) for key in keys]
        await exchange.compare_clocks()
        start, end = wanted
        if days is not None:
            # From midnight on, as in freqtrade, so that a day has all its candles.
            start, end = (exchange.now_ms() // 86_400_000 - days) * 86_400, None
        now = exchange.now_ms() // 1_000
        if start >= now:
            raise UsageError(
                f"--from {day_text(start)} lies in the future: it is {day_text(now)} UTC"
            )
        if store is None:
            store = stack.enter_context(open_store(path, create=True))
        seed = await asyncio.to_thread(simulator_seed, endpoint)
        if seed is not None:
            hold_to_seed(store, seed)
        for key, market in zip(keys, markets, strict=True):
            save_market(store, key.exchange, key.symbol, market.steps, exchange.now_ms())
            with shown_progress(str(key)) as progress:
                summaries.append(
                    await fetch_series(
                        exchange, store, key, start=start, end=end, progress=progress
                    )
                )
    return summaries
