"""Store candles that the exchange's stream marked as final, and find those to compare with REST.

The table `stream_closes` has the marked candles that were not compared with REST yet. A read of
REST long enough after the close deletes the row (closed_rows.py): the value is confirmed, or a
revision of a higher rank is stored. Times of candles are epoch seconds.
"""

from onetape.core.candles import Candle, SeriesKey, find_candle_fault
from onetape.core.timeframes import Timeframe
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.quarantine import add_refused_rows
from onetape.store.ranks import STREAM_CLOSE

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"
_INSERT = (
    "INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, "
    "closed, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 'ws')"
)


def store_marked(store: Store, key: SeriesKey, row: Candle, *, closed_ms: int) -> bool:
    """Store a candle that the exchange's stream marked as final.

    The candle replaces a row that is not closed. If the row is closed, a different value becomes a
    revision with the mark's rank.

    Args:
        store: The open database.
        key: The series.
        row: The candle with its value in the marked frame.
        closed_ms: Market time of the mark, epoch milliseconds.

    Returns:
        False: the row was unsound and is in the quarantine.

    Raises:
        StoreError: the file cannot be written.
    """
    fault = find_candle_fault(row, Timeframe.parse(key.timeframe))
    values = (*key.names, *row)
    with store.write() as connection:
        if fault is not None:
            add_refused_rows(connection, key, [(row, fault)], {}, source="ws", seen_ms=closed_ms)
            return False
        stored = connection.execute(
            f"SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE {_SERIES} "
            "AND timestamp = ? AND closed = 1",
            (*key.names, row.timestamp),
        ).fetchall()
        if not stored:
            connection.execute(f"INSERT OR REPLACE {_INSERT}", values)
            note_stream_close(connection, key, row.timestamp, closed_ms=closed_ms)
        elif stored[0] != tuple(row):
            newest = connection.execute("SELECT ifnull(max(id), 0) FROM revisions").get
            # A trigger keeps the closed row and writes the revision.
            connection.execute(f"INSERT {_INSERT}", values)
            connection.execute(
                "UPDATE revisions SET rank = ? WHERE id > ? AND rank IS NULL",
                (STREAM_CLOSE, newest),
            )
    return True


def note_stream_close(
    connection: DatabaseConnection, key: SeriesKey, timestamp: int, *, closed_ms: int
) -> None:
    """Add a candle to those that have to be compared with REST, inside a write transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO stream_closes (exchange, symbol, timeframe, timestamp, closed_ms) "
        "VALUES (?, ?, ?, ?, ?)",
        (*key.names, timestamp, closed_ms),
    )


def read_uncompared(store: Store, key: SeriesKey, *, end: int) -> list[int]:
    """Return the opens of candles before `end` that have to be compared with REST, oldest first.

    Their value came from the stream's mark, or from REST right at the close. Epoch seconds.
    """
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT timestamp FROM stream_closes WHERE {_SERIES} AND timestamp < ? "
            f"UNION SELECT timestamp FROM early_reads WHERE {_SERIES} AND timestamp < ? ORDER BY 1",
            (*key.names, end, *key.names, end),
        ).fetchall()
    return [timestamp for (timestamp,) in rows]
