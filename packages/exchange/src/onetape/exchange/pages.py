"""The pager: closed candles of a range, page by page, by the times that come back.

Never by counts: a page may be short in the middle of history and full at a gap. Pages overlap by
one candle, so that a candle the exchange revised meanwhile is seen again.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from onetape.core.candles import Candle
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, cut to the closed candles that were asked for."""

    rows: list[Candle]
    """Oldest first; empty over a stretch where the exchange has nothing."""
    reached: int
    """Everything that opens before this (epoch seconds) has been asked for."""


def last_closed_open(timeframe: Timeframe, now_ms: int, grace_ms: int) -> int:
    """Return the open (epoch seconds) of the newest candle that is certain to be final."""
    forming = timeframe.floor((now_ms - grace_ms) // 1_000)
    return timeframe.shift(forming, -1)


async def closed_pages(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, *, start: int, end: int
) -> AsyncGenerator[Page]:
    """Yield the closed candles that open in `[start, end)`, epoch seconds, oldest first.

    Raises:
        ExchangeUnreachable: no usable answer, after several attempts; earlier pages stand.
        ExchangeRefused: the exchange answered no.
    """
    limit = exchange.quirks.page_limit
    cursor = timeframe.ceil(start)
    while cursor < end:
        # The time is taken before asking: a candle that closes meanwhile may not be final yet.
        newest = last_closed_open(timeframe, exchange.now_ms(), exchange.quirks.close_grace_ms)
        stop = min(end, timeframe.next(newest))
        if cursor >= stop:
            return
        answer = await exchange.candles(
            symbol, timeframe.name, since_ms=cursor * 1_000, limit=limit
        )
        # A time that cannot be read stays in, so that the store's quarantine sees it.
        rows = sorted(row for row in answer if start <= row.timestamp < stop or row.timestamp < 0)
        # A time after the forming candle is a fault: following it would skip what lies between.
        forming = timeframe.floor(exchange.now_ms() // 1_000)
        last = max((row.timestamp for row in answer if row.timestamp <= forming), default=cursor)
        # Nothing beyond the overlap: step over an empty stretch by what a page could have held.
        moved = last > cursor
        cursor = last if moved else timeframe.shift(cursor, limit)
        reached = min(timeframe.next(last) if moved else cursor, stop)
        yield Page(rows, reached)
        if reached >= stop:
            return
