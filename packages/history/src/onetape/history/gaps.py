"""Prove gaps: find out by requests whether an exchange has no candles in a range.

A gap between two stored candles is proven by two responses that contain both candles and nothing in
between. The two requests must begin at different times and be two minutes of market time apart,
because a delay, a cache or a short outage of the exchange could leave candles out of both. Until
then the gap is unproven, and the next run requests it again. Nothing is proven before the first
candle or after the last one.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.exchange.pages import Page
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport, fetch_closed
from onetape.store.candles import (
    find_series_gaps,
    read_closed_timestamps,
    read_last_closed_timestamp,
)
from onetape.store.database import Store
from onetape.store.gaps import (
    ACCEPTED,
    CONFIRMED,
    EXPLAINED,
    NO_TRADES,
    UNPROVEN,
    Evidence,
    GapEntry,
    find_unexplained,
    read_gap_ledger,
    set_gap,
)

#: Half-open range of opens of candles, epoch seconds.
Range = tuple[int, int]
#: Least market time between the first response that left out a gap and the one that proves it, ms.
PROOF_INTERVAL_MS: Final = 120_000
#: Number of responses without a candle after which the trader decides without it, proven or not.
DECIDING_RESPONSES: Final = 3
#: Requests begin 1 to this number of candles before a gap, so that their starts differ.
_MAX_LEAD: Final = 4


class MissingRange(Struct, frozen=True):
    """A whole gap, with a closed candle right before it."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """Open of the next candle after the gap, epoch seconds."""
    is_bounded: bool
    """Whether that candle is stored and closed; False: it is the forming candle."""


class _Responses(Struct):
    """Opens in the pages of one fetch, from which gaps are proven. Times are epoch seconds."""

    timeframe: Timeframe
    requested: list[Range] = field(default_factory=list[Range])
    """Ranges that the pages cover."""
    opens: set[int] = field(default_factory=set[int])
    """Opens of all rows of the pages."""
    refused: list[int] = field(default_factory=list[int])
    """Times of the rows that were refused as unsound."""

    def add_page(self, page: Page) -> None:
        """Add a page of the fetch."""
        self.requested.append((page.since, page.covered_until))
        self.opens.update(page.opens)
        self.refused += [row.timestamp for row in page.refused]

    def confirms_gap(self, gap: MissingRange) -> bool:
        """Return whether the pages contain both neighbours of a gap, and no candle inside."""
        before = self.timeframe.shift(gap.start, -1)
        neighbours = {before, gap.end}
        return (
            neighbours <= self.opens - set(self.refused)
            and self._covers(before, gap.end)
            and not any(
                gap.start <= time < gap.end or time < 0 or self.timeframe.floor(time) != time
                for time in self.refused
            )
        )

    def _covers(self, start: int, end: int) -> bool:
        """Return whether the requested ranges together contain a range without interruption."""
        cursor = start
        for since, covered_until in sorted(self.requested):
            if since <= cursor:
                cursor = max(cursor, covered_until)
        return cursor >= end


async def confirm_gaps(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int,
    requested_before_ms: int | None = None,
) -> FetchReport:
    """Request the missing candles of `[start, end)`; store the candles, and the evidence of gaps.

    Gaps that fit into one page are requested together.

    Args:
        exchange: Exchange of the candles.
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        requested_before_ms: Market time, epoch milliseconds: explained gaps whose last request was
            earlier are requested too. None: only unexplained gaps.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; candles and evidence that were stored
            before stay.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    timeframe = Timeframe.parse(key.timeframe)
    page_limit = exchange.quirks.page_limit - _MAX_LEAD
    gaps = [
        (gap.start, gap.end)
        for gap in find_missing_ranges(store, key, start, end, now_ms=exchange.now_ms())
        # A gap that begins or ends outside the range, or has no end, only if it fits into one page.
        if (gap.is_bounded and start <= gap.start and gap.end <= end)
        or timeframe.count_between(gap.start, gap.end) <= page_limit - 2
    ]
    requested = _select_gaps_to_request(store, key, gaps, requested_before_ms)
    for group in group_gaps(requested, timeframe, page_limit):
        first, last = group[0][0], timeframe.next(group[-1][1])
        total = total.merge_with(
            await fetch_and_record_gaps(exchange, store, key, start=first, end=last)
        )
    return total


async def fetch_and_record_gaps(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int,
    on_page: Callable[[Page], None] = lambda _: None,
) -> FetchReport:
    """Fetch and store the closed candles of `[start, end)`; store evidence of the gaps in it.

    The request begins before `start`, so that its response contains the candle before a gap there.

    Args:
        exchange: Exchange of the candles.
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        on_page: Called with each page after it was stored.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; candles that were stored stay, and no
            evidence was stored.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    responses = _Responses(Timeframe.parse(key.timeframe))

    def add_page(page: Page) -> None:
        responses.add_page(page)
        on_page(page)

    window_start = _choose_window_start(store, key, start, end)
    report = await fetch_closed(exchange, store, key, start=window_start, end=end, on_page=add_page)
    if responses.requested:  # otherwise the whole range is before the exchange's first candle
        requested_ms = exchange.now_ms()
        for gap in find_missing_ranges(store, key, start, end, now_ms=requested_ms):
            if gap.start >= start:
                _record_evidence(
                    store, key, gap, responses, window_start=window_start, requested_ms=requested_ms
                )
    return report


def find_missing_ranges(
    store: Store, key: SeriesKey, start: int, end: int, *, now_ms: int
) -> list[MissingRange]:
    """Return the gaps that overlap `[start, end)` as whole gaps, oldest first.

    The time before the first candle is no gap. The time between the last candle and the forming
    candle is a gap if the range contains it.

    Args:
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        now_ms: Market time, epoch milliseconds.
    """
    timeframe = Timeframe.parse(key.timeframe)
    before = read_last_closed_timestamp(store, key, start + 1)
    after = read_closed_timestamps(store, key, after=end - 1, limit=1)
    low = start if before is None else before
    forming = timeframe.floor(now_ms // 1_000)
    high = after[0] if after else forming
    is_cut = not after and end < forming
    gaps = find_series_gaps(store, key, low, high)
    if gaps and before is None and gaps[0][0] == timeframe.ceil(start):
        gaps = gaps[1:]
    if is_cut and gaps and gaps[-1][1] == forming:
        gaps = gaps[:-1]
    return [MissingRange(*gap, is_bounded=bool(after) or gap[1] != forming) for gap in gaps]


def group_gaps(gaps: list[Range], timeframe: Timeframe, page_limit: int) -> list[list[Range]]:
    """Return sorted gaps in groups that each fit into one page, with the candles around them."""
    groups: list[list[Range]] = []
    for start, end in gaps:
        # A page also has the candle before the first gap and the one after the last.
        if groups and timeframe.count_between(groups[-1][0][0], end) <= page_limit - 2:
            groups[-1].append((start, end))
        else:
            groups.append([(start, end)])
    return groups


def find_due_gaps(
    store: Store, key: SeriesKey, start: int, end: int, *, now_ms: int
) -> list[Range]:
    """Return the unproven ranges of `[start, end)` that a trader should request now.

    These are ranges that fewer than `DECIDING_RESPONSES` responses left out, so that the trader may
    not decide without their candles, and ranges that another response may prove.
    """
    return [
        (each.start, each.end)
        for each in read_gap_ledger(store, key, start, end)
        if each.state == UNPROVEN
        and (
            each.responses < DECIDING_RESPONSES
            or now_ms - each.last_requested_ms >= PROOF_INTERVAL_MS
        )
        and find_series_gaps(store, key, max(each.start, start), min(each.end, end))
    ]


def _select_gaps_to_request(
    store: Store, key: SeriesKey, gaps: list[Range], requested_before_ms: int | None
) -> list[Range]:
    """Return the gaps with an unexplained part, or whose last request was before a time."""
    if not gaps:
        return []
    parts = find_unexplained(store, key, gaps)
    if requested_before_ms is not None:
        known = read_gap_ledger(store, key, gaps[0][0], gaps[-1][1])
        old = [each for each in known if each.last_requested_ms < requested_before_ms]
        parts = sorted([*parts, *((each.start, each.end) for each in old)])
    selected: list[Range] = []
    for gap in gaps:
        # The first part that ends after the start of this gap; parts are sorted.
        place = bisect_right(parts, gap[0], key=lambda part: part[1])
        if place < len(parts) and parts[place][0] < gap[1]:
            selected.append(gap)
    return selected


def _choose_window_start(store: Store, key: SeriesKey, start: int, end: int) -> int:
    """Return the start of a request: before `start`, and another one than in earlier requests."""
    timeframe = Timeframe.parse(key.timeframe)
    used = {each.window_start for each in read_gap_ledger(store, key, start, end)}
    leads = [timeframe.shift(start, -lead) for lead in range(1, _MAX_LEAD + 1)]
    return max(0, next((time for time in leads if time not in used), leads[-1]))


def _record_evidence(
    store: Store,
    key: SeriesKey,
    gap: MissingRange,
    responses: _Responses,
    *,
    window_start: int,
    requested_ms: int,
) -> None:
    """Store state and evidence of a gap after a fetch; parts explained by a person or file stay so.

    A gap that ends at the forming candle is stored only if the responses leave it out.
    """
    is_left_out = responses.confirms_gap(gap)
    if not (is_left_out or gap.is_bounded):
        return
    known = read_gap_ledger(store, key, gap.start, gap.end)
    explained = [(each.start, each.end) for each in known if each.state in (ACCEPTED, NO_TRADES)]
    for start, end in _subtract_ranges(gap, explained):
        # A row of another range was about another gap: a candle has been stored since then.
        before = next((each for each in known if (each.start, each.end) == (start, end)), None)
        if before is not None and before.state in EXPLAINED and not is_left_out:
            continue
        evidence = _make_evidence(before, window_start, requested_ms, is_left_out=is_left_out)
        is_proven = before is not None and (
            before.state == CONFIRMED
            or (
                is_left_out
                and gap.is_bounded
                and before.first_response_ms is not None
                and requested_ms - before.first_response_ms >= PROOF_INTERVAL_MS
                and before.window_start != window_start
            )
        )
        state = CONFIRMED if is_proven else UNPROVEN
        set_gap(store, key, start, end, state=state, requested_ms=requested_ms, evidence=evidence)
    if is_left_out:
        for each in known:
            if each.state in (ACCEPTED, NO_TRADES):
                _store_request_time(store, key, each, requested_ms)


def _make_evidence(
    before: GapEntry | None, window_start: int, requested_ms: int, *, is_left_out: bool
) -> Evidence:
    """Return the stored evidence, with the newest response added if it left out the range."""
    if (
        before is None
        or before.first_response_ms is None
        or before.first_response_ms > requested_ms
    ):
        # The first response that left out the range, or a stored time of a clock that was ahead.
        return Evidence(1, requested_ms, window_start) if is_left_out else Evidence()
    responses = before.responses + 1 if is_left_out else before.responses
    return Evidence(responses, before.first_response_ms, before.window_start)


def _store_request_time(store: Store, key: SeriesKey, entry: GapEntry, requested_ms: int) -> None:
    """Store the time of the last request for a gap; its state and evidence stay."""
    set_gap(
        store,
        key,
        entry.start,
        entry.end,
        state=entry.state,
        requested_ms=requested_ms,
        evidence=Evidence(entry.responses, entry.first_response_ms, entry.window_start),
        reason=entry.reason,
    )


def _subtract_ranges(gap: MissingRange, explained: list[Range]) -> list[Range]:
    """Return the parts of a gap that are outside of ranges, which are sorted."""
    rest: list[Range] = []
    cursor = gap.start
    for start, end in explained:
        if start > cursor:
            rest.append((cursor, start))
        cursor = max(cursor, end)
    if cursor < gap.end:
        rest.append((cursor, gap.end))
    return rest
