"""Spool: the rows of a table, returned sorted by time without holding all of them in memory.

Rows are added block by block in any order of time, and stored in a temporary file (small tables
stay in memory). They are read back in windows: ranges of time, oldest first.
"""

import tempfile
from collections.abc import Iterator
from typing import IO, Final, cast

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.clock import format_utc
from onetape.core.errors import ConfigurationError, DataError

#: Bytes of rows that stay in memory; more rows go to a temporary file without a name.
_MEMORY_BYTES: Final = 64 * 2**20
#: Bytes of a row: six columns of 8 bytes.
_ROW_BYTES: Final = 48
#: Approximate number of rows that are yielded at a time.
_WINDOW_ROWS: Final = 200_000
#: Of every so many rows, one time is remembered; the windows begin at such times.
_SAMPLE_EVERY: Final = 256
#: Maximum number of rows without a readable time that are kept; the quarantine has this limit too.
_MOST_UNREADABLE: Final = 1_000


class _Piece(Struct, frozen=True):
    """Rows that were stored by one call of `add`, oldest first."""

    offset: int
    """Position of the rows in the temporary file, bytes."""
    rows: int
    """Number of rows."""
    first: int
    """Time of the oldest row, epoch seconds."""
    last: int
    """Time of the newest row, epoch seconds."""


class Spool:
    """Stores rows block by block, and yields them oldest first; repeated rows once."""

    def __init__(self, source: str) -> None:
        """Start without rows; `source` is the table, for errors."""
        self._source = source
        self._file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(_MEMORY_BYTES))  # noqa: SIM115 - `close` does
        self._pieces: list[_Piece] = []
        self._samples: list[IntArray] = []
        self._end = 0
        self._read: tuple[int, Candles] | None = None
        self.rows = 0
        """Number of rows that were added, unreadable ones included."""
        self.unreadable = Candles.make_empty()
        """The first 1,000 rows whose time could not be read."""
        self.unreadable_rows = 0
        """Number of rows whose time could not be read."""

    def close(self) -> None:
        """Delete the temporary file of the rows."""
        self._file.close()
        self._read = None

    def add(self, candles: Candles) -> None:
        """Add rows, in any order of time; a time below 0 stands for an unreadable one.

        Raises:
            DataError: two rows of one time differ.
            ConfigurationError: the disk is full.
        """
        self.rows += len(candles)
        readable = candles.timestamp >= 0
        if not readable.all():
            bad = candles.take(np.flatnonzero(~readable))
            self.unreadable_rows += len(bad)
            count = _MOST_UNREADABLE - len(self.unreadable)
            self.unreadable = self.unreadable.concat(bad[:count]) if count else self.unreadable
            candles = candles.take(np.flatnonzero(readable))
        if not len(candles):
            return
        candles = drop_repeated_candles(sort_by_time(candles), self._source)
        columns = (
            candles.timestamp, candles.open, candles.high, candles.low, candles.close,
            candles.volume,
        )  # fmt: skip
        try:
            self._file.seek(self._end)
            for column in columns:
                self._file.write(np.ascontiguousarray(column).tobytes())
        except OSError as error:
            raise ConfigurationError(
                f"the rows of {self._source} find no room in {tempfile.gettempdir()}: "
                f"{error.strerror or error}; set TMPDIR to a folder on a larger disk"
            ) from error
        times = candles.timestamp
        self._pieces.append(_Piece(self._end, len(candles), int(times[0]), int(times[-1])))
        self._samples.append(times[::_SAMPLE_EVERY].copy())
        self._end += len(candles) * _ROW_BYTES

    def iterate_windows(self) -> Iterator[Candles]:
        """Yield all rows with a readable time, oldest first, in windows of about 200,000 rows.

        Raises:
            DataError: two rows of one time differ.
        """
        if not self._pieces:
            return
        starts = self._compute_window_starts()
        for start, end in zip(starts, [*starts[1:], 2**62], strict=True):
            window = self._read_between(start, end)
            if len(window):
                yield window

    def _compute_window_starts(self) -> list[int]:
        samples = np.sort(np.concatenate(self._samples))
        cuts = samples[:: max(_WINDOW_ROWS // _SAMPLE_EVERY, 1)]
        return np.unique(np.append(cuts, min(piece.first for piece in self._pieces))).tolist()

    def _read_between(self, start: int, end: int) -> Candles:
        parts: list[Candles] = []
        for piece in self._pieces:
            if piece.last < start or piece.first >= end:
                continue
            candles = self._read_piece(piece)
            low, high = np.searchsorted(candles.timestamp, (start, end))
            parts.append(candles[int(low) : int(high)])
        if len(parts) <= 1:
            return parts[0] if parts else Candles.make_empty()
        joined = Candles(
            np.concatenate([part.timestamp for part in parts]),
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("open", "high", "low", "close", "volume")
            ),
        )
        return drop_repeated_candles(sort_by_time(joined), self._source)

    def _read_piece(self, piece: _Piece) -> Candles:
        if self._read is not None and self._read[0] == piece.offset:
            return self._read[1]
        self._file.seek(piece.offset)
        content = self._file.read(piece.rows * _ROW_BYTES)
        size = piece.rows * 8
        times: IntArray = np.frombuffer(content, np.int64, piece.rows)
        prices: list[FloatArray] = [
            np.frombuffer(content, np.float64, piece.rows, at * size) for at in range(1, 6)
        ]
        candles = Candles(times, *prices)
        self._read = (piece.offset, candles)
        return candles


def sort_by_time(candles: Candles) -> Candles:
    """Return candles oldest first; candles of the same time stay in their order."""
    if np.all(candles.timestamp[1:] >= candles.timestamp[:-1]):
        return candles
    return candles.take(np.argsort(candles.timestamp, kind="stable"))


def drop_repeated_candles(candles: Candles, source: str) -> Candles:
    """Return sorted candles without those that are equal to the candle before them.

    Raises:
        DataError: two candles of the same time differ.
    """
    same = candles.timestamp[1:] == candles.timestamp[:-1]
    if not same.any():
        return candles
    equal = same.copy()
    for column in (candles.open, candles.high, candles.low, candles.close, candles.volume):
        both_nan = np.isnan(column[1:]) & np.isnan(column[:-1])
        equal &= (column[1:] == column[:-1]) | both_nan
    if not np.array_equal(same, equal):
        at = int(candles.timestamp[1:][same & ~equal][0])
        raise DataError(
            f"{source}: two different rows are both of {format_utc(at)} UTC, and which is right "
            "cannot be known; delete one of them"
        )
    return candles.take(np.flatnonzero(np.append(True, ~same)))
