"""Read and check a whole table of a candle file, before any row is stored.

The result is a `CheckedTable`. A few unsound rows are allowed (they are refused later); with many,
the table was probably misread, and is refused as a whole.
"""

import time
from collections import Counter
from typing import Final

import numpy as np
from msgspec import Struct

from backfiller.formats.spool import Spool
from backfiller.formats.table_kinds import find_better_column_order, has_swapped_open_and_close
from backfiller.formats.table_reader import TableContents, read_table
from backfiller.formats.table_series import ImportFlags, PlannedTable, determine_timeframe
from onetape.core.candles import Candle, SeriesKey, find_candle_faults
from onetape.core.clock import format_utc
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.core.timeframes import Timeframe
from onetape.store.batches import get_candle

#: A table with at most `_FEW_ROWS` unsound rows, or one in `_FEW_PART`, counts as read correctly.
_FEW_ROWS: Final = 5
_FEW_PART: Final = 100


class CheckedTable(Struct, frozen=True):
    """A table that was read and checked, and can be stored; `close` deletes its temporary file."""

    source: str
    """Printable path of the file, or `ARCHIVE:MEMBER`."""
    key: SeriesKey
    contents: TableContents
    end: int
    """Rows from this open time on are left out, epoch seconds."""
    first: int
    """Open of the first valid candle, epoch seconds."""
    last: int
    """Open of the last valid candle, epoch seconds."""
    repeated: int
    """Number of rows that repeat another row exactly."""
    unfinished: int
    """Number of candles that have not closed, and are left out."""
    dropped: int
    """Number of candles left out by --drop-last: 0 or 1."""
    is_exchange_guessed: bool
    """Whether the exchange is a guess from the style of the file's name."""
    is_kraken_archive: bool
    """Whether the table is of Kraken's own archive."""
    seconds: float
    """Duration of reading the table, wall seconds."""

    def close(self) -> None:
        """Delete the temporary file of the rows."""
        self.contents.spool.close()


def read_planned(planned: PlannedTable, flags: ImportFlags, *, now_ms: int) -> CheckedTable:
    """Read and check a table; nothing is stored, and the caller closes the result.

    Args:
        planned: The table with its series.
        flags: Values of the import's flags.
        now_ms: Market time, epoch milliseconds: a candle that ends later is left out.

    Raises:
        DataError: the table cannot be read, has two candles for one time, or so many unsound rows
            that they must have been read wrongly.
        UsageError: the rows contradict the stated timeframe, or none is stated and they do not
            show one.
        ConfigurationError: pyarrow is needed and not installed, or the disk is full.
    """
    began = time.monotonic()
    contents = read_table(
        planned.table_file,
        planned.symbol,
        flags.read_options,
        is_symbol_flag=planned.is_symbol_flag,
    )
    try:
        return _check_table(planned, flags, contents, now_ms=now_ms, began=began)
    except BaseException:
        contents.spool.close()
        raise


def _check_table(
    planned: PlannedTable, flags: ImportFlags, contents: TableContents, *, now_ms: int, began: float
) -> CheckedTable:
    source = planned.table_file.source
    times = _collect_times(contents.spool)
    if not times.rows:
        row = f"; the first row: {contents.unreadable_row}" if contents.unreadable_row else ""
        raise DataError(
            f"{source}: none of {format_count(contents.row_count, 'row')} has the time of a "
            f"candle, its open in whole seconds{row}"
        )
    timeframe = determine_timeframe(planned, times.distances)
    key = SeriesKey(planned.exchange, planned.symbol, timeframe.name)
    now = timeframe.floor(now_ms // 1_000)
    # The forming candle at the end of a table was removed already: the range ends before it.
    drops = flags.drop_last and 0 <= times.last < now
    end = times.last if drops else now
    sound = _check_rows(
        contents, timeframe, end, has_header=contents.notes.has_header, source=source
    )
    return CheckedTable(
        source=source,
        key=key,
        contents=contents,
        end=end,
        first=sound[0],
        last=sound[1],
        repeated=contents.row_count
        - contents.priceless_rows
        - times.rows
        - contents.spool.unreadable_rows,
        unfinished=_count_from(contents.spool, now),
        dropped=int(drops),
        is_exchange_guessed=planned.is_guessed,
        is_kraken_archive=planned.is_kraken_archive,
        seconds=time.monotonic() - began,
    )


class _ReadTimes(Struct, frozen=True):
    """The times of a table that could be read, each once."""

    rows: int
    """Number of rows with a readable time; repeated rows count once."""
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
    """Return the number of rows whose time is `start` or later."""
    return sum(
        len(window) - int(np.searchsorted(window.timestamp, start))
        for window in spool.iterate_windows()
    )


def _check_rows(
    contents: TableContents, timeframe: Timeframe, end: int, *, has_header: bool, source: str
) -> tuple[int, int]:
    """Return the opens of the first and the last sound candle.

    Args:
        contents: The table.
        timeframe: Timeframe of the candles.
        end: Rows from this open time on are not checked, epoch seconds.
        has_header: Whether the columns have names; without, their order is checked.
        source: The table, for errors.

    Raises:
        DataError: no row is sound, or so many are unsound that the table was probably misread.
    """
    faults: Counter[str] = Counter()
    first_fault: tuple[str, Candle] | None = None
    order: tuple[str, ...] | None = None
    rows, first, last = contents.spool.unreadable_rows, -1, -1
    if rows:
        faults[
            next(iter(find_candle_faults(contents.spool.unreadable[:1], timeframe).values()))
        ] = rows
        first_fault = (next(iter(faults)), get_candle(contents.spool.unreadable, 0))
    for window in contents.spool.iterate_windows():
        candles = window[: int(np.searchsorted(window.timestamp, end))]
        found = find_candle_faults(candles, timeframe)
        rows += len(candles)
        faults.update(found.values())
        if found and first_fault is None:
            at, fault = next(iter(found.items()))
            first_fault = (fault, get_candle(candles, at))
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
                contents, source, rows, refused, commonest, fault, order, timeframe
            )
    if first < 0:
        raise DataError(
            f"{source}: none of {format_count(contents.row_count, 'row')} is a candle that is over"
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
    contents: TableContents,
    source: str,
    rows: int,
    refused: int,
    commonest: str,
    first: tuple[str, Candle],
    order: tuple[str, ...] | None,
    timeframe: Timeframe,
) -> DataError:
    """Return the error of a table with more than a few unsound rows.

    Args:
        contents: The table.
        source: Name of the table.
        rows: Number of checked rows.
        refused: Number of unsound ones among them.
        commonest: The most frequent fault.
        first: Fault and values of the first unsound row.
        order: Order of columns in which more rows are sound; None: none is known.
        timeframe: Timeframe of the candles.
    """
    fault, candle = first
    unreadable = candle.timestamp < 0 or any(np.isnan(value) for value in candle[1:])
    row = (contents.unreadable_row if unreadable else None) or _format_row(candle)
    if refused == rows:
        fault_text = (
            f"none of {format_count(rows, 'row')} is a valid {timeframe.name} candle that is over"
        )
    else:
        fault_text = (
            f"{refused:,} of {format_count(rows, 'row')} are not valid {timeframe.name} candles"
        )
    hint = ""
    if order is not None:
        columns = ",".join(order)
        hint = f"; its columns may be {columns}: if they are, add --columns {columns}"
    elif contents.rows_outside_years:
        hint = (
            "; times before 2009 or after 2100 are read with --time-unit s (or ms, us, ns), the "
            "unit of their numbers"
        )
    return DataError(
        f"{source}: {fault_text}, so nothing of it was stored; the commonest fault: {commonest}; "
        f"the first such row: {row} ({fault}){hint}"
    )


def _format_row(candle: Candle) -> str:
    named = zip(Candle._fields[1:], candle[1:], strict=True)
    values = " ".join(f"{name} {value!r}" for name, value in named)
    return f"{format_utc(candle.timestamp)} UTC {values}"


def compute_tolerated_rows(rows: int) -> int:
    """Return the maximum number of invalid ones among `rows` rows of a table read correctly."""
    return max(_FEW_ROWS, rows // _FEW_PART)
