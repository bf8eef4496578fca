"""Proof of gaps: responses of an exchange that show that it has no candles in a range.

A gap is proven between two stored candles, by two responses that held both candles and nothing in
between, requested from different times and minutes apart. Until then it is unproven, and the next
run requests it again. Nothing is proven before the first candle or after the last one.

Minutes are minutes of the exchange: the lag, cache or outage that must pass before a second
response proves something new is the exchange's. On a real exchange that is the computer's time.
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

Range = tuple[int, int]
#: Least market time between the first response and the one that proves, milliseconds.
APART_MS: Final = 120_000
#: Number of responses without a candle after which the trader decides without it, proven or not.
DECIDING_RESPONSES: Final = 3
#: Maximum number of candles before the first gap at which a request begins, to vary its window.
_MOST_LEAD: Final = 4


class MissingRange(Struct, frozen=True):
    """A whole range without candles, with a closed candle right before it."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """Open of the next candle, epoch seconds."""
    is_bounded: bool
    """Whether the next candle is stored and closed; otherwise the gap ends at the forming candle.
    """


class _Responses(Struct):
    """Evidence from the pages of one request sequence. Times are epoch seconds."""

    timeframe: Timeframe
    requested: list[Range] = field(default_factory=list[Range])
    opens: set[int] = field(default_factory=set[int])
    refused: list[int] = field(default_factory=list[int])

    def add_page(self, page: Page) -> None:
        """Add a page."""
        self.requested.append((page.since, page.covered_until))
        self.opens.update(page.opens)
        self.refused += [row.timestamp for row in page.refused]

    def confirms_gap(self, gap: MissingRange) -> bool:
        """Return whether the pages hold both neighbours of a gap, and no candle inside."""
        before = self.timeframe.shift(gap.start, -1)
        neighbours = {before, gap.end}
        return (
            neighbours <= self.opens - set(self.refused)
            and self._cover(before, gap.end)
            and not any(
                gap.start <= time < gap.end or time < 0 or self.timeframe.floor(time) != time
                for time in self.refused
            )
        )

    def _cover(self, start: int, end: int) -> bool:
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
    """Request the candles missing in `[start, end)`; store the candles, and the proofs of gaps.

    Gaps that one page reaches across are requested together.

    Args:
        exchange: Exchange of the candles.
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        requested_before_ms: Market time; explained gaps are requested too if their last request was
            before it. None: only unexplained gaps.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; nothing unproven was stored.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    total = FetchReport()
    timeframe = Timeframe.parse(key.timeframe)
    page_limit = exchange.quirks.page_limit - _MOST_LEAD
    gaps = [
        (gap.start, gap.end)
        for gap in find_missing_ranges(store, key, start, end, now_ms=exchange.now_ms())
        # Beyond the range, or without an end, only as far as one page reaches.
        if (gap.is_bounded and start <= gap.start and gap.end <= end)
        or timeframe.count_between(gap.start, gap.end) <= page_limit - 2
    ]
    wanted = _select_wanted(store, key, gaps, requested_before_ms)
    for group in group_gaps(wanted, timeframe, page_limit):
        first, last = group[0][0], timeframe.next(group[-1][1])
        total = total.merge_with(await fetch_noting(exchange, store, key, start=first, end=last))
    return total


async def fetch_noting(
    exchange: RestExchange,
    store: Store,
    key: SeriesKey,
    *,
    start: int,
    end: int,
    on_page: Callable[[Page], None] = lambda _: None,
) -> FetchReport:
    """Store the closed candles of `[start, end)`, and the gaps that the responses leave out.

    The request begins before `start`, so that its response holds the candle before a gap there.

    Raises:
        ExchangeUnreachable: the exchange stopped responding; nothing unproven was stored.
        ExchangeRefused: the exchange refused the request.
        StoreError: the file cannot be written.
    """
    responses = _Responses(Timeframe.parse(key.timeframe))

    def see(page: Page) -> None:
        responses.add_page(page)
        on_page(page)

    window_start = _choose_window(store, key, start, end)
    report = await fetch_closed(exchange, store, key, start=window_start, end=end, on_page=see)
    if responses.requested:  # otherwise the whole range is before the exchange's first candle
        requested_ms = exchange.now_ms()
        for gap in find_missing_ranges(store, key, start, end, now_ms=requested_ms):
            if gap.start >= start:
                _note(
                    store, key, gap, responses, window_start=window_start, requested_ms=requested_ms
                )
    return report


def find_missing_ranges(
    store: Store, key: SeriesKey, start: int, end: int, *, now_ms: int
) -> list[MissingRange]:
    """Return the gaps that touch `[start, end)`, each in its whole extent, oldest first.

    The time before the first candle is no gap. The time after the last candle is a gap as far as
    the forming candle, if the range reaches so far.
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
    """Return the gaps (sorted) in groups that one page reaches across."""
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
    """Return the unproven ranges of `[start, end)` which a trader should request now.

    Either too few responses left a range out to decide without its candles, or another response may
    prove it.
    """
    return [
        (each.start, each.end)
        for each in read_gap_ledger(store, key, start, end)
        if each.state == UNPROVEN
        and (each.answers < DECIDING_RESPONSES or now_ms - each.last_requested_ms >= APART_MS)
        and find_series_gaps(store, key, max(each.start, start), min(each.end, end))
    ]


def _select_wanted(
    store: Store, key: SeriesKey, gaps: list[Range], requested_before_ms: int | None
) -> list[Range]:
    """Return the whole gaps to request: unexplained in part, or last requested before a time."""
    if not gaps:
        return []
    parts = find_unexplained(store, key, gaps)
    if requested_before_ms is not None:
        known = read_gap_ledger(store, key, gaps[0][0], gaps[-1][1])
        old = [each for each in known if each.last_requested_ms < requested_before_ms]
        parts = sorted([*parts, *((each.start, each.end) for each in old)])
    wanted: list[Range] = []
    for gap in gaps:
        # Parts are sorted, and those that end before this gap concern none after it.
        place = bisect_right(parts, gap[0], key=lambda part: part[1])
        if place < len(parts) and parts[place][0] < gap[1]:
            wanted.append(gap)
    return wanted


def _choose_window(store: Store, key: SeriesKey, start: int, end: int) -> int:
    """Return the start of a request: before `start`, and different from earlier requests."""
    timeframe = Timeframe.parse(key.timeframe)
    taken = {each.window_start for each in read_gap_ledger(store, key, start, end)}
    leads = [timeframe.shift(start, -lead) for lead in range(1, _MOST_LEAD + 1)]
    return max(0, next((time for time in leads if time not in taken), leads[-1]))


def _note(
    store: Store,
    key: SeriesKey,
    gap: MissingRange,
    responses: _Responses,
    *,
    window_start: int,
    requested_ms: int,
) -> None:
    """Store the proof of a gap by the responses, except for parts that a person or file explained.

    For the part after the last closed candle only the responses that leave it out are stored.
    """
    is_left_out = responses.confirms_gap(gap)
    if not (is_left_out or gap.is_bounded):
        return
    known = read_gap_ledger(store, key, gap.start, gap.end)
    explained = [(each.start, each.end) for each in known if each.state in (ACCEPTED, NO_TRADES)]
    for start, end in _subtract_ranges(gap, explained):
        # A finding on another range was about another gap: a candle has been stored since.
        before = next((each for each in known if (each.start, each.end) == (start, end)), None)
        if before is not None and before.state in EXPLAINED and not is_left_out:
            continue
        evidence = _make_evidence(before, window_start, requested_ms, is_left_out=is_left_out)
        is_proven = before is not None and (
            before.state == CONFIRMED
            or (
                is_left_out
                and gap.is_bounded
                and before.answered_ms is not None
                and requested_ms - before.answered_ms >= APART_MS
                and before.window_start != window_start
            )
        )
        state = CONFIRMED if is_proven else UNPROVEN
        set_gap(store, key, start, end, state=state, requested_ms=requested_ms, evidence=evidence)
    if is_left_out:
        for each in known:
            if each.state in (ACCEPTED, NO_TRADES):
                _touch(store, key, each, requested_ms)


def _make_evidence(
    before: GapEntry | None, window_start: int, requested_ms: int, *, is_left_out: bool
) -> Evidence:
    """Return the evidence so far, with the newest response if that counts."""
    if before is None or before.answered_ms is None or before.answered_ms > requested_ms:
        # The first response that counts; a later time was dated by another clock.
        return Evidence(1, requested_ms, window_start) if is_left_out else Evidence()
    responses = before.answers + 1 if is_left_out else before.answers
    return Evidence(responses, before.answered_ms, before.window_start)


def _touch(store: Store, key: SeriesKey, entry: GapEntry, requested_ms: int) -> None:
    """Store the time of a request for an accepted gap; the gap stays accepted."""
    set_gap(
        store,
        key,
        entry.start,
        entry.end,
        state=entry.state,
        requested_ms=requested_ms,
        evidence=Evidence(entry.answers, entry.answered_ms, entry.window_start),
        reason=entry.reason,
    )


def _subtract_ranges(gap: MissingRange, explained: list[Range]) -> list[Range]:
    """Return the parts of a gap outside some ranges, which are sorted."""
    left: list[Range] = []
    cursor = gap.start
    for start, end in explained:
        if start > cursor:
            left.append((cursor, start))
        cursor = max(cursor, end)
    if cursor < gap.end:
        left.append((cursor, gap.end))
    return left
