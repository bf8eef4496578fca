"""Fetch the closed candles of a range from an exchange, page by page.

A page is one response. The next request begins at the last time of the page before, whatever the
number of its rows: a page may be short in the middle of history and full next to a gap. Pages
overlap by one candle, so that a candle that the exchange has revised meanwhile is read again. Each
request advances by at least one candle, so that the paging always ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import LATEST_TIMESTAMP, Candle, Candles, find_candle_faults
from onetape.core.clock import format_utc
from onetape.core.errors import ExchangeUnreachable
from onetape.core.timeframes import Timeframe
from onetape.exchange.responses import CandleBatch
from onetape.exchange.rest import RestExchange

_DAY: Final = Timeframe.parse("1d")
#: Number of empty pages in a row after which daily candles are requested, to skip the empty time.
_EMPTY_PAGES: Final = 2
#: Number of pages in a row without a candle after the requested time that are an error.
STUCK_PAGES: Final = 3
#: Number of turns of the event loop after which CCXT has sent the next request.
_TURNS: Final = 3


class Page(Struct, frozen=True):
    """One response, reduced to the closed candles that were requested."""

    candles: Candles
    """Valid candles, oldest first, each open once; empty: the exchange has none."""
    refused: dict[Candle, str]
    """Invalid rows of this range or without a valid time, each with the exchange's text."""
    since: int
    """Start of the range that this request covers, epoch seconds, inclusive."""
    covered_until: int
    """End of the range that this request covers, epoch seconds, exclusive."""
    requested_ms: int
    """Market time of the request, epoch milliseconds."""
    opens: Sequence[int] = ()
    """Opens of all rows from the requested time on, with that of the forming candle."""

    @property
    def rows(self) -> list[Candle]:
        """All rows, valid and refused, sorted by time."""
        columns = (self.candles.open, self.candles.high, self.candles.low, self.candles.close)
        values = [column.tolist() for column in (*columns, self.candles.volume)]
        sound = map(Candle, self.candles.timestamp.tolist(), *values)
        return sorted([*self.refused, *sound], key=lambda row: row.timestamp)


def compute_last_closed_open(timeframe: Timeframe, now_ms: int, grace_ms: int) -> int:
    """Return the open of the newest candle that is certain to be final, epoch seconds.

    Args:
        timeframe: Timeframe of the candles.
        now_ms: Market time, epoch milliseconds.
        grace_ms: Time after the end of a candle in which its value may still change, milliseconds.
    """
    forming = timeframe.floor((now_ms - grace_ms) // 1_000)
    return timeframe.shift(forming, -1)


async def iterate_closed_pages(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, *, start: int, end: int
) -> AsyncGenerator[Page]:
    """Yield the closed candles that open in `[start, end)`, epoch seconds, oldest first.

    The next page is requested while the caller uses the present one, so close the generator
    (`contextlib.aclosing`) if it may be left early. If the exchange serves only its newest candles,
    the first page begins with the oldest of them, and a note states its time.

    Raises:
        ExchangeUnreachable: no usable response within the time for retries, or several pages
            without a candle later than the requested time; earlier pages stay valid.
        ExchangeRefused: the exchange refused the request.
    """
    paginator = _Paginator(exchange, symbol, timeframe, start, end)
    coming = asyncio.create_task(paginator.fetch_next_page())
    try:
        while (page := await coming) is not None:
            coming = asyncio.create_task(paginator.fetch_next_page())
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


class _Paginator:
    """State of a paged fetch: its position (`_cursor`) and its end. Times are epoch seconds."""

    def __init__(
        self, exchange: RestExchange, symbol: str, timeframe: Timeframe, start: int, end: int
    ) -> None:
        self._exchange = exchange
        self._quirks = exchange.quirks
        self._symbol = symbol
        self._timeframe = timeframe
        self._start = start
        self._end = end
        # The time of the oldest candle, known from an earlier fetch, if only the newest are served.
        served_from = exchange.served_from.get((symbol, timeframe.name), start)
        self._cursor = timeframe.ceil(max(start, served_from))
        self._now_ms = exchange.now_ms()
        self._empty_pages = 0
        self._stuck_pages = 0
        self._is_at_row = False
        self._most_empty_pages = _EMPTY_PAGES

    async def fetch_next_page(self) -> Page | None:
        """Request the next page and move the position; None: the end is reached."""
        now_ms = self._get_market_ms()
        newest = compute_last_closed_open(self._timeframe, now_ms, self._quirks.close_grace_ms)
        stop = min(self._end, self._timeframe.next(newest))
        if self._cursor >= stop:
            return None
        batch, since = await self._fetch_page(stop)
        # A time after the forming candle is a fault, and would skip the candles before it.
        seen = _collect_placed_opens(
            batch, self._timeframe, self._cursor, self._timeframe.floor(now_ms // 1_000)
        )
        covered_until = min(await self._move_cursor(batch, seen, stop), stop)
        if covered_until >= stop:
            self._cursor = self._end
        candles, refused = _separate_refused(batch, self._timeframe, self._start, stop)
        return Page(candles, refused, since, covered_until, now_ms, seen)

    def _get_market_ms(self) -> int:
        """Return the market time before the request: a candle that closes later may not be final.

        Far from the newest candle an older time is good enough, and reading the time takes time.
        """
        page_end = self._timeframe.shift(self._cursor, self._quirks.page_limit + 1)
        if page_end * 1_000 > self._now_ms - self._quirks.close_grace_ms:
            self._now_ms = self._exchange.now_ms()
        return self._now_ms

    async def _move_cursor(self, batch: CandleBatch, seen: list[int], stop: int) -> int:
        """Move the cursor by at least a candle; return the time up to which all was requested.

        Raises:
            ExchangeUnreachable: several pages had no candle later than the requested time.
        """
        if seen and seen[-1] > self._cursor:
            self._empty_pages, self._most_empty_pages, self._stuck_pages = 0, _EMPTY_PAGES, 0
            self._cursor, self._is_at_row = seen[-1], True
            return self._timeframe.next(self._cursor)
        if self._quirks.newest_only:
            return stop
        is_at_row, self._is_at_row = self._is_at_row, False
        rows = batch.timestamp[(batch.timestamp >= 0) & (batch.timestamp <= self._cursor)]
        # A page with only the last row of the page before is like an empty page.
        if rows.size and not (is_at_row and int(rows.min()) == self._cursor):
            self._check_stuck(int(rows.max()))
        elif not self._quirks.finds_next:
            return await self._skip_empty_page(stop)
        elif rows.size or self._stuck_pages or self._empty_pages:
            # The exchange would have returned a later candle if it had one.
            return stop
        else:
            self._empty_pages += 1
        self._cursor = self._timeframe.next(self._cursor)
        return self._cursor

    def _check_stuck(self, newest: int) -> None:
        """Count a page without a row later than the requested time.

        Raises:
            ExchangeUnreachable: `STUCK_PAGES` such pages came in a row.
        """
        self._stuck_pages += 1
        if self._stuck_pages >= STUCK_PAGES:
            name = self._exchange.endpoint.exchange
            raise ExchangeUnreachable(
                f"{name} sent {self._stuck_pages} pages in a row with no {self._timeframe.name} "
                f"candle of {self._symbol} later than the requested time (newest: "
                f"{format_utc(newest)} UTC); what came before is stored, try again later"
            )

    async def _skip_empty_page(self, stop: int) -> int:
        """Move the cursor past an empty page; return the time up to which all was requested."""
        self._stuck_pages = 0
        self._empty_pages += 1
        self._cursor = self._timeframe.shift(self._cursor, self._compute_limit(stop))
        if self._empty_pages >= self._most_empty_pages:
            ahead = await self._fetch_next_day(stop)
            # If the days show a candle that the pages lack, they do not help: request them rarely.
            self._most_empty_pages *= 1 if ahead > self._cursor else 2
            self._cursor, self._empty_pages = max(self._cursor, ahead), 0
        return self._cursor

    def _compute_limit(self, stop: int) -> int:
        """Return the number of candles to request: one more than needed, to see if more follow."""
        return min(self._quirks.page_limit, self._timeframe.count_between(self._cursor, stop) + 1)

    async def _fetch_batch(self, limit: int) -> CandleBatch:
        return await self._exchange.fetch_candles(
            self._symbol, self._timeframe.name, since_ms=self._cursor * 1_000, limit=limit
        )

    async def _fetch_page(self, stop: int) -> tuple[CandleBatch, int]:
        """Request a page; return it, and the time from which it has every candle that exists."""
        cursor, timeframe = self._cursor, self._timeframe
        batch = await self._fetch_batch(self._compute_limit(stop))
        opens = _collect_placed_opens(batch, timeframe, cursor, stop)
        if not opens or opens[0] == cursor or self._quirks.finds_next:
            return batch, cursor
        if self._quirks.newest_only is not None:
            if len(batch) < self._quirks.newest_only:
                return batch, cursor
            self._note_served_from(opens[0])
            return batch, opens[0]
        # The first candles are missing: a gap, or the exchange returned fewer candles than
        # requested and left out the oldest. Requests for the missing part show which it is.
        while opens:
            missing = min(timeframe.count_between(cursor, opens[0]), self._quirks.page_limit)
            if not missing:
                break
            earlier = await self._fetch_batch(missing)
            opens = _collect_placed_opens(earlier, timeframe, cursor, opens[0] - 1)
            batch = earlier.concat(batch)
        return batch, cursor

    def _note_served_from(self, first: int) -> None:
        """Record the first candle that the exchange serves, and print a note once."""
        name = self._timeframe.name
        self._exchange.served_from[self._symbol, name] = first
        self._exchange.note_once(
            f"{self._exchange.endpoint.exchange} serves its newest {self._quirks.newest_only:,} "
            f"candles only: {self._symbol} {name} can be had from {format_utc(first)} UTC on; what "
            "is before is not fetched",
            about=f"{self._symbol} {name}",
        )

    async def _fetch_next_day(self, stop: int) -> int:
        """Return a time before which no candle exists, found with daily candles; at most `stop`."""
        if self._timeframe.seconds >= _DAY.seconds or not self._exchange.has_timeframe(_DAY.name):
            return self._cursor
        start = _DAY.floor(self._cursor)
        day = await fetch_first_open(self._exchange, self._symbol, _DAY, start=start, end=stop)
        # The exchange's days may not open at 00:00 UTC, so the first candle may be on the day
        # before.
        before = stop if day is None else self._timeframe.floor(day - _DAY.seconds)
        return max(self._cursor, before)


async def fetch_first_open(
    exchange: RestExchange, symbol: str, timeframe: Timeframe, *, start: int, end: int
) -> int | None:
    """Return the open of the first candle in `[start, end)`, epoch seconds; None: no candle.

    One request is enough if the exchange finds the next candle itself (`Quirks.finds_next`);
    otherwise one request is sent for each page's length.

    Raises:
        ExchangeUnreachable: no usable response within the time for retries.
        ExchangeRefused: the exchange refused the request.
    """
    at, limit = timeframe.ceil(start), exchange.quirks.page_limit
    while at < end:
        found = exchange.quirks.finds_next
        batch = await exchange.fetch_candles(
            symbol, timeframe.name, since_ms=at * 1_000, limit=1 if found else limit
        )
        opens = batch.timestamp[(batch.timestamp >= at) & (batch.timestamp < end)]
        if opens.size or found:
            return int(opens.min()) if opens.size else None
        at = timeframe.shift(at, limit)
    return None


def _collect_placed_opens(
    batch: CandleBatch, timeframe: Timeframe, start: int, last: int
) -> list[int]:
    """Return the opens of a batch in `[start, last]` that are on the grid, sorted."""
    times = batch.timestamp
    times = times[(times >= start) & (times <= last)]
    if times.size > 1 and not bool(np.all(times[1:] > times[:-1])):
        times = np.unique(times)
    return times[timeframe.is_open(times)].tolist()


def _separate_refused(
    batch: CandleBatch, timeframe: Timeframe, start: int, stop: int
) -> tuple[Candles, dict[Candle, str]]:
    """Return the sound candles of `[start, stop)`, and the unsound rows with the exchange's text.

    Of two rows with the same time, the later one in the response is returned. A row with an invalid
    time is returned as unsound; a row with a valid time outside the range is left out.
    """
    sent = batch.make_columns()
    faults = find_candle_faults(sent, timeframe)
    inside = (sent.timestamp >= start) & (sent.timestamp < stop)
    refused: dict[Candle, str] = {}
    for row in faults:
        time = int(sent.timestamp[row])
        if inside[row] or not 0 <= time <= LATEST_TIMESTAMP or timeframe.floor(time) != time:
            refused[batch.make_candle(row)] = batch.format_raw_candle(row)
        inside[row] = False
    rows = np.flatnonzero(inside)
    times = sent.timestamp[rows]
    if times.size > 1 and not bool(np.all(times[1:] > times[:-1])):
        # Reversed, because `unique` returns the first of equal times.
        _, first = np.unique(times[::-1], return_index=True)
        rows = rows[times.size - 1 - first]
    return batch.make_columns(rows), refused
