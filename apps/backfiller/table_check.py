"""Read and check a whole table of a candle file, before any row is stored."""

import time
from collections import Counter
from typing import Final

import numpy as np
from msgspec import Struct

from backfiller.formats.spool import Spool
from backfiller.formats.table_kinds import find_better_column_order, has_swapped_open_and_close
from backfiller.formats.table_reader import TableContents, read_table
from backfiller.formats.table_series import Planned, Wanted, determine_timeframe
from onetape.core.candles import Candle, Candles, SeriesKey, find_candle_faults
from onetape.core.clock import format_utc
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe

#: Maximum refused rows of a table that is read correctly: `_FEW_ROWS`, or one in `_FEW_PART`.
_FEW_ROWS: Final = 5
_FEW_PART: Final = 100


class Table(Struct, frozen=True):
    """A table that was read and checked, and can be stored; `close` deletes its temporary file."""

    source: str
    key: SeriesKey
    read: TableContents
    end: int
    """First open time that is left out, epoch seconds."""
    first: int
    """Open of the first valid candle, epoch seconds."""
    last: int
    """Open of the last valid candle, epoch seconds."""
    repeated: int
    unfinished: int
    dropped: int
    is_exchange_guessed: bool
    is_kraken_archive: bool
    seconds: float
    """Duration of reading the table, wall seconds."""

    def close(self) -> None:
        """Delete the temporary file of the rows."""
        self.read.spool.close()


def read_planned(planned: Planned, wanted: Wanted, *, now_ms: int) -> Table:
    """Read and check a table; nothing is written.

    Args:
        planned: The table.
        wanted: Values of the flags.
        now_ms: Market time, epoch milliseconds: a candle that ends later is left out.

    Raises:
        DataError: the table cannot be read, has two candles for one time, or so many unsound rows
            that they must have been read wrongly.
        UsageError: the rows contradict the stated timeframe, or none is stated and they do not
            show one.
        ConfigurationError: pyarrow is needed and not installed, or the disk is full.
    """
    began = time.monotonic()
    read = read_table(
        planned.part, planned.symbol, wanted.read, is_symbol_flag=planned.is_symbol_flag
    )
    try:
        return _check_table(planned, wanted, read, now_ms=now_ms, began=began)
    except BaseException:
        read.spool.close()
        raise


def _check_table(
    planned: Planned, wanted: Wanted, read: TableContents, *, now_ms: int, began: float
) -> Table:
    source = planned.part.source
    times = _collect_times(read.spool)
    if not times.rows:
        row = f"; the first row: {read.unreadable_row}" if read.unreadable_row else ""
        raise DataError(
            f"{source}: none of {format_count(read.row_count, 'row')} has the time of a candle, "
            f"its open in whole seconds{row}"
        )
    timeframe = determine_timeframe(planned, times.distances)
    key = SeriesKey(planned.exchange, planned.symbol, timeframe.name)
    now = timeframe.floor(now_ms // 1_000)
    # The forming candle at the end of a table was removed already: the range ends before it.
    drops = wanted.drop_last and 0 <= times.last < now
    end = times.last if drops else now
    sound = _check_rows(read, timeframe, end, has_header=read.notes.has_header, source=source)
    return Table(
        source=source,
        key=key,
        read=read,
        end=end,
        first=sound[0],
        last=sound[1],
        repeated=read.row_count - read.priceless_rows - times.rows - read.spool.unreadable_rows,
        unfinished=_count_from(read.spool, now),
        dropped=int(drops),
        is_exchange_guessed=planned.is_guessed,
        is_kraken_archive=planned.is_kraken_archive,
        seconds=time.monotonic() - began,
    )


class _ReadTimes(Struct, frozen=True):
    """The times of a table that could be read, each once."""

    rows: int
    last: int
    """Time of the last row, epoch seconds; -1 before the first row."""
    distances: dict[int, int]
    """Number of occurrences of each distance between neighbouring rows, in seconds."""


def _collect_times(spool: Spool) -> _ReadTimes:
    distances: Counter[int] = Counter()
    rows, last = 0, -1
    for window in spool.iterate_windows():
        times = window.timestamp if last < 0 else np.append(last, window.timestamp)
        steps, counts = np.unique(np.diff(times), return_counts=True)
        distances.update(dict(zip(steps.tolist(), counts.tolist(), strict=True)))
        rows += len(window)
        last = int(window.timestamp[-1])
    return _ReadTimes(rows, last, distances)


def _count_from(spool: Spool, start: int) -> int:
    return sum(
        len(window) - int(np.searchsorted(window.timestamp, start))
        for window in spool.iterate_windows()
    )


def _check_rows(
    read: TableContents, timeframe: Timeframe, end: int, *, has_header: bool, source: str
) -> tuple[int, int]:
    """Return the opens of the first and the last sound candle.

    Raises:
        DataError: no row is sound, or so many are unsound that the table was probably misread.
    """
    faults: Counter[str] = Counter()
    first_fault: tuple[str, Candle] | None = None
    order: tuple[str, ...] | None = None
    rows, first, last = read.spool.unreadable_rows, -1, -1
    if rows:
        faults[next(iter(find_candle_faults(read.spool.unreadable[:1], timeframe).values()))] = rows
        first_fault = (next(iter(faults)), _get_candle(read.spool.unreadable, 0))
    for window in read.spool.iterate_windows():
        candles = window[: int(np.searchsorted(window.timestamp, end))]
        found = find_candle_faults(candles, timeframe)
        rows += len(candles)
        faults.update(found.values())
        if found and first_fault is None:
            at, fault = next(iter(found.items()))
            first_fault = (fault, _get_candle(candles, at))
        if found and order is None and not has_header:
            order = find_better_column_order(candles)
        if not has_header and not found and has_swapped_open_and_close(candles):
            raise _make_swapped_columns_error(source)
        if len(found) < len(candles):
            sound = np.delete(candles.timestamp, list(found))
            first = int(sound[0]) if first < 0 else first
            last = int(sound[-1])
    refused = sum(faults.values())
    if first_fault is not None:
        commonest, fault = faults.most_common(1)[0][0], first_fault
        wrong = order is not None or refused > compute_tolerated_rows(rows) or refused * 2 >= rows
        if wrong:
            raise _make_wrong_reading_error(
                read, source, rows, refused, commonest, fault, order, timeframe
            )
    if first < 0:
        raise DataError(
            f"{source}: none of {format_count(read.row_count, 'row')} is a candle that is over"
        )
    return first, last


def _make_swapped_columns_error(source: str) -> DataError:
    columns = "timestamp,close,high,low,open,volume"
    return DataError(
        f"{source}: open and close must be exchanged, because its candles close near the open of "
        f"the candle before, and have no header; add --columns {columns} if that is their order, "
        "or --columns timestamp,open,high,low,close,volume if it is not"
    )


def _make_wrong_reading_error(
    read: TableContents,
    source: str,
    rows: int,
    refused: int,
    commonest: str,
    first: tuple[str, Candle],
    order: tuple[str, ...] | None,
    timeframe: Timeframe,
) -> DataError:
    """Return the error of a table with more than a few unsound rows."""
    fault, candle = first
    unreadable = candle.timestamp < 0 or any(np.isnan(value) for value in candle[1:])
    row = (read.unreadable_row if unreadable else None) or _format_row(candle)
    if refused == rows:
        what = (
            f"none of {format_count(rows, 'row')} is a valid {timeframe.name} candle that is over"
        )
    else:
        what = f"{refused:,} of {format_count(rows, 'row')} are not valid {timeframe.name} candles"
    hint = ""
    if order is not None:
        columns = ",".join(order)
        hint = f"; its columns may be {columns}: if they are, add --columns {columns}"
    elif read.rows_outside_years:
        hint = (
            "; times before 2009 or after 2100 are read with --time-unit s (or ms, us, ns), the "
            "unit of their numbers"
        )
    return DataError(
        f"{source}: {what}, so nothing of it was stored; the commonest fault: {commonest}; the "
        f"first such row: {row} ({fault}){hint}"
    )


def _get_candle(candles: Candles, number: int) -> Candle:
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candle(int(candles.timestamp[number]), *(float(one[number]) for one in columns))


def _format_row(candle: Candle) -> str:
    named = zip(Candle._fields[1:], candle[1:], strict=True)
    values = " ".join(f"{name} {value!r}" for name, value in named)
    return f"{format_utc(candle.timestamp)} UTC {values}"


def compute_tolerated_rows(rows: int) -> int:
    """Return the number of invalid rows that is allowed in a table that was read correctly."""
    return max(_FEW_ROWS, rows // _FEW_PART)
