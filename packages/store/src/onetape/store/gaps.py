"""The gap ledger: ranges without candles, and whether the exchange has any there.

Times of candles are epoch seconds and ranges half-open; times of asking are epoch milliseconds. A
hole that the ledger does not know is "not fetched".
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import astuple, replace

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.store.candles import closed_range, missing_between
from onetape.store.connection import Connection
from onetape.store.database import Store

GapState = Literal["none at exchange", "not fetched", "unknown: import"]
#: Asked for twice, and the exchange had nothing both times.
CONFIRMED: Final = "none at exchange"
#: Never asked for, or asked for and not proven to be missing at the exchange.
NOT_FETCHED: Final = "not fetched"
#: A file that was imported lacks it; nobody asked the exchange.
UNKNOWN_IMPORT: Final = "unknown: import"

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"


class Gap(Struct, frozen=True):
    """A range of missing candles, or the part of one about which one thing is known."""

    start: int
    """Open of the first missing candle, epoch seconds."""
    end: int
    """Open of the next candle that is there or of another state, epoch seconds."""
    candles: int
    """How many are missing."""
    state: GapState
    first_seen_ms: int | None
    """When it was first written down; None where it never was."""
    last_asked_ms: int | None
    """When the exchange was last asked for it (or the file imported); None where it never was."""


class _Entry(Struct, frozen=True):
    """A row of the ledger."""

    start: int
    end: int
    state: GapState
    first_seen_ms: int
    last_asked_ms: int


def set_gap(
    store: Store, key: SeriesKey, start: int, end: int, *, state: GapState, asked_ms: int
) -> None:
    """Write down that candles of `[start, end)` are missing; what was known of it is replaced.

    What was known of the parts outside stays. The date when it was first seen is kept.

    Raises:
        StoreError: the file cannot be written, or the range is empty.
    """
    set_gaps(store, key, [(start, end)], state=state, asked_ms=asked_ms)


def set_gaps(
    store: Store,
    key: SeriesKey,
    ranges: Iterable[tuple[int, int]],
    *,
    state: GapState,
    asked_ms: int,
) -> None:
    """Write down many ranges as `set_gap` does one, in one transaction.

    Raises:
        StoreError: the file cannot be written, or a range is empty.
    """
    with store.write() as connection:
        for start, end in ranges:
            _set(connection, key, start, end, state=state, asked_ms=asked_ms)


def _set(
    connection: Connection,
    key: SeriesKey,
    start: int,
    end: int,
    *,
    state: GapState,
    asked_ms: int,
) -> None:
    touching = _entries(connection, key, start - 1, end + 1)
    inside = [each for each in touching if each.end > start and each.start < end]
    first_seen_ms = min([asked_ms, *(each.first_seen_ms for each in inside)])
    left = [
        _Entry(start, end, state, first_seen_ms, asked_ms),
        *(replace(each, end=min(each.end, start)) for each in touching if each.start < start),
        *(replace(each, start=max(each.start, end)) for each in touching if each.end > end),
    ]
    connection.executemany(
        f"DELETE FROM gaps WHERE {_SERIES} AND from_timestamp = ?",
        [(*key.names, each.start) for each in touching],
    )
    connection.executemany(
        "INSERT INTO gaps (exchange, symbol, timeframe, from_timestamp, to_timestamp, state, "
        "first_seen_ms, last_asked_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*key.names, *astuple(each)) for each in _joined(left)],
    )


def gaps_of(
    store: Store, key: SeriesKey, *, start: int | None = None, end: int | None = None
) -> list[Gap]:
    """Return what is missing between the first and the last closed candle, oldest first.

    Args:
        store: The open database.
        key: The series.
        start: Leave out what opens before this time; None: from the first candle.
        end: Leave out what opens at or after this time; None: to the last candle.

    Raises:
        UsageError: the series has a timeframe that is none.
    """
    timeframe = Timeframe.parse(key.timeframe)
    with store.read() as connection:
        stored = closed_range(store, key)
        if stored is None:
            return []
        first = stored[0] if start is None else max(start, stored[0])
        last = stored[1] if end is None else min(end, stored[1])
        holes = missing_between(store, key, first, last)
        known = _entries(connection, key, first, last) if holes else []
    return [
        Gap(
            low,
            high,
            timeframe.count_between(low, high),
            NOT_FETCHED if entry is None else entry.state,
            None if entry is None else entry.first_seen_ms,
            None if entry is None else entry.last_asked_ms,
        )
        for low, high, entry in _cut(holes, known)
    ]


def unexplained(
    store: Store, key: SeriesKey, holes: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the holes, or parts of holes, that the exchange has not been proven to lack."""
    if not holes:
        return []
    with store.read() as connection:
        known = _entries(connection, key, holes[0][0], holes[-1][1])
    left: list[tuple[int, int]] = []
    for start, end, entry in _cut(holes, known):
        if entry is not None and entry.state == CONFIRMED:
            continue
        if left and left[-1][1] == start:
            left[-1] = (left[-1][0], end)
        else:
            left.append((start, end))
    return left


def confirmed_gaps(store: Store, key: SeriesKey) -> list[tuple[int, int]]:
    """Return the ranges where the exchange is known to have no candles, oldest first."""
    with store.read() as connection:
        known = _entries(connection, key, -(2**62), 2**62)
    return [(each.start, each.end) for each in known if each.state == CONFIRMED]


def _entries(connection: Connection, key: SeriesKey, start: int, end: int) -> list[_Entry]:
    """Return the rows of the ledger that overlap `[start, end)`, oldest first."""
    # Ranges do not overlap, so only the last one that begins before `start` can reach beyond it.
    rows = connection.execute(
        "SELECT from_timestamp, to_timestamp, state, first_seen_ms, last_asked_ms FROM gaps "
        f"WHERE {_SERIES} AND from_timestamp < ? AND to_timestamp > ? AND from_timestamp >= ifnull("
        f"(SELECT max(from_timestamp) FROM gaps WHERE {_SERIES} AND from_timestamp <= ?), ?) "
        "ORDER BY from_timestamp",
        (*key.names, end, start, *key.names, start, start),
    ).fetchall()
    return [_Entry(*row) for row in rows]


def _joined(entries: list[_Entry]) -> list[_Entry]:
    """Return the rows with neighbours of one state, asked for at one time, made one."""
    joined: list[_Entry] = []
    for each in sorted(entries, key=lambda entry: entry.start):
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.end == each.start
            and (last.state, last.last_asked_ms) == (each.state, each.last_asked_ms)
        ):
            first_seen_ms = min(last.first_seen_ms, each.first_seen_ms)
            joined[-1] = _Entry(last.start, each.end, each.state, first_seen_ms, each.last_asked_ms)
        else:
            joined.append(each)
    return joined


def _cut(
    holes: list[tuple[int, int]], known: list[_Entry]
) -> Iterator[tuple[int, int, _Entry | None]]:
    """Give the parts of the holes, each with the row of the ledger that covers it.

    Both must be sorted and free of overlaps.
    """
    skipped = 0
    for start, end in holes:
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
