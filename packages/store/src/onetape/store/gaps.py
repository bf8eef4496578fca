"""The gap ledger: ranges without candles, and whether the exchange has any there.

Times of candles are epoch seconds and ranges half-open; times of asking are epoch milliseconds.
"""

from typing import Literal

from onetape.core.candles import SeriesKey
from onetape.store.database import Store

GapState = Literal["none at exchange", "not fetched", "unknown"]
#: Asked for twice, and the exchange had nothing both times.
CONFIRMED: GapState = "none at exchange"


def record_gap(
    store: Store, key: SeriesKey, start: int, end: int, *, state: GapState, asked_ms: int
) -> None:
    """Write down that candles of `[start, end)` are missing; what was known of it is replaced.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            "INSERT INTO gaps (exchange, symbol, timeframe, from_timestamp, to_timestamp, state, "
            "first_seen_ms, last_asked_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET to_timestamp = excluded.to_timestamp, "
            "state = excluded.state, last_asked_ms = excluded.last_asked_ms",
            (key.exchange, key.symbol, key.timeframe, start, end, state, asked_ms, asked_ms),
        )


def unexplained(
    store: Store, key: SeriesKey, holes: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the holes, or parts of holes, that the exchange has not been proven to lack."""
    known = confirmed_gaps(store, key)
    left: list[tuple[int, int]] = []
    for start, end in holes:
        cursor = start
        for gap_start, gap_end in known:
            if gap_end <= cursor or gap_start >= end:
                continue
            if gap_start > cursor:
                left.append((cursor, gap_start))
            cursor = gap_end
        if cursor < end:
            left.append((cursor, end))
    return left


def confirmed_gaps(store: Store, key: SeriesKey) -> list[tuple[int, int]]:
    """Return the ranges where the exchange is known to have no candles, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT from_timestamp, to_timestamp FROM gaps WHERE exchange = ? AND symbol = ? "
            "AND timeframe = ? AND state = ? ORDER BY from_timestamp",
            (key.exchange, key.symbol, key.timeframe, CONFIRMED),
        ).fetchall()
    return [(start, end) for start, end in rows]
