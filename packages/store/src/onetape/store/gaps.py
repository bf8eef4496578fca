"""The table `gaps`: what is known about ranges without candles, and the gaps of a series.

The gaps themselves are always computed from the stored candles. The table has the state of a range
(such as "none at exchange") and its evidence; a gap without a row is "not fetched". The rows of a
series do not overlap. Times of candles are epoch seconds, ranges are half-open; times of requests
are market time, epoch milliseconds.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import astuple, replace

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.store.candles import find_series_gaps, read_closed_range
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store

GapState = Literal[
    "none at exchange", "no trades", "accepted", "unproven", "not fetched", "unknown: import"
]
#: Proven: two responses, minutes apart, had both neighbours of the range and no candle inside.
CONFIRMED: Final = "none at exchange"
#: The exchange's own archive has no row in the range.
NO_TRADES: Final = "no trades"
#: A person has stated why the candles are missing.
ACCEPTED: Final = "accepted"
#: The candles were requested, and it is not proven that the exchange lacks them.
UNPROVEN: Final = "unproven"
#: The candles were never requested. Such a gap has no row in the table.
NOT_FETCHED: Final = "not fetched"
#: A file that was imported lacks the candles, and they were not requested.
UNKNOWN_IMPORT: Final = "unknown: import"
#: States of gaps with a known cause: a backtest crosses them, and `verify` does not count them.
EXPLAINED: Final = frozenset({CONFIRMED, NO_TRADES, ACCEPTED})

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"
_COLUMNS = (
    "from_timestamp, to_timestamp, state, since_ms, first_seen_ms, last_requested_ms, responses, "
    "first_response_ms, window_timestamp, reason"
)


class Evidence(Struct, frozen=True):
    """Evidence from the exchange's responses that a range has no candles."""

    responses: int = 0
    """Number of responses that contained both neighbours of the range and no candle inside."""
    first_response_ms: int | None = None
    """Market time of the first of these responses, epoch milliseconds; None: no response."""
    window_start: int | None = None
    """Start of the range requested for the first of these responses, epoch seconds; None: no
    response."""


#: No response has left out the range.
NO_EVIDENCE: Final = Evidence()


class Gap(Struct, frozen=True):
    """A range of missing candles in one state: a whole gap, or a part of a gap."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """Open of the next stored candle, or start of the next part in another state, epoch seconds."""
    candles: int
    """Number of missing candles."""
    state: GapState
    since_ms: int | None
    """Time at which the state was stored, epoch milliseconds; None: the table has no row."""
    first_seen_ms: int | None
    """Time at which the range was first stored in the table, epoch milliseconds; None: never."""
    last_requested_ms: int | None
    """Time of the last request of the range, or of the import of a file, epoch milliseconds; None:
    never."""
    responses: int
    """Number of responses that contained both neighbours of the range and no candle inside."""
    reason: str | None
    """Reason that a person gave for accepting the range; None in every other state."""

    @property
    def is_explained(self) -> bool:
        """Whether the cause of the gap is known."""
        return self.state in EXPLAINED


class GapEntry(Struct, frozen=True):
    """A row of the table `gaps`; the fields are those of `Gap` and `Evidence`."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """End of the range, epoch seconds, exclusive."""
    state: GapState
    since_ms: int
    """Time at which the state was stored, epoch milliseconds."""
    first_seen_ms: int
    """Time at which the range was first stored in the table, epoch milliseconds."""
    last_requested_ms: int
    """Time of the last request of the range, or of the import of a file, epoch milliseconds."""
    responses: int = 0
    """Number of responses that contained both neighbours of the range and no candle inside."""
    first_response_ms: int | None = None
    """Time of the first of these responses, epoch milliseconds; None: no response."""
    window_start: int | None = None
    """Start of the range requested for the first of these responses, epoch seconds."""
    reason: str | None = None
    """Reason that a person gave for accepting the range; None in every other state."""


def set_gap(
    store: Store,
    key: SeriesKey,
    start: int,
    end: int,
    *,
    state: GapState,
    requested_ms: int,
    evidence: Evidence = NO_EVIDENCE,
    reason: str | None = None,
) -> None:
    """Store that candles of `[start, end)` are missing; rows of this range are replaced.

    Rows that reach beyond the range keep their other parts. `first_seen_ms` of the replaced rows is
    kept, and `since_ms` too if the state is the same.

    Args:
        store: The open database.
        key: The series.
        start: Open of the first missing candle, epoch seconds.
        end: Open of the next candle that is not missing, epoch seconds.
        state: State of the gap; "not fetched" cannot be stored.
        requested_ms: Market time of the request or import, epoch milliseconds.
        evidence: Evidence from the exchange's responses.
        reason: Reason of an accepted gap; required in that state, and refused in other states.

    Raises:
        StoreError: the file cannot be written, or the range is empty.
    """
    with store.write() as connection:
        moments = (requested_ms, requested_ms, requested_ms)
        proof = (evidence.responses, evidence.first_response_ms, evidence.window_start)
        _set_entry(connection, key, GapEntry(start, end, state, *moments, *proof, reason))


def set_gaps(
    store: Store,
    key: SeriesKey,
    ranges: Iterable[tuple[int, int]],
    *,
    state: GapState,
    requested_ms: int,
    reason: str | None = None,
) -> None:
    """Store many ranges as `set_gap` stores one, in one transaction.

    Raises:
        StoreError: the file cannot be written, or a range is empty.
    """
    with store.write() as connection:
        for start, end in ranges:
            entry = GapEntry(
                start, end, state, requested_ms, requested_ms, requested_ms, reason=reason
            )
            _set_entry(connection, key, entry)


def clear_gaps(store: Store, key: SeriesKey, ranges: Iterable[tuple[int, int]]) -> None:
    """Delete what is known about ranges: gaps in the ranges are "not fetched" from now on.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        for start, end in ranges:
            _replace_entries(connection, key, start, end, [])


def _set_entry(connection: DatabaseConnection, key: SeriesKey, entry: GapEntry) -> None:
    """Store a row; older values of `first_seen_ms`, and of `since_ms` in the same state, stay."""
    inside = _read_entries(connection, key, entry.start, entry.end)
    since = [each.since_ms for each in inside if each.state == entry.state]
    first = [each.first_seen_ms for each in inside]
    new = replace(
        entry,
        since_ms=min([entry.since_ms, *since]),
        first_seen_ms=min([entry.first_seen_ms, *first]),
    )
    _replace_entries(connection, key, entry.start, entry.end, [new])


def _replace_entries(
    connection: DatabaseConnection, key: SeriesKey, start: int, end: int, new: list[GapEntry]
) -> None:
    """Replace what is known about `[start, end)` by new rows; equal neighbours are joined."""
    touching = _read_entries(connection, key, start - 1, end + 1)
    left = [
        *new,
        *(replace(each, end=min(each.end, start)) for each in touching if each.start < start),
        *(replace(each, start=max(each.start, end)) for each in touching if each.end > end),
    ]
    connection.executemany(
        f"DELETE FROM gaps WHERE {_SERIES} AND from_timestamp = ?",
        [(*key.names, each.start) for each in touching],
    )
    connection.executemany(
        f"INSERT INTO gaps (exchange, symbol, timeframe, {_COLUMNS}) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*key.names, *astuple(each)) for each in _join_entries(left)],
    )


def read_gaps(
    store: Store, key: SeriesKey, *, start: int | None = None, end: int | None = None
) -> list[Gap]:
    """Return the gaps between the first and the last closed candle, oldest first.

    Args:
        store: The open database.
        key: The series.
        start: Leave out candles that open before this time; None: from the first candle.
        end: Leave out candles that open at or after this time; None: to the last candle.

    Raises:
        UsageError: the timeframe of the series is invalid.
    """
    timeframe = Timeframe.parse(key.timeframe)
    with store.read() as connection:
        stored = read_closed_range(store, key)
        if stored is None:
            return []
        first = stored[0] if start is None else max(start, stored[0])
        last = stored[1] if end is None else min(end, stored[1])
        gaps = find_series_gaps(store, key, first, last)
        known = _read_entries(connection, key, first, last) if gaps else []
    return [
        _make_gap(low, high, timeframe.count_between(low, high), entry)
        for low, high, entry in _split_by_entries(gaps, known)
    ]


def find_unexplained(
    store: Store, key: SeriesKey, gaps: list[tuple[int, int]], *, responses: int | None = None
) -> list[tuple[int, int]]:
    """Return the gaps, or parts of gaps, whose cause is unknown.

    Args:
        store: The open database.
        key: The series.
        gaps: Half-open ranges, sorted and without overlaps.
        responses: Also leave out unproven ranges that have at least this number of responses as
            evidence; None: only proven ranges are left out.
    """
    if not gaps:
        return []
    with store.read() as connection:
        known = _read_entries(connection, key, gaps[0][0], gaps[-1][1])
    left: list[tuple[int, int]] = []
    for start, end, entry in _split_by_entries(gaps, known):
        if entry is not None and (
            entry.state in EXPLAINED or (responses is not None and entry.responses >= responses)
        ):
            continue
        if left and left[-1][1] == start:
            left[-1] = (left[-1][0], end)
        else:
            left.append((start, end))
    return left


def read_accepted(
    store: Store, key: SeriesKey, gaps: list[tuple[int, int]]
) -> dict[str, list[tuple[int, int]]]:
    """Return the parts of gaps (sorted, without overlaps) that a person accepted, by reason."""
    found: dict[str, list[tuple[int, int]]] = {}
    known = read_gap_ledger(store, key, gaps[0][0], gaps[-1][1]) if gaps else []
    for start, end, entry in _split_by_entries(gaps, known):
        if entry is not None and entry.reason is not None:
            found.setdefault(entry.reason, []).append((start, end))
    return found


def read_explained_gaps(store: Store, key: SeriesKey) -> list[tuple[int, int]]:
    """Return the ranges whose candles are missing for a known cause, oldest first."""
    return [
        (each.start, each.end) for each in read_gap_ledger(store, key) if each.state in EXPLAINED
    ]


def read_confirmed_gaps(store: Store, key: SeriesKey) -> list[tuple[int, int]]:
    """Return the ranges where the exchange is proven to have no candles, oldest first."""
    return [
        (each.start, each.end) for each in read_gap_ledger(store, key) if each.state == CONFIRMED
    ]


def read_gap_ledger(
    store: Store, key: SeriesKey, start: int = -(2**62), end: int = 2**62
) -> list[GapEntry]:
    """Return the rows of the table `gaps` that overlap `[start, end)`, oldest first."""
    with store.read() as connection:
        return _read_entries(connection, key, start, end)


def _make_gap(start: int, end: int, candles: int, entry: GapEntry | None) -> Gap:
    if entry is None:
        return Gap(start, end, candles, NOT_FETCHED, None, None, None, 0, None)
    moments = (entry.since_ms, entry.first_seen_ms, entry.last_requested_ms)
    return Gap(start, end, candles, entry.state, *moments, entry.responses, entry.reason)


def _read_entries(
    connection: DatabaseConnection, key: SeriesKey, start: int, end: int
) -> list[GapEntry]:
    """Return the rows of the table that overlap `[start, end)`, oldest first."""
    # Ranges do not overlap, so only the last one that begins before `start` can reach beyond it.
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM gaps "
        f"WHERE {_SERIES} AND from_timestamp < ? AND to_timestamp > ? AND from_timestamp >= ifnull("
        f"(SELECT max(from_timestamp) FROM gaps WHERE {_SERIES} AND from_timestamp <= ?), ?) "
        "ORDER BY from_timestamp",
        (*key.names, end, start, *key.names, start, start),
    ).fetchall()
    return [GapEntry(*row) for row in rows]


def _join_entries(entries: list[GapEntry]) -> list[GapEntry]:
    """Return rows in which neighbours of equal state, evidence and request time are joined."""
    joined: list[GapEntry] = []
    for each in sorted(entries, key=lambda entry: entry.start):
        last = joined[-1] if joined else None
        if last is not None and last.end == each.start and _get_facts(last) == _get_facts(each):
            first_seen_ms = min(last.first_seen_ms, each.first_seen_ms)
            since_ms = min(last.since_ms, each.since_ms)
            joined[-1] = replace(last, end=each.end, first_seen_ms=first_seen_ms, since_ms=since_ms)
        else:
            joined.append(each)
    return joined


def _get_facts(entry: GapEntry) -> tuple[object, ...]:
    return (
        entry.state, entry.last_requested_ms, entry.responses, entry.first_response_ms,
        entry.window_start, entry.reason,
    )  # fmt: skip


def _split_by_entries(
    gaps: list[tuple[int, int]], known: list[GapEntry]
) -> Iterator[tuple[int, int, GapEntry | None]]:
    """Yield the parts of the gaps, each with the row of the table that covers it, or None.

    Gaps and rows must be sorted and may not overlap.
    """
    skipped = 0
    for start, end in gaps:
        while skipped < len(known) and known[skipped].end <= start:
            skipped += 1
        cursor, number = start, skipped
        while number < len(known) and known[number].start < end:
            entry = known[number]
            if entry.start > cursor:
                yield cursor, entry.start, None
            yield max(cursor, entry.start), min(entry.end, end), entry
            cursor = entry.end
            number += 1
        if cursor < end:
            yield cursor, end, None
