"""Read candles from the rows of the database into arrays."""

import numpy as np

from onetape.core.candles import Candles, SeriesKey
from onetape.store.connection import Connection

_ROW = np.dtype(
    [
        ("timestamp", np.int64),
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.float64),
    ]
)
_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"


def proven_end(connection: Connection, key: SeriesKey, end: int) -> int:
    """Return where the rows that are closed or not by their own word alone end, at most `end`.

    A row that plain SQL wrote says nothing of its state. A later row proves that its period ended,
    so only the very newest of a series can be such a row and not closed.
    """
    newest = connection.execute(
        f"SELECT timestamp, closed FROM ohlcv_data WHERE {_SERIES} ORDER BY timestamp DESC LIMIT 1",
        (*key.names,),
    ).fetchall()
    return min(end, newest[0][0]) if newest and newest[0][1] is None else end


def read_columns(connection: Connection, key: SeriesKey, start: int, end: int) -> Candles:
    """Return the candles of `[start, end)` that are not forming; `end` is a `proven_end`."""
    rows = np.fromiter(
        connection.execute(
            f"SELECT {', '.join(_ROW.fields or ())} FROM ohlcv_data WHERE {_SERIES} "
            "AND timestamp >= ? AND timestamp < ? AND closed IS NOT 0 ORDER BY timestamp",
            (*key.names, start, end),
        ),
        dtype=_ROW,
    )
    # Copies, so that each column lies in one piece and the rows' memory is given back.
    return Candles(*(rows[name].copy() for name in _ROW.fields or ()))
