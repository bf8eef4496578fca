"""`FetchPlan`: the ranges of one series to request, and their number of candles and pages.

These are the missing ranges, and the newest stored candles, which may have been revised.
"""

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

#: Half-open range of time, epoch seconds.
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
    """Number of candles that the ranges have room for, stored ones that are read again included."""
    pages: int
    """Estimated number of requests."""

    def make_document(self) -> dict[str, Any]:
        """Return the plan for --json."""
        document = asdict(self)
        document.update(asdict(document.pop("key")))
        return document

    def format_line(self) -> str:
        """Return the plan in one line."""
        if not self.ranges:
            return f"{self.key}: nothing"
        first = [f"{format_utc(low)} to {format_utc(high)}" for low, high in self.ranges[:3]]
        more = len(self.ranges) - len(first)
        rest = f" and {format_count(more, 'more range')}" if more else ""
        candles = format_count(self.candles, "candle")
        return f"{self.key}: {candles}: {', '.join(first)} UTC{rest}"


def plan_series(
    exchange: RestExchange, store: Store | None, key: SeriesKey, *, start: int, end: int | None
) -> FetchPlan:
    """Return the requests after which the store holds the closed candles of a range.

    Args:
        exchange: Its time and page size are used; no candles are requested.
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
        missing = [(first, stop)] if first < stop else []
    else:
        gaps = find_unexplained(store, key, find_series_gaps(store, key, start, stop))
        missing = sorted([*gaps, *_find_ranges_to_reread(store, key, first, stop)])
    ranges = join_ranges(missing, timeframe, exchange.quirks.page_limit)
    candles = sum(timeframe.count_between(*each) for each in ranges)
    pages = sum(
        _count_pages_for_quirks(timeframe.count_between(*each), exchange.quirks) for each in ranges
    )
    return FetchPlan(key, first, stop, ranges, candles, pages)


def join_ranges(ranges: list[Range], timeframe: Timeframe, page_limit: int) -> list[Range]:
    """Return sorted ranges, joined where they touch or where that takes fewer pages.

    Args:
        ranges: Ranges, sorted by start.
        timeframe: Timeframe of the candles.
        page_limit: Maximum number of candles in one page.
    """

    def pages(joined_range: Range) -> int:
        return count_pages(timeframe.count_between(*joined_range), page_limit)

    joined: list[Range] = []
    for start, end in ranges:
        if joined:
            both = (joined[-1][0], max(end, joined[-1][1]))
            if start <= joined[-1][1] or pages(both) < pages(joined[-1]) + pages((start, end)):
                joined[-1] = both
                continue
        joined.append((start, end))
    return joined


def count_pages(candles: int, page_limit: int) -> int:
    """Return the number of pages for a number of candles; adjacent pages share one candle."""
    return max(1, -(-(candles - 1) // (page_limit - 1)))


def _find_ranges_to_reread(store: Store, key: SeriesKey, first: int, stop: int) -> list[Range]:
    """Return the range of the newest stored candles, which may be revised; or no range."""
    again = find_reread_start(store, key)
    newest = read_last_closed_timestamp(store, key, stop)
    if again is None or newest is None:
        return []
    low, high = max(again, first), Timeframe.parse(key.timeframe).next(newest)
    return [(low, high)] if low < high else []


def _count_pages_for_quirks(candles: int, quirks: Quirks) -> int:
    """Return the number of pages; 1 for an exchange that serves only its newest candles."""
    return 1 if quirks.newest_only is not None else count_pages(candles, quirks.page_limit)
