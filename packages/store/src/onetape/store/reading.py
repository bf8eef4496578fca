"""Read a range of closed candles, from the chunk files of the cache and from the rows between.

Times are epoch seconds UTC, ranges are half-open.
"""

from pathlib import Path
from typing import Final

import numpy as np

from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.untraded import is_untraded
from onetape.store.cache import Chunk, fill_cache, find_chunks, get_cache_folder, load_chunk
from onetape.store.candles import read_first_candle_after
from onetape.store.columns import read_columns, read_proven_end
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store

#: Up to this number of rows, reading the rows is about as fast as opening and checking a chunk
#: file.
ROWS_WITHOUT_CACHE: Final = 4_000


def read_closed_between(
    store: Store, key: SeriesKey, start: int, end: int, *, cached: bool = True
) -> Candles:
    """Return the closed candles that open in `[start, end)`, oldest first.

    Args:
        store: The open database.
        key: The series.
        start: Start of the range, epoch seconds, inclusive.
        end: End of the range, epoch seconds, exclusive.
        cached: Whether the columnar cache may be read and filled; the result is the same.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        is_cached = cached and store.uses_cache
        if not is_cached or not _is_long(connection, key, start, end):
            return read_columns(connection, key, start, read_proven_end(connection, key, end))
    # Inside a transaction of the caller the cache is not filled, because that commits.
    if not connection.in_transaction:
        fill_cache(store, key, start, end)
    with store.read() as connection:
        proven = read_proven_end(connection, key, end)
        candles = _assemble_candles(connection, get_cache_folder(store.path), key, start, proven)
        # A damaged file was deleted; the next reader writes a new one.
        return read_columns(connection, key, start, proven) if candles is None else candles


def read_first_traded_after(store: Store, key: SeriesKey, timestamp: int) -> Candle | None:
    """Return the first candle after a time in which something was traded; None: no such candle.

    The candle may still be forming. The rule is that of `onetape.core.untraded`: if no candle of
    the series has a volume, its source does not report volume, and each candle counts as traded.

    Args:
        store: The open database.
        key: The series.
        timestamp: Only candles that open later than this, epoch seconds.

    Raises:
        StoreError: the file cannot be read.
    """
    first = read_first_candle_after(store, key, timestamp)
    if first is None or not is_untraded(first) or not has_volume(store, key):
        return first
    with store.read() as connection:
        # `not is_untraded`, in SQL: a trading halt may be a thousand candles long.
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE exchange = ? "
            "AND symbol = ? AND timeframe = ? AND timestamp > ? "
            "AND NOT (volume = 0 AND high = low) ORDER BY timestamp LIMIT 1",
            (*key.names, first.timestamp),
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def read_newest_row(store: Store, key: SeriesKey) -> Candle | None:
    """Return the stored candle that opens last, forming or closed; None: no candle is stored.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data WHERE exchange = ? "
            "AND symbol = ? AND timeframe = ? ORDER BY timestamp DESC LIMIT 1",
            key.names,
        ).fetchall()
    return Candle(*rows[0]) if rows else None


def has_volume(store: Store, key: SeriesKey) -> bool:
    """Return whether any stored candle of a series has a volume above 0.

    If none has, the source of the series does not report volume.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        row = connection.execute(
            "SELECT 1 FROM ohlcv_data WHERE exchange = ? AND symbol = ? AND timeframe = ? "
            "AND volume > 0 LIMIT 1",
            key.names,
        ).get
    return row is not None


def _is_long(connection: DatabaseConnection, key: SeriesKey, start: int, end: int) -> bool:
    row = connection.execute(
        "SELECT 1 FROM ohlcv_data WHERE exchange = ? AND symbol = ? AND timeframe = ? "
        "AND timestamp >= ? AND timestamp < ? ORDER BY timestamp LIMIT 1 OFFSET ?",
        (*key.names, start, end, ROWS_WITHOUT_CACHE),
    )
    return row.get is not None


def _assemble_candles(
    connection: DatabaseConnection, folder: Path, key: SeriesKey, start: int, end: int
) -> Candles | None:
    """Return the candles of chunk files and of the rows between, or None if a file is damaged."""
    parts: list[Chunk | Candles] = []
    at = start
    for chunk in find_chunks(connection, key, start, end):
        if at < chunk.start:
            parts.append(read_columns(connection, key, at, chunk.start))
        parts.append(chunk)
        at = chunk.stop
    if at < end:
        parts.append(read_columns(connection, key, at, end))
    whole = _allocate_candles(
        sum(part.candles if isinstance(part, Chunk) else len(part) for part in parts)
    )
    filled = 0
    for part in parts:
        count = part.candles if isinstance(part, Chunk) else len(part)
        target = whole[filled : filled + count]
        if not isinstance(part, Chunk):
            _copy(part, target)
        elif not load_chunk(folder, part, target):
            return None
        filled += count
    # The first and the last chunk may have candles outside the range.
    first, last = np.searchsorted(whole.timestamp, (start, end))
    return whole[int(first) : int(last)]


def _allocate_candles(count: int) -> Candles:
    # One block instead of six is allocated in pages of 2 MB, in a fifth of the time.
    block = np.empty((6, count))
    return Candles(block[0].view(np.int64), *block[1:])


def _copy(source: Candles, target: Candles) -> None:
    target.timestamp[:] = source.timestamp
    target.open[:] = source.open
    target.high[:] = source.high
    target.low[:] = source.low
    target.close[:] = source.close
    target.volume[:] = source.volume
