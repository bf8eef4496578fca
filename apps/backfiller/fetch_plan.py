"""Plan of the requests for one series: the missing ranges, and the newest candles again."""

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from onetape.core.candles import SeriesKey
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.quirks import Quirks
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import compute_last_closed_open
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import find_reread_start
from onetape.store.candles import find_series_gaps, read_last_closed_timestamp
from onetape.store.database import Store
from onetape.store.gaps import find_unexplained

Range = tuple[int, int]


class FetchPlan(Struct, frozen=True):
    """Requests of one series. Times are epoch seconds, ranges half-open."""

    key: SeriesKey
    start: int
    """Open of the first requested candle, epoch seconds."""
    end: int
    """End of the range: after the newest closed candle, or the requested end, epoch seconds."""
    ranges: list[Range]
    """Half-open ranges to fetch, epoch seconds, oldest first, without overlaps."""
    candles: int
    """Candle times in the ranges, with those of stored candles that are read again."""
    pages: int
    """Estimated number of requests."""

    def make_document(self) -> dict[str, Any]:
        """Return the plan for --json."""
        document = asdict(self)
        document.update(asdict(document.pop("key")))
        return document

    def format_line(self) -> str:
        """Return the plan in one line."""
        first = [f"{format_utc(low)} to {format_utc(high)}" for low, high in self.ranges[:3]]
        more = len(self.ranges) - len(first)
        ranges = ", ".join(first) + (f" and {more:,} more ranges" if more else "")
        if not ranges:
            return f"{self.key}: nothing"
        return f"{self.key}: {format_count(self.candles, 'candle')}: {ranges} UTC"


def plan_series(
    exchange: RestExchange, store: Store | None, key: SeriesKey, *, start: int, end: int | None
) -> FetchPlan:
    """Return the requests after which the store holds the closed candles of a range.

    Args:
        exchange: Gives the time and the page size; only of a simulator the time is requested.
        store: The candle store; None: the file does not exist yet.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: Epoch seconds, exclusive; None: the newest closed candle.
    """
    timeframe = Timeframe.parse(key.timeframe)
    newest = compute_last_closed_open(timeframe, exchange.now_ms(), exchange.quirks.close_grace_ms)
    stop = timeframe.next(newest) if end is None else min(end, timeframe.next(newest))
    first = timeframe.ceil(start)
    stop = max(stop, first)  # A range in which no candle opens is empty: its end equals its start.
    if store is None:
        wanted = [(first, stop)] if first < stop else []
    else:
        gaps = find_unexplained(store, key, find_series_gaps(store, key, start, stop))
        wanted = sorted([*gaps, *_find_ranges_to_reread(store, key, first, stop)])
    ranges = join_ranges(wanted, timeframe, exchange.quirks.page_limit)
    candles = sum(timeframe.count_between(*part) for part in ranges)
    pages = sum(
        _count_pages_for_quirks(timeframe.count_between(*part), exchange.quirks) for part in ranges
    )
    return FetchPlan(key, first, stop, ranges, candles, pages)


def join_ranges(ranges: list[Range], timeframe: Timeframe, page_limit: int) -> list[Range]:
    """Join sorted ranges where that takes fewer pages than requesting each, or where they touch."""

    def pages(part: Range) -> int:
        return count_pages(timeframe.count_between(*part), page_limit)

    found: list[Range] = []
    for start, end in ranges:
        if found:
            both = (found[-1][0], max(end, found[-1][1]))
            if start <= found[-1][1] or pages(both) < pages(found[-1]) + pages((start, end)):
                found[-1] = both
                continue
        found.append((start, end))
    return found


def count_pages(candles: int, page_limit: int) -> int:
    """Return the number of pages for a number of candles; pages overlap by one candle."""
    return max(1, -(-(candles - 1) // (page_limit - 1)))


def _find_ranges_to_reread(store: Store, key: SeriesKey, first: int, stop: int) -> list[Range]:
    """Return the part of the range that holds the newest closed candles, which may be revised."""
    again = find_reread_start(store, key)
    newest = read_last_closed_timestamp(store, key, stop)
    if again is None or newest is None:
        return []
    low, high = max(again, first), Timeframe.parse(key.timeframe).next(newest)
    return [(low, high)] if low < high else []


def _count_pages_for_quirks(candles: int, quirks: Quirks) -> int:
    return 1 if quirks.newest_only is not None else count_pages(candles, quirks.page_limit)
