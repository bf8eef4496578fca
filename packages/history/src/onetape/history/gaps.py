"""The second question: what is missing twice while the exchange goes on, it does not have."""

from dataclasses import dataclass, field

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.store.candles import first_row_after, missing_between
from onetape.store.database import Store
from onetape.store.gaps import CONFIRMED, NOT_FETCHED, set_gap, unexplained

Range = tuple[int, int]


@dataclass(slots=True)
class _Second:
    """What the second answers say. Times are epoch seconds."""

    timeframe: Timeframe
    asked: list[Range] = field(default_factory=list[Range])
    newest: int = -1
    refused: list[int] = field(default_factory=list[int])

    def see(self, page: Page) -> None:
        """Take a page."""
        self.asked.append((page.since, page.reached))
        self.newest = max(self.newest, page.newest or -1)
        self.refused += [row.timestamp for row in page.refused]

    def covers(self, start: int, end: int) -> bool:
        """Return whether everything in `[start, end)` was asked for."""
        cursor = start
        for since, reached in sorted(self.asked):
            if since <= cursor:
                cursor = max(cursor, reached)
        return cursor >= end

    def is_sound(self, start: int, end: int) -> bool:
        """Return whether no refused row may be one of `[start, end)`; a bad time may be any."""
        return not any(
            start <= time < end or time < 0 or self.timeframe.floor(time) != time
            for time in self.refused
        )


async def confirm_gaps(
    exchange: RestExchange, store: Store, key: SeriesKey, *, start: int, end: int
) -> FetchReport:
    """Ask once more for what is missing in `[start, end)`, which must have been asked for already.

    Holes that one page reaches across are asked for together. What is missing twice while the
    exchange has a later candle, it does not have at all: the gap ledger keeps it, with the date.
    Without a later candle the exchange may merely lag, and a row that went to quarantine may come
    back sound: such a gap stays "not fetched", with the date, and is asked for again.

    Raises:
        ExchangeUnreachable: the exchange stopped answering; nothing unproven was written down.
        ExchangeRefused: the exchange answered no.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    timeframe = Timeframe.parse(key.timeframe)
    holes = unexplained(store, key, missing_between(store, key, start, end))
    for group in grouped(holes, timeframe, exchange.quirks.page_limit):
        first, last = group[0][0], group[-1][1]
        second = _Second(timeframe)
        # With the candle before, so that a page which begins late is told from a gap.
        total = total.plus(
            await fetch_closed(
                exchange,
                store,
                key,
                start=timeframe.shift(first, -1),
                end=last,
                on_page=second.see,
            )
        )
        if not second.asked:
            continue  # it lies before everything that the exchange serves
        asked_ms = exchange.now_ms()
        left = missing_between(store, key, first, last)
        for hole in unexplained(store, key, left):
            proven = await _is_proven(exchange, store, key, hole, second)
            state = CONFIRMED if proven else NOT_FETCHED
            set_gap(store, key, *hole, state=state, asked_ms=asked_ms)
    return total


def grouped(holes: list[Range], timeframe: Timeframe, page_limit: int) -> list[list[Range]]:
    """Return the holes (sorted) in groups that one page reaches across."""
    groups: list[list[Range]] = []
    for start, end in holes:
        # A page also has the candle before the first hole and the one after the last.
        if groups and timeframe.count_between(groups[-1][0][0], end) <= page_limit - 2:
            groups[-1].append((start, end))
        else:
            groups.append([(start, end)])
    return groups


async def _is_proven(
    exchange: RestExchange, store: Store, key: SeriesKey, hole: Range, second: _Second
) -> bool:
    """Return whether two answers prove that the exchange has nothing in a hole."""
    if not second.covers(*hole) or not second.is_sound(*hole):
        return False
    return second.newest >= hole[1] or await _goes_on_after(exchange, store, key, hole[1])


async def _goes_on_after(
    exchange: RestExchange, store: Store, key: SeriesKey, timestamp: int
) -> bool:
    """Return whether the exchange has a candle, be it the forming one, at or after a time."""
    if first_row_after(store, key, timestamp - 1) is not None:
        return True
    batch = await exchange.candles(key.symbol, key.timeframe, since_ms=timestamp * 1_000, limit=1)
    return bool((batch.timestamp >= timestamp).any())
