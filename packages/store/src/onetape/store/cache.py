"""The columnar cache: closed candles as chunk files in the folder `FILE-cache`, for fast reading.

A row of the table `chunks` states that a chunk file has exactly the closed candles of a span. A
trigger deletes the row in the same transaction that adds, changes or deletes one of these candles,
whichever program does so. The key of a file is random and never used twice. So a file with a row in
`chunks` is never outdated, even if a backup was restored or a crash undid the last commits. A file
without a row is unused and gets deleted. Results do not depend on the files: if a file is missing
or damaged, or cannot be written, the rows are read instead.

A row that plain SQL wrote (`closed` NULL) counts as closed if a later row exists, perhaps in
another chunk. A span that has such a row is therefore never cached.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from onetape.core.candles import Candles, SeriesKey
from onetape.store.chunks import KEY_BYTES, read_chunk, write_chunk
from onetape.store.columns import read_columns
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store

_DAY: Final = 86_400
#: The span of a chunk by the timeframe's unit, seconds; schema_2.sql has the same numbers.
_SPANS: Final = {"s": _DAY, "m": 30 * _DAY}
_LONGEST_SPAN: Final = 365 * _DAY
#: Age up to which a file without a row in `chunks` may still get a row from its process.
_UNUSED_AFTER_SECONDS: Final = 600.0
#: Errors if another process writes, the database is read-only, or the disk is full.
_CANNOT_WRITE: Final = (apsw.BusyError, apsw.ReadOnlyError, apsw.FullError, apsw.IOError)
_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"


class _CacheNotWritableError(Exception):
    """The cache cannot be filled now; the candles are read from the rows instead."""


class Chunk(Struct, frozen=True):
    """A range of time whose closed candles are in a cache file."""

    start: int
    """Start of the chunk's span, epoch seconds."""
    stop: int
    """End of the chunk's span, epoch seconds, exclusive."""
    candles: int
    """Number of candles in the file."""
    key: bytes
    """Random key that the file contains and is named after."""

    @property
    def file_name(self) -> str:
        """Name of the chunk's file in the cache folder."""
        return f"{self.key.hex()}.chunk"


def get_cache_folder(database: Path) -> Path:
    """Return the folder of a database's chunk files, which may be deleted at any time."""
    whole = database.resolve()
    return whole.with_name(f"{whole.name}-cache")


def find_chunks(
    connection: DatabaseConnection, key: SeriesKey, start: int, end: int
) -> list[Chunk]:
    """Return the cached spans that overlap `[start, end)`, oldest first."""
    rows = connection.execute(
        f"SELECT start, stop, candles, key FROM chunks WHERE {_SERIES} AND start > ? AND start < ? "
        "AND stop > ? ORDER BY start",
        (*key.names, start - _LONGEST_SPAN, end, start),
    ).fetchall()
    return [Chunk(*row) for row in rows]


def load_chunk(folder: Path, chunk: Chunk, into: Candles) -> bool:
    """Read a chunk's file into allocated candles; False: the file was damaged and is deleted now.

    Args:
        folder: The cache folder.
        chunk: The chunk.
        into: Candles of the chunk's length in contiguous columns; undefined after False.
    """
    path = folder / chunk.file_name
    if read_chunk(path, chunk.key, into):
        return True
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return False


def fill_cache(store: Store, key: SeriesKey, start: int, end: int) -> None:
    """Cache the spans that hold closed candles of `[start, end)` and are not cached yet.

    Returns without an error if the cache cannot be written: another process writes, a file or
    folder is not writable, or the disk is full. The next reader tries again. Must not be called
    inside a transaction, because a commit here would end it.
    """
    folder = get_cache_folder(store.path)
    built = 0
    try:
        spans = _find_uncached(store, folder, key, start, end)
        if spans:
            folder.mkdir(mode=0o700, exist_ok=True)
        for span in spans:
            built += _build(store, folder, key, *span)
    except (OSError, _CacheNotWritableError):
        return
    if built:
        _delete_unused_files(store, folder)


def _find_uncached(
    store: Store, folder: Path, key: SeriesKey, start: int, end: int
) -> list[tuple[int, int]]:
    """Return start and end of each span that has rows and no chunk file."""
    span = _SPANS.get(key.timeframe[-1:], _LONGEST_SPAN)
    spans: list[tuple[int, int]] = []
    with store.read() as connection:
        ready = {
            chunk.start
            for chunk in find_chunks(connection, key, start, end)
            if (folder / chunk.file_name).is_file()
        }
        at = start
        while (row := _read_first_row_from(connection, key, at)) is not None and row < end:
            begin = row // span * span
            at = begin + span
            if begin not in ready:
                spans.append((begin, at))
    return spans


def _build(store: Store, folder: Path, key: SeriesKey, start: int, stop: int) -> bool:
    """Write the file of a span, then its row; return whether the span was cached.

    Both happen in the read transaction that has read the candles. SQLite lets this transaction
    write only if no process has committed since it began, so the candles are still the same. The
    file comes first: a process that is killed in between leaves an unused file, never a wrong row.
    """
    with store.read() as connection:
        if _has_row_of_plain_sql(connection, key, start, stop):
            return False
        candles = read_columns(connection, key, start, stop)
        if not len(candles):
            return False
        chunk = Chunk(start, stop, len(candles), os.urandom(KEY_BYTES))
        path = folder / chunk.file_name
        write_chunk(path, chunk.key, candles)
        try:
            connection.execute(
                "INSERT OR REPLACE INTO chunks (exchange, symbol, timeframe, start, stop, candles, "
                "key) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*key.names, start, stop, len(candles), chunk.key),
            )
            connection.execute("COMMIT")
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, _CANNOT_WRITE):
                raise _CacheNotWritableError from error
            raise
    return True


def _delete_unused_files(store: Store, folder: Path) -> None:
    """Delete the files that no row of `chunks` names any more."""
    with store.read() as connection:
        named = {key.hex() for (key,) in connection.execute("SELECT key FROM chunks")}
    oldest_used = time.time() - _UNUSED_AFTER_SECONDS
    with contextlib.suppress(OSError):
        for path in folder.glob("*.chunk"):
            if path.stem not in named and path.stat().st_mtime < oldest_used:
                path.unlink(missing_ok=True)


def _has_row_of_plain_sql(
    connection: DatabaseConnection, key: SeriesKey, start: int, stop: int
) -> bool:
    return bool(
        connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM ohlcv_data WHERE {_SERIES} AND timestamp >= ? "
            "AND timestamp < ? AND closed IS NULL)",
            (*key.names, start, stop),
        ).get
    )


def _read_first_row_from(
    connection: DatabaseConnection, key: SeriesKey, timestamp: int
) -> int | None:
    return connection.execute(
        f"SELECT min(timestamp) FROM ohlcv_data WHERE {_SERIES} AND timestamp >= ?",
        (*key.names, timestamp),
    ).get
