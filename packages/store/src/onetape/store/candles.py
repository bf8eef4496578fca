"""Write and read candles. Candle times are epoch seconds UTC, ranges are half-open.

Rows of REST, of files and of resampling are proven closed: such a row replaces a row of the same
candle that is not closed, and never a closed row. Rows of the stream replace the forming candle,
until the exchange's mark (stream_closes.py) or REST closes the candle. An invalid row goes to
quarantine, because INSERT OR IGNORE would drop the row without an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, islice
from types import MappingProxyType

import numpy as np
from msgspec import Struct

from onetape.core.candle_gaps import find_gaps
from onetape.core.candles import (
    LATEST_TIMESTAMP,
    Candle,
    Candles,
    SeriesKey,
    find_candle_fault,
    find_candle_faults,
)
from onetape.core.errors import StoreOfOtherMarket
from onetape.core.symbols import SIMULATOR_ID
from onetape.core.timeframes import Timeframe
from onetape.store.batches import (
    convert_columns_to_rows,
    convert_rows_to_columns,
    get_candle,
    is_increasing,
    sort_columns,
    sort_rows,
)
from onetape.store.closed_rows import Row, store_closed_batch
from onetape.store.columns import read_last, read_proven_end
from onetape.store.connection import Value
from onetape.store.database import Store
from onetape.store.quarantine import Source, add_refused_rows

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"
# A row that plain SQL wrote has `closed` NULL; a later row proves that its candle is closed.
_CLOSED = (
    "(closed = 1 OR (closed IS NULL AND timestamp < (SELECT max(timestamp) FROM ohlcv_data "
    f"WHERE {_SERIES})))"
)
_COLUMNS = "timestamp, open, high, low, close, volume"
_INSERT = (
    "INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, "
    "closed, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


#: Rows in one transaction of a bulk insert: it holds the lock for some hundredths of a second.
BULK_ROWS = 10_000
#: Rows that a search for gaps reads at a time: a series of years takes tens of megabytes.
SCAN_ROWS = 100_000


class InsertReport(Struct, frozen=True):
    """Result of a batch: `inserted + present + quarantined` is the number of rows given."""

    inserted: int = 0
    """Number of candles that were new."""
    present: int = 0
    """Number of candles that were stored as closed before; a different value is in `revisions`."""
    quarantined: int = 0
    """Number of unsound rows, which are in the quarantine."""
    revised: int = 0
    """Number of values that differ from the stored ones, and are new in `revisions`."""

    def merge_with(self, other: "InsertReport") -> "InsertReport":
        """Return the sums of both reports."""
        return InsertReport(
            self.inserted + other.inserted,
            self.present + other.present,
            self.quarantined + other.quarantined,
            self.revised + other.revised,
        )


def insert_closed_rows(
    store: Store,
    key: SeriesKey,
    rows: Iterable[Candle],
    *,
    source: Source,
    seen_ms: int,
    raw: Mapping[Candle, str] = MappingProxyType({}),
) -> InsertReport:
    """Store candles that are proven closed, in one transaction (INSERT OR IGNORE).

    Args:
        store: The open database.
        key: The series.
        rows: Closed candles in any order; if one occurs twice, the last counts.
        source: Origin of the rows: rest, ws, import or resample.
        seen_ms: Market time at which the rows were read, epoch milliseconds (REST: of the request);
            stored in the quarantine, and decides whether a value of REST is final.
        raw: The exchange's text of a row, for the quarantine; rows without one are stored as text.

    Raises:
        UsageError: the timeframe of the series is invalid.
        StoreError: the file cannot be written, or a sound row did not arrive in the file.
    """
    listed = list(rows)
    columns = convert_rows_to_columns(listed)
    faults = find_candle_faults(columns, Timeframe.parse(key.timeframe))
    refused = [(listed[number], fault) for number, fault in faults.items()]
    if faults or not is_increasing(columns.timestamp):
        listed = sort_rows([row for number, row in enumerate(listed) if number not in faults])
    return _insert_or_quarantine(
        store, key, listed, refused, source=source, seen_ms=seen_ms, raw=raw
    )


def insert_columns(
    store: Store, key: SeriesKey, candles: Candles, *, source: Source, seen_ms: int
) -> InsertReport:
    """Store many candles that are proven closed, `BULK_ROWS` in a transaction.

    The rules are those of `insert_closed_rows`. If the process is killed, the committed
    transactions stay, and a second call with the same candles stores the rest.

    Args:
        store: The open database.
        key: The series.
        candles: Closed candles in any order; if one occurs twice, the last counts.
        source: Origin of the rows: rest, ws, import or resample.
        seen_ms: Market time at which the rows were read, epoch milliseconds (REST: of the request);
            stored in the quarantine, and decides whether a value of REST is final.

    Raises:
        UsageError: the timeframe of the series is invalid.
        StoreError: the file cannot be written, or a sound row did not arrive in the file.
    """
    faults = find_candle_faults(candles, Timeframe.parse(key.timeframe))
    refused = [(get_candle(candles, number), fault) for number, fault in faults.items()]
    sound = sort_columns(candles, without=faults)
    total = InsertReport()
    for first in range(0, max(len(sound), 1), BULK_ROWS):
        rows = convert_columns_to_rows(sound[first : first + BULK_ROWS])
        report = _insert_or_quarantine(
            store, key, rows, refused, source=source, seen_ms=seen_ms, raw={}
        )
        total = total.merge_with(report)
        refused = []
    return total


def _insert_or_quarantine(
    store: Store,
    key: SeriesKey,
    rows: Sequence[Row],
    refused: Sequence[tuple[Candle, str]],
    *,
    source: Source,
    seen_ms: int,
    raw: Mapping[Candle, str],
) -> InsertReport:
    """Store sound rows, sorted and without duplicates, and quarantine the refused rows."""
    if not rows and not refused:
        return InsertReport()
    with store.write(bulk=True) as connection:
        add_refused_rows(connection, key, refused, raw, source=source, seen_ms=seen_ms)
        if not rows:
            return InsertReport(quarantined=len(refused))
        done = store_closed_batch(connection, key, rows, source=source, seen_ms=seen_ms)
    return InsertReport(done.inserted, done.present, len(refused), done.revised)


def replace_forming(
    store: Store, key: SeriesKey, row: Candle, *, seen_ms: int, source: Source = "ws"
) -> bool:
    """Store the newest state of the forming candle (INSERT OR REPLACE), committed at once.

    Returns:
        False where the row was unsound and went to quarantine.

    Raises:
        StoreError: the file cannot be written.
    """
    fault = find_candle_fault(row, Timeframe.parse(key.timeframe))
    with store.write() as connection:
        if fault is not None:
            add_refused_rows(connection, key, [(row, fault)], {}, source=source, seen_ms=seen_ms)
            return False
        connection.execute(f"INSERT OR REPLACE {_INSERT}", _make_bindings(key, row, 0, source))
    return True


def is_proven_closed(store: Store, key: SeriesKey, timestamp: int) -> bool:
    """Return whether a candle is stored and proven closed; a row of plain SQL is not proven."""
    with store.read() as connection:
        found = connection.execute(
            f"SELECT 1 FROM ohlcv_data WHERE {_SERIES} AND timestamp = ? AND closed = 1",
            (*key.names, timestamp),
        ).get
    return found is not None


def read_last_closed(
    store: Store, key: SeriesKey, count: int, *, up_to: int | None = None
) -> Candles:
    """Return the last `count` closed candles, oldest first.

    Args:
        store: The open database.
        key: The series.
        count: Maximum number.
        up_to: Candles that open later than this are left out; None takes the newest.
    """
    with store.read() as connection:
        end = read_proven_end(connection, key, 2**62 if up_to is None else up_to + 1)
        return read_last(connection, key, count, end)


def read_closed_timestamps(
    store: Store, key: SeriesKey, *, after: int, limit: int = 1_000
) -> list[int]:
    """Return the opens of the first `limit` closed candles after `after`, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND timestamp > ? "
            f"AND {_CLOSED} ORDER BY timestamp LIMIT ?",
            (*key.names, after, *key.names, limit),
        ).fetchall()
    return [row[0] for row in rows]


def read_last_closed_timestamp(store: Store, key: SeriesKey, end: int) -> int | None:
    """Return the open of the newest closed candle before `end`, epoch seconds; None: no candle."""
    with store.read() as connection:
        return connection.execute(
            f"SELECT max(timestamp) FROM ohlcv_data WHERE {_SERIES} AND timestamp < ? "
            f"AND {_CLOSED}",
            (*key.names, end, *key.names),
        ).get


def read_candle_at(store: Store, key: SeriesKey, timestamp: int) -> Candle | None:
    """Return the candle that opens at `timestamp`, forming or closed; None: not stored."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp = ?",
            (*key.names, timestamp),
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def read_first_candle_after(store: Store, key: SeriesKey, timestamp: int) -> Candle | None:
    """Return the first candle that opens after `timestamp`, forming or closed; None: no candle."""
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ohlcv_data WHERE {_SERIES} AND timestamp > ? "
            "ORDER BY timestamp LIMIT 1",
            (*key.names, timestamp),
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def read_closed_range(store: Store, key: SeriesKey) -> tuple[int, int] | None:
    """Return the opens of the first and the last closed candle; None without a closed candle.

    Rows at times that no candle can have are left out; plain SQL can write such rows.
    """
    ends: list[int] = []
    with store.read() as connection:
        for order in ("ASC", "DESC"):
            rows = connection.execute(
                f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND {_CLOSED} "
                f"AND timestamp BETWEEN 0 AND ? ORDER BY timestamp {order} LIMIT 1",
                (*key.names, *key.names, LATEST_TIMESTAMP),
            ).fetchall()
            ends += [timestamp for (timestamp,) in rows]
    return (ends[0], ends[1]) if ends else None


def ensure_store_kind(store: Store, exchange: str, *, is_sandbox: bool = False) -> None:
    """Refuse an exchange whose candles may not be in this file.

    Candles of the simulator, of real exchanges and of test networks are stored in separate files.
    With `is_sandbox`, a file without candles is marked as a file of the test network.

    Raises:
        StoreOfOtherMarket: candles of this exchange may not go into the file.
        StoreError: the file cannot be read or written.
    """
    query = "SELECT simulated, is_sandbox FROM store_kind"
    with store.read() as connection:
        rows = connection.execute(query).fetchall()
    if is_sandbox and not rows:
        with store.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO store_kind (only_row, simulated, is_sandbox) "
                "VALUES (1, 0, 1)"
            )
            rows = connection.execute(query).fetchall()
    if not rows:
        return
    simulated, sandbox = (bool(value) for value in rows[0])
    if (simulated, sandbox) == (exchange == SIMULATOR_ID, is_sandbox):
        return
    kind = "the simulator" if simulated else "a real exchange"
    if sandbox:
        kind = "an exchange's test network"
    other = f"the test network of {exchange}" if is_sandbox else exchange
    raise StoreOfOtherMarket(
        f"{store.path} holds candles of {kind}, which never share a file with those of {other}; "
        "choose another file with --db"
    )


class SeriesSummary(Struct, frozen=True):
    """Summary of the stored candles of one series."""

    key: SeriesKey
    first: int
    """Open of the first candle, epoch seconds."""
    last: int
    """Open of the last candle, epoch seconds."""
    rows: int
    """Number of stored candles, the forming one included."""
    sources: tuple[str, ...]
    """Sources of the rows: import, resample, rest, ws, and sql for rows without a source."""


def read_series_summaries(store: Store) -> list[SeriesSummary]:
    """Return a summary of each series with candles, sorted by exchange, symbol and timeframe."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT exchange, symbol, timeframe, min(timestamp), max(timestamp), count(*), "
            "sum(source = 'import'), sum(source = 'resample'), sum(source = 'rest'), "
            "sum(source IS NULL), sum(source = 'ws') "
            "FROM ohlcv_data GROUP BY exchange, symbol, timeframe ORDER BY 1, 2, 3"
        ).fetchall()
    names = ("import", "resample", "rest", "sql", "ws")
    return [
        SeriesSummary(SeriesKey(*row[:3]), row[3], row[4], row[5], tuple(compress(names, row[6:])))
        for row in rows
    ]


def find_series_gaps(store: Store, key: SeriesKey, start: int, end: int) -> list[tuple[int, int]]:
    """Return the gaps of a series in `[start, end)` as half-open ranges of opens, oldest first."""
    timeframe = Timeframe.parse(key.timeframe)
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp FROM ohlcv_data WHERE {_SERIES} AND timestamp >= ? "
            "AND timestamp < ? AND closed IS NOT 0 ORDER BY timestamp",
            (*key.names, start, read_proven_end(connection, key, end)),
        )
        gaps: list[tuple[int, int]] = []
        while True:
            some = islice(rows, SCAN_ROWS)
            # A dtype of one field lets NumPy read SQLite's rows without a loop in Python.
            found = np.fromiter(some, dtype=np.dtype([("timestamp", np.int64)]))["timestamp"]
            if len(found) < SCAN_ROWS:
                return gaps + find_gaps(found, timeframe, start, end)
            # The cut is right after a stored candle, so that no gap is divided.
            stop = timeframe.next(int(found[-1]))
            gaps += find_gaps(found, timeframe, start, stop)
            start = stop


def _make_bindings(key: SeriesKey, row: Candle, closed: int, source: Source) -> tuple[Value, ...]:
    return (*key.names, row.timestamp, *row[1:], closed, source)
