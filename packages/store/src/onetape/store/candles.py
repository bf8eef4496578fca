"""The tape: write and read candles. Candle times are epoch seconds UTC, ranges are half-open.

Two ways in, one rule each. REST rows are proven closed: they displace a row of the same candle that
is not closed, and never one that is. Live rows replace the forming candle and are closed later, on
proof. A row that breaks a rule goes to quarantine, because OR IGNORE would drop it without a word.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onetape.core.candles import Candle, Candles, SeriesKey, candle_fault
from onetape.core.errors import StoreError
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.timeframes import Timeframe
from onetape.store.connection import Connection, Value
from onetape.store.database import Store

Source = Literal["rest", "ws", "import"]

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"
# A row that plain SQL wrote says nothing of its state: a later row proves that its period ended.
_CLOSED = (
    "(closed = 1 OR (closed IS NULL AND timestamp < (SELECT max(timestamp) FROM ohlcv_data "
    f"WHERE {_SERIES})))"
)
_COLUMNS = "timestamp, open, high, low, close, volume"
_INSERT = (
    "INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, "
    "closed, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class InsertReport:
    """What became of a batch: `inserted + present + quarantined` is what was sent."""

    inserted: int
    present: int
    """Closed candles that the tape already had; a different value went to `revisions`."""
    quarantined: int


def insert_closed(
    store: Store, key: SeriesKey, rows: Iterable[Candle], *, source: Source, seen_ms: int
) -> InsertReport:
    """Store candles that are proven closed, in one transaction (INSERT OR IGNORE).

    Args:
        store: The open database.
        key: The series.
        rows: Closed candles in any order; one that occurs twice counts once.
        source: Where they came from.
        seen_ms: Market time of arrival, epoch milliseconds, for the quarantine.

    Raises:
        StoreError: the file cannot be written, or a sound row did not arrive in it.
    """
    timeframe = Timeframe.parse(key.timeframe)
    sound: dict[int, Candle] = {}
    refused: list[tuple[Candle, str]] = []
    for row in rows:
        fault = candle_fault(row, timeframe)
        if fault is None:
            sound[row.timestamp] = row
        else:
            refused.append((row, fault))
    with store.write() as connection:
        for row, fault in refused:
            _quarantine(connection, key, row, source=source, fault=fault, seen_ms=seen_ms)
        if not sound:
            return InsertReport(0, 0, len(refused))
        ordered = sorted(sound.values())
        present = _present_after_clearing(connection, key, ordered)
        connection.executemany(
            f"INSERT OR IGNORE {_INSERT}", [_bound(key, row, 1, source) for row in ordered]
        )
        stored = _count_closed(connection, key, ordered)
    inserted = stored - present
    if stored != len(ordered):
        raise StoreError(
            f"{store.path}: of {len(ordered)} {key} candles only {stored} arrived; "
            "please report this"
        )
    return InsertReport(inserted, present, len(refused))


def replace_forming(
    store: Store, key: SeriesKey, row: Candle, *, seen_ms: int, source: Source = "ws"
) -> bool:
    """Store the newest state of the forming candle (INSERT OR REPLACE), committed at once.

    Returns:
        False where the row was unsound and went to quarantine.

    Raises:
        StoreError: the file cannot be written.
    """
    fault = candle_fault(row, Timeframe.parse(key.timeframe))
    with store.write() as connection:
        if fault is not None:
            _quarantine(connection, key, row, source=source, fault=fault, seen_ms=seen_ms)
            return False
        connection.execute(f"INSERT OR REPLACE {_INSERT}", _bound(key, row, 0, source))
    return True


def quarantine(
    store: Store, key: SeriesKey, row: Candle, *, source: Source, fault: str, seen_ms: int
) -> None:
    """Write down a candle that may not be stored, with the reason in a few words.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        _quarantine(connection, key, row, source=source, fault=fault, seen_ms=seen_ms)


def mark_closed(store: Store, key: SeriesKey, timestamp: int) -> bool:
    """Declare a forming candle final, on proof; return whether there was one.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.execute(
            f"UPDATE ohlcv_data SET closed = 1 WHERE {_SERIES} AND timestamp = ? AND closed = 0",
            (*_series(key), timestamp),
        )
        return connection.changes() == 1


def closed_between(store: Store, key: SeriesKey, start: int, end: int) -> Candles:
    """Return the closed candles that open in `[start, end)`, oldest first."""
    with store.read() as connection:
        return _candles(
            connection.execute(
                f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp >= ? "
                f"AND timestamp < ? AND {_CLOSED} ORDER BY timestamp",
                (*_series(key), start, end, *_series(key)),
            ).fetchall()
        )


def last_closed(store: Store, key: SeriesKey, count: int, *, up_to: int | None = None) -> Candles:
    """Return the last `count` closed candles, oldest first.

    Args:
        store: The open database.
        key: The series.
        count: How many at most.
        up_to: Candles that open later than this are left out; None takes the newest.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp <= ? "
            f"AND {_CLOSED} ORDER BY timestamp DESC LIMIT ?",
            (*_series(key), 2**62 if up_to is None else up_to, *_series(key), count),
        ).fetchall()
    return _candles(rows[::-1])


def closed_timestamps(store: Store, key: SeriesKey, *, after: int, limit: int = 1_000) -> list[int]:
    """Return the opens of closed candles later than `after`, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND timestamp > ? "
            f"AND {_CLOSED} ORDER BY timestamp LIMIT ?",
            (*_series(key), after, *_series(key), limit),
        ).fetchall()
    return [row[0] for row in rows]


def last_closed_before(store: Store, key: SeriesKey, end: int) -> int | None:
    """Return the open of the newest closed candle before `end`, or None."""
    with store.read() as connection:
        return connection.execute(
            f"SELECT max(timestamp) FROM ohlcv_data WHERE {_SERIES} AND timestamp < ? "
            f"AND {_CLOSED}",
            (*_series(key), end, *_series(key)),
        ).get


def row_at(store: Store, key: SeriesKey, timestamp: int) -> Candle | None:
    """Return the candle that opens at `timestamp`, forming or closed, or None."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp = ?",
            (*_series(key), timestamp),
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def first_row_after(store: Store, key: SeriesKey, timestamp: int) -> Candle | None:
    """Return the first candle that opens after `timestamp`, forming or closed, or None."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp > ? "
            "ORDER BY timestamp LIMIT 1",
            (*_series(key), timestamp),
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def closed_range(store: Store, key: SeriesKey) -> tuple[int, int] | None:
    """Return the opens of the first and the last closed candle, or None where there is none."""
    ends: list[int] = []
    with store.read() as connection:
        for order in ("ASC", "DESC"):
            rows = connection.execute(
                f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND {_CLOSED} "
                f"ORDER BY timestamp {order} LIMIT 1",
                (*_series(key), *_series(key)),
            ).fetchall()
            ends += [timestamp for (timestamp,) in rows]
    return (ends[0], ends[1]) if ends else None


def check_kind(store: Store, exchange: str) -> None:
    """Refuse a file that holds the other kind of candles: invented ones, or real ones.

    Raises:
        StoreError: candles of this exchange may not go into the file.
    """
    with store.read() as connection:
        simulated = connection.execute("SELECT simulated FROM store_kind").get
    if simulated is not None and bool(simulated) != (exchange == SIMULATOR_ID):
        kind = "invented candles of the simulator" if simulated else "candles of a real exchange"
        raise StoreError(
            f"{store.path} holds {kind}, which never share a file with those of {exchange}; "
            "choose another file with --db"
        )


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What the tape holds of one series."""

    key: SeriesKey
    first: int
    """Open of the first candle, epoch seconds."""
    last: int
    """Open of the last candle, epoch seconds."""
    rows: int


def stored_series(store: Store) -> list[SeriesSummary]:
    """Return every series that has candles, by name."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, timeframe, min(timestamp), max(timestamp), count(*) "
            "FROM ohlcv_data GROUP BY exchange, symbol, timeframe ORDER BY 1, 2, 3"
        ).fetchall()
    return [SeriesSummary(SeriesKey(*row[:3]), *row[3:]) for row in rows]


def missing_between(store: Store, key: SeriesKey, start: int, end: int) -> list[tuple[int, int]]:
    """Return the holes in `[start, end)` as half-open ranges of candle opens, oldest first."""
    timeframe = Timeframe.parse(key.timeframe)
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND timestamp >= ? "
            f"AND timestamp < ? AND {_CLOSED} ORDER BY timestamp",
            (*_series(key), start, end, *_series(key)),
        ).fetchall()
    holes: list[tuple[int, int]] = []
    expected = timeframe.ceil(start)
    for (timestamp,) in rows:
        if timestamp > expected:
            holes.append((expected, timestamp))
        expected = timeframe.next(timestamp)
    last = timeframe.ceil(end)
    if expected < last:
        holes.append((expected, last))
    return holes


def _present_after_clearing(
    connection: Connection, key: SeriesKey, ordered: Sequence[Candle]
) -> int:
    """Delete rows of these candles that are not closed; return how many are there and closed."""
    wanted = {row.timestamp for row in ordered}
    rows = connection.execute(
        f"SELECT timestamp, closed FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ?",
        (*_series(key), ordered[0].timestamp, ordered[-1].timestamp),
    ).fetchall()
    mine = [(timestamp, closed) for timestamp, closed in rows if timestamp in wanted]
    # A forming row left by a process that was killed would block the final one for ever.
    connection.executemany(
        f"DELETE FROM ohlcv_data WHERE {_SERIES} AND timestamp = ? AND closed IS NOT 1",
        [(*_series(key), timestamp) for timestamp, closed in mine if closed != 1],
    )
    return sum(closed == 1 for _, closed in mine)


def _count_closed(connection: Connection, key: SeriesKey, ordered: Sequence[Candle]) -> int:
    wanted = {row.timestamp for row in ordered}
    rows = connection.execute(
        f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND timestamp BETWEEN ? AND ? "
        "AND closed = 1",
        (*_series(key), ordered[0].timestamp, ordered[-1].timestamp),
    )
    return sum(timestamp in wanted for (timestamp,) in rows)


def _quarantine(
    connection: Connection,
    key: SeriesKey,
    row: Candle,
    *,
    source: Source,
    fault: str,
    seen_ms: int,
) -> None:
    connection.execute(
        "INSERT INTO quarantine (exchange, symbol, timeframe, seen_ms, source, fault, payload) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*_series(key), seen_ms, source, fault, json.dumps([repr(value) for value in row])),
    )


def _series(key: SeriesKey) -> tuple[str, str, str]:
    return key.exchange, key.symbol, key.timeframe


def _bound(key: SeriesKey, row: Candle, closed: int, source: Source) -> tuple[Value, ...]:
    return (*_series(key), row.timestamp, *row[1:], closed, source)


def _candles(rows: list[tuple[float, ...]]) -> Candles:
    if not rows:
        return Candles.empty()
    timestamp, *prices = zip(*rows, strict=True)
    columns = [np.array(column, dtype=np.float64) for column in prices]
    return Candles.from_columns(np.array(timestamp, dtype=np.int64), *columns)
