"""Move stored candles that are invalid, or were never closed, to the quarantine.

Times of candles are epoch seconds.
"""

from onetape.core.candles import Candle, SeriesKey, find_candle_fault
from onetape.core.timeframes import Timeframe
from onetape.store.database import Store
from onetape.store.quarantine import add_refused_rows

_SERIES = "exchange = ? AND symbol = ? AND timeframe = ?"
#: Fault of a forming row that will never be closed.
NEVER_CLOSED = "never closed"


def quarantine_unsound_rows(
    store: Store, key: SeriesKey, start: int, end: int, *, seen_ms: int
) -> int:
    """Move rows of `[start, end)` that break a rule of candles to quarantine; return their number.

    Args:
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds; negative for rows of plain SQL before 1970.
        end: End of the range, epoch seconds, exclusive.
        seen_ms: Market time, epoch milliseconds.

    Raises:
        UsageError: the timeframe of the series is invalid.
        StoreError: the file cannot be written.
    """
    timeframe = Timeframe.parse(key.timeframe)
    return _quarantine_rows(store, key, start, end, timeframe, seen_ms)


def quarantine_forming_rows(
    store: Store, key: SeriesKey, start: int, end: int, *, seen_ms: int
) -> int:
    """Move rows of `[start, end)` that are not closed to the quarantine; return their number.

    For forming rows that a killed trader left, and for which the exchange has no candle.

    Raises:
        StoreError: the file cannot be written.
    """
    return _quarantine_rows(store, key, start, end, None, seen_ms)


def _quarantine_rows(
    store: Store, key: SeriesKey, start: int, end: int, timeframe: Timeframe | None, seen_ms: int
) -> int:
    """Move rows of `[start, end)` to the quarantine; return their number.

    With a timeframe these are rows that break a rule of candles, without one rows that never
    closed.
    """
    with store.write() as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume, closed, source FROM ohlcv_data "
            f"WHERE {_SERIES} AND timestamp >= ? AND timestamp < ?",
            (*key.names, start, end),
        ).fetchall()
        moved = 0
        for *values, closed, source in rows:
            row = Candle(*values)
            if timeframe is None:
                fault = NEVER_CLOSED if closed == 0 else None
            else:
                fault = find_candle_fault(row, timeframe)
            if fault is None:
                continue
            add_refused_rows(
                connection, key, [(row, fault)], {}, source=source or "rest", seen_ms=seen_ms
            )
            connection.execute(
                f"DELETE FROM ohlcv_data WHERE {_SERIES} AND timestamp = ?",
                (*key.names, row.timestamp),
            )
            moved += 1
    return moved
