"""The columnar cache: closed candles in chunk files in a folder of the database, for fast reading.

A row of the table `chunks` means that a file of that key has exactly the closed candles of a span.
A trigger deletes the row in the very transaction that adds, changes or deletes one of them,
whichever program does so, and a key is random and never used twice. So a file that a row of
`chunks` names cannot be stale, not even after a backup was restored or a crash undid the last
commits; and a file without such a row is rubbish. Nothing but speed depends on the files: where one
is missing, cut or damaged, and where none can be written, the rows are read.

A row that plain SQL wrote (`closed` NULL) counts as closed while a later row exists, perhaps in
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
#: Age below which a file without a row in `chunks` may still get one from its process.
_RUBBISH_AFTER_SECONDS: Final = 600.0
#: Another writer, a file that may only be read, a full disk.
_IN_THE_WAY: Final = (apsw.BusyError, apsw.ReadOnlyError, apsw.FullError, apsw.IOError)
_SERIES: Final = "exchange = ? AND symbol = ? AND timeframe = ?"


class _InTheWayError(Exception):
    """The cache cannot be filled now: the candles are read from the database instead."""


class Chunk(Struct, frozen=True):
    """A range of time whose closed candles are in a cache file."""

    start: int
    """Start of the chunk's span, epoch seconds."""
    stop: int
    """End of the chunk's span, epoch seconds, exclusive."""
    candles: int
    key: bytes

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
    """Fill candles from a chunk's file; delete a damaged file and return False."""
    path = folder / chunk.file_name
    if read_chunk(path, chunk.key, into):
        return True
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return False


def fill_cache(store: Store, key: SeriesKey, start: int, end: int) -> None:
    """Cache the spans that hold closed candles of `[start, end)` and are not cached yet.

    Returns without an error if the cache cannot be written: a writer is at work, a file or folder
    cannot be written, or the disk is full. The next reader tries again. Must not be called inside a
    transaction: the snapshot of its owner must not end here.
    """
    folder = get_cache_folder(store.path)
    built = 0
    try:
        spans = _find_uncached(store, folder, key, start, end)
        if spans:
            folder.mkdir(mode=0o700, exist_ok=True)
        for span in spans:
            built += _build(store, folder, key, *span)
    except (OSError, _InTheWayError):
        return
    if built:
        _delete_stale_chunks(store, folder)


def _find_uncached(
    store: Store, folder: Path, key: SeriesKey, start: int, end: int
) -> list[tuple[int, int]]:
    """Return the spans that hold rows and have no file."""
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
    """Write the file of a span, then its row; return whether the span can be cached.

    Both happen in the read transaction that has read the candles. SQLite lets it go on to write
    only if no process has committed anything since, so no candle of the row has changed. The file
    comes first: a process that is killed in between leaves an unused file, never a wrong row.
    """
    with store.read() as connection:
        if _has_unsure_row(connection, key, start, stop):
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
            if isinstance(error, _IN_THE_WAY):
                raise _InTheWayError from error
            raise
    return True


def _delete_stale_chunks(store: Store, folder: Path) -> None:
    """Delete the files that no row of `chunks` names any more."""
    with store.read() as connection:
        named = {key.hex() for (key,) in connection.execute("SELECT key FROM chunks")}
    oldest_alive = time.time() - _RUBBISH_AFTER_SECONDS
    with contextlib.suppress(OSError):
        for path in folder.glob("*.chunk"):
            if path.stem not in named and path.stat().st_mtime < oldest_alive:
                path.unlink(missing_ok=True)


def _has_unsure_row(connection: DatabaseConnection, key: SeriesKey, start: int, stop: int) -> bool:
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
