"""Closed candles read row by row, as a reference for other ways of reading."""

from onetape.core.candles import Candles, SeriesKey
from onetape.store.database import Store

Row = tuple[int, float, float, float, float, float]


def read_plain_rows(store: Store, key: SeriesKey, start: int = 0, end: int = 2**40) -> list[Row]:
    """Return the closed candles of `[start, end)` by the rule in the design, row for row."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE exchange = ?1 "
            "AND symbol = ?2 AND timeframe = ?3 AND timestamp >= ?4 AND timestamp < ?5 "
            "AND (closed = 1 OR (closed IS NULL AND EXISTS (SELECT 1 FROM ohlcv_data l "
            "WHERE l.exchange = ?1 AND l.symbol = ?2 AND l.timeframe = ?3 "
            "AND l.timestamp > ohlcv_data.timestamp))) ORDER BY timestamp",
            (*key.names, start, end),
        ).fetchall()
    return list(rows)


def list_candles(candles: Candles) -> list[Row]:
    """Return candles as rows."""
    columns = (
        candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    return list(zip(*(column.tolist() for column in columns), strict=True))
