"""Read candles from the rows of the database into arrays."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from onetape.core.candles import Candles, SeriesKey
from onetape.store.connection import DatabaseConnection

_NAMES: Final = ("timestamp", "open", "high", "low", "close", "volume")
_ROW: Final = np.dtype(
    [(name, np.float64 if number else np.int64) for number, name in enumerate(_NAMES)]
)
_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM ohlcv_data WHERE {_SERIES} AND closed IS NOT 0"


def read_proven_end(connection: DatabaseConnection, key: SeriesKey, end: int) -> int:
    """Return the time before which all rows not marked as forming are closed; at most `end`.

    A row that plain SQL wrote has `closed` NULL. A later row proves that its candle is closed, so
    only the newest row of a series can be such a row and not closed.
    """
    newest = connection.execute(
        f"SELECT timestamp, closed FROM ohlcv_data WHERE {_SERIES} ORDER BY timestamp DESC LIMIT 1",
        key.names,
    ).fetchall()
    return min(end, newest[0][0]) if newest and newest[0][1] is None else end


def read_columns(connection: DatabaseConnection, key: SeriesKey, start: int, end: int) -> Candles:
    """Return the candles of `[start, end)` that are not forming, oldest first.

    Args:
        connection: Connection of a read transaction.
        key: The series.
        start: Start of the range, epoch seconds.
        end: End of the range, as `read_proven_end` returns it, epoch seconds.
    """
    return _collect_columns(
        connection.execute(
            f"{_SELECT} AND timestamp >= ? AND timestamp < ? ORDER BY timestamp",
            (*key.names, start, end),
        )
    )


def read_last(connection: DatabaseConnection, key: SeriesKey, count: int, end: int) -> Candles:
    """Return the last `count` candles before `end` that are not forming, oldest first.

    `end` is the result of `read_proven_end`, epoch seconds.
    """
    newest_first = connection.execute(
        f"{_SELECT} AND timestamp < ? ORDER BY timestamp DESC LIMIT ?", (*key.names, end, count)
    )
    return _collect_columns(reversed(newest_first.fetchall()))


def _collect_columns(rows: Iterable[tuple[float, ...]]) -> Candles:
    table = np.fromiter(rows, dtype=_ROW)
    # Copies: each column is contiguous, and the memory of the rows is freed.
    return Candles(*(table[name].copy() for name in _NAMES))
