"""Larger candles for a strategy that asks for them, as the backtester gives them.

Those of the past come over REST with the warm-up. Those that end while the trader runs are built
from the traded candles, because no exchange has them at the moment of their end, and stored: who
backtests the tape later sees the very candles that were decided on.
"""

from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.clock import utc_text
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.higher import LargerCandles, keep_built, larger_between
from onetape.strategies import (
    Higher,
    HigherCandles,
    beside,
    higher_lookback_of,
    higher_timeframes_of,
)
from trader.job import LEAST_CANDLES, Job


def larger_candles(job: Job, candles: Candles, *, seen_ms: int) -> tuple[Higher, str | None]:
    """Return the larger candles beside these ones, and in words what is missing of them.

    Args:
        job: What is traded.
        candles: The window that the strategy is given.
        seen_ms: Market time, epoch milliseconds.

    Raises:
        StoreError: the file cannot be read, or what was built cannot be written.
    """
    found: dict[str, HigherCandles] = {}
    missing: str | None = None
    for larger in higher_timeframes_of(job.strategy, job.timeframe):
        start = _first_needed(job, larger, int(candles.timestamp[0]))
        end = job.timeframe.next(int(candles.timestamp[-1]))
        known = larger_between(job.store, job.key, larger, start, end)
        keep_built(job.store, known, seen_ms=seen_ms)
        found[larger.name] = beside(candles, job.timeframe, known.candles, larger)
        missing = missing or _missing(known, larger)
    return found, missing


async def warm_up_larger(job: Job, exchange: RestExchange, end: int) -> None:
    """Fetch the closed larger candles that the strategy needs.

    Args:
        job: What is traded.
        exchange: Where they come from.
        end: Open of the newest traded candle, epoch seconds.

    Raises:
        ExchangeUnreachable: no usable answer.
        ExchangeRefused: the exchange has no candles of that length.
    """
    for larger in higher_timeframes_of(job.strategy, job.timeframe):
        exchange.check_timeframe(larger.name)
        key = replace(job.key, timeframe=larger.name)
        first_open = job.timeframe.shift(end, 1 - job.window)
        start = _first_needed(job, larger, first_open)
        # The one that is under way, and whatever REST is late with, are made of traded candles.
        stop = larger.floor(end)
        await fetch_closed(exchange, job.store, key, start=start, end=stop)
        await confirm_gaps(exchange, job.store, key, start=start, end=stop)


def first_traded(job: Job, newest: int) -> int:
    """Return the first traded candle of the larger ones that are under way, epoch seconds.

    Args:
        job: What is traded.
        newest: Open of the newest traded candle, epoch seconds.
    """
    larger = higher_timeframes_of(job.strategy, job.timeframe)
    return min([newest, *(timeframe.floor(newest) for timeframe in larger)])


def _first_needed(job: Job, larger: Timeframe, first_open: int) -> int:
    count = max(LEAST_CANDLES, higher_lookback_of(job.strategy))
    return max(0, larger.shift(first_open, -count))


def _missing(known: LargerCandles, larger: Timeframe) -> str | None:
    """Return what is missing behind the first candle that is known: before it the market is new."""
    if not len(known.candles):
        return f"no {larger.name} candle is known yet"
    first = int(known.candles.timestamp[0])
    holes = [hole for hole in known.missing if hole[0] > first]
    return f"{larger.name} candles missing from {utc_text(holes[0][0])}" if holes else None
