"""The pager: closed candles of a range, page by page, by the times that come back.

Never by counts: a page may be short in the middle of history and full at a gap. Pages overlap by
one candle, so that a candle the exchange revised meanwhile is seen again. Each question moves on by
a candle at least, so that no exchange, whatever it answers, keeps the pager for ever.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import numpy as np

from onetape.core.candles import LATEST_TIMESTAMP, Candle, Candles, candle_faults
from onetape.core.clock import utc_text
from onetape.core.timeframes import Timeframe
from onetape.exchange.answers import Batch
from onetape.exchange.rest import RestExchange

_DAY: Final = Timeframe.parse("1d")
#: Empty pages in a row before days are asked for instead, where those are longer.
_EMPTY_PAGES: Final = 2


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, cut to the closed candles that were asked for."""

    candles: Candles
    """Sound ones, oldest first, each time once; empty where the exchange has nothing."""
    refused: dict[Candle, str]
    """Rows that break a rule, as far as they belong here or nowhere, with the exchange's text."""
    since: int
    """Everything that opens from here (epoch seconds) on ..."""
    reached: int
    """... and before this has been asked for."""
    newest: int | None = None
    """Open of the newest candle of the answer, be it forming or later than what was wanted."""

    @property
    def rows(self) -> list[Candle]:
        """All rows, the refused ones too, by time."""
        columns = (self.candles.open, self.candles.high, self.candles.low, self.candles.close)
        values = [column.tolist() for column in (*columns, self.candles.volume)]
        sound = map(Candle, self.candles.timestamp.tolist(), *values)
        return sorted([*self.refused, *sound], key=lambda row: row.timestamp)


def last_closed_open(timeframe: Timeframe, now_ms: int, grace_ms: int) -> int:
    """Return the open (epoch seconds) of the newest candle that is certain to be final."""
    forming = timeframe.floor((now_ms - grace_ms) // 1_000)
    return timeframe.shift(forming, -1)


async def closed_pages(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, *, start: int, end: int
) -> AsyncGenerator[Page]:
    """Yield the closed candles that open in `[start, end)`, epoch seconds, oldest first.

    Where the exchange serves its newest candles only, the first page begins with the oldest of
    them, and the exchange's note says from when on.

    Raises:
        ExchangeUnreachable: no usable answer until patience was used up; earlier pages stand.
        ExchangeRefused: the exchange answered no.
    """
    # Known from an earlier walk where the exchange serves its newest candles only.
    served_from = exchange.served_from.get((symbol, timeframe.name), start)
    cursor = timeframe.ceil(max(start, served_from))
    empty_pages, patience = 0, _EMPTY_PAGES
    while True:
        # The time is taken before asking: a candle that closes meanwhile may not be final yet.
        now_ms = exchange.now_ms()
        newest = last_closed_open(timeframe, now_ms, exchange.quirks.close_grace_ms)
        stop = min(end, timeframe.next(newest))
        if cursor >= stop:
            return
        batch, since = await _answer(exchange, symbol, timeframe, cursor, stop)
        # A time after the forming candle is a fault: following it would skip what lies between.
        forming = timeframe.floor(now_ms // 1_000)
        seen = _placed(batch, timeframe, cursor, forming)
        last = seen[-1] if seen else cursor
        reached = min(timeframe.next(last), stop)
        if last > cursor:
            empty_pages, patience = 0, _EMPTY_PAGES
            cursor = last
        elif exchange.quirks.finds_next or exchange.quirks.newest_only:
            # It would have sent a later candle, so there is none: the end of the data.
            reached = stop
        else:
            empty_pages += 1
            cursor = timeframe.shift(cursor, _limit(exchange, timeframe, cursor, stop))
            if empty_pages >= patience:
                ahead = await _next_day(exchange, symbol, timeframe, cursor, stop)
                # Where days show a candle that the pages do not, days are no help: ask less often.
                patience = patience if ahead > cursor else 2 * patience
                cursor, empty_pages = max(cursor, ahead), 0
            reached = min(cursor, stop)
        candles, refused = _cut(batch, timeframe, start, stop)
        yield Page(candles, refused, since, reached, last if seen else None)
        if reached >= stop:
            return


def _limit(exchange: RestExchange, timeframe: Timeframe, cursor: int, stop: int) -> int:
    """Return how many candles to ask for: one more than needed shows that history goes on."""
    return min(exchange.quirks.page_limit, timeframe.count_between(cursor, stop) + 1)


async def _answer(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, cursor: int, stop: int
) -> tuple[Batch, int]:
    """Ask for a page; return it, and from when on it holds everything that the exchange has."""
    limit = _limit(exchange, timeframe, cursor, stop)
    batch = await exchange.candles(symbol, timeframe.name, since_ms=cursor * 1_000, limit=limit)
    opens = _placed(batch, timeframe, cursor, stop)
    quirks = exchange.quirks
    if not opens or opens[0] == cursor or quirks.finds_next:
        return batch, cursor
    if quirks.newest_only is not None:
        if len(batch) < quirks.newest_only:
            return batch, cursor
        exchange.served_from[symbol, timeframe.name] = opens[0]
        exchange.note_once(
            f"{exchange.endpoint.exchange} serves its newest {quirks.newest_only:,} candles only: "
            f"{symbol} {timeframe.name} can be had from {utc_text(opens[0])} UTC on; what is "
            "before is not fetched",
            about=f"{symbol} {timeframe.name}",
        )
        return batch, opens[0]
    # A page's length from the cursor on, and its beginning is missing: a gap, or an exchange that
    # sends less than a page and keeps the newest. A question that ends there tells.
    while opens:
        missing = min(timeframe.count_between(cursor, opens[0]), quirks.page_limit)
        if not missing:
            break
        earlier = await exchange.candles(
            symbol, timeframe.name, since_ms=cursor * 1_000, limit=missing
        )
        opens = _placed(earlier, timeframe, cursor, opens[0] - 1)
        batch = earlier.joined(batch)
    return batch, cursor


async def first_open(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, *, start: int, end: int
) -> int | None:
    """Return the open of the first candle in `[start, end)`, epoch seconds, or None.

    One request where the exchange finds the next candle itself, else one for each page's length.

    Raises:
        ExchangeUnreachable: no usable answer until patience was used up.
        ExchangeRefused: the exchange answered no.
    """
    at, limit = timeframe.ceil(start), exchange.quirks.page_limit
    while at < end:
        found = exchange.quirks.finds_next
        batch = await exchange.candles(
            symbol, timeframe.name, since_ms=at * 1_000, limit=1 if found else limit
        )
        opens = batch.timestamp[(batch.timestamp >= at) & (batch.timestamp < end)]
        if opens.size or found:
            return int(opens.min()) if opens.size else None
        at = timeframe.shift(at, limit)
    return None


async def _next_day(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, cursor: int, stop: int
) -> int:
    """Return before which time no candle can come, asked for by days: `stop` where none comes."""
    if timeframe.seconds >= _DAY.seconds or not exchange.serves(_DAY.name):
        return cursor
    day = await first_open(exchange, symbol, _DAY, start=_DAY.floor(cursor), end=stop)
    # Days may open at another hour than ours: the one before may hold the first candle.
    return stop if day is None else max(cursor, timeframe.floor(day - _DAY.seconds))


def _placed(batch: Batch, timeframe: Timeframe, start: int, last: int) -> list[int]:
    """Return the opens of a batch in `[start, last]` that are on the grid, sorted."""
    times = batch.timestamp
    times = times[(times >= start) & (times <= last)]
    if times.size > 1 and not bool(np.all(times[1:] > times[:-1])):
        times = np.unique(times)
    return times[timeframe.is_open(times)].tolist()


def _cut(
    batch: Batch, timeframe: Timeframe, start: int, stop: int
) -> tuple[Candles, dict[Candle, str]]:
    """Return the sound candles of `[start, stop)`, and the rows that break a rule.

    Of two with one time the later in the answer counts. A row with a time that is none stays in,
    so that the quarantine sees it; a sound one outside the range was merely not asked for.
    """
    sent = batch.columns()
    faults = candle_faults(sent, timeframe)
    inside = (sent.timestamp >= start) & (sent.timestamp < stop)
    refused: dict[Candle, str] = {}
    for place in faults:
        time = int(sent.timestamp[place])
        if inside[place] or not 0 <= time <= LATEST_TIMESTAMP or timeframe.floor(time) != time:
            refused[batch.candle(place)] = batch.text(place)
        inside[place] = False
    places = np.flatnonzero(inside)
    times = sent.timestamp[places]
    if times.size > 1 and not bool(np.all(times[1:] > times[:-1])):
        # Backwards, because `unique` keeps the first of equals.
        _, first = np.unique(times[::-1], return_index=True)
        places = places[times.size - 1 - first]
    return batch.columns(places), refused
