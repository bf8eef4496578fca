"""Layout of a CSV file, detected in its first bytes.

The layout is the encoding, the delimiter, the lines above the rows, the header, the positions of
the candle's columns and the notation of numbers.
"""

import codecs
import csv
import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from backfiller.formats.column_roles import (
    FIELDS,
    ColumnIndexes,
    find_columns_by_count,
    find_columns_by_flag,
    find_columns_by_header,
    simplify_column_name,
)
from backfiller.formats.date_formats import is_date, is_time_of_day
from backfiller.formats.number_formats import NumberStyle, detect_number_style, is_number
from onetape.core.errors import DataError
from onetape.core.printable import escape_unprintable

#: Number of bytes at the start of a file in which the layout is detected.
HEAD_BYTES: Final = 65_536
#: Possible delimiters. The comma, which numbers may contain, is last: it is taken only if no other
#: delimiter separates as many cells.
_DELIMITERS: Final = ";\t|,"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
#: A first line that names the delimiter, as Excel reads it: `sep=;`.
_MOST_LINES_ABOVE: Final = 100
#: Number of rows that show delimiter and notation of numbers.
_SAMPLE_ROWS: Final = 200
#: A row has at least time, open, high, low and close.
_FEWEST_CELLS: Final = 5


class Layout(Struct, frozen=True):
    """Layout of a CSV file: how its rows are read."""

    encoding: str
    delimiter: str
    skip: int
    """Number of lines above the first row."""
    width: int
    """Number of columns, by the header; without a header, by the first row."""
    indexes: ColumnIndexes
    """Positions of the candle's columns."""
    header: tuple[str, ...]
    """Names of the columns; empty for a table without a header."""
    style: NumberStyle
    """Notation of the prices and volumes."""
    skipped: tuple[str, ...]
    """Lines above the rows that are neither header nor blank."""
    first_row: tuple[str, ...]
    """Cells of the first row; empty for a table without rows."""


def detect_encoding(head: bytes, source: str) -> str:
    """Return the encoding of a text file, by its first bytes.

    Raises:
        DataError: the file is not text.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" not in head:
        return "utf-8-sig"
    # In UTF-16, every second byte of Latin letters and digits is 0.
    for encoding, nulls in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if nulls.count(0) > 0.9 * len(nulls):
            return encoding
    raise DataError(f"{source} is not text; save it as CSV in UTF-8")


def read_layout(
    head: bytes, bases: Sequence[str], columns: Sequence[str] | None, source: str
) -> Layout:
    """Return the layout of a CSV file.

    Args:
        head: First `HEAD_BYTES` bytes of the file, or the whole file.
        bases: Codes of the traded coin, which a volume column may contain: `Volume BTC`.
        columns: Names of the columns, as --columns gives them; None: recognised.
        source: The file, for errors.

    Raises:
        DataError: the file is not text, has no rows, or its columns cannot be recognised.
    """
    encoding = detect_encoding(head, source)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    lines = [line.rstrip("\r") for line in text.split("\n")]
    if len(head) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()  # the last line is cut off
    if len(head) >= HEAD_BYTES and len(lines) < 2:
        raise DataError(f"{source} is not CSV: its first line is longer than {HEAD_BYTES:,} bytes")
    if not any(line.strip() for line in lines):
        raise DataError(f"{source} has no candles: its first line is empty")
    separator = _SEPARATOR_LINE.fullmatch(lines[0])
    delimiter = separator[1] if separator else _detect_delimiter(lines)
    rows = [_split_cells(line, delimiter) for line in lines]
    return _detect_layout(
        rows, encoding, delimiter, bases, columns, source, first=1 if separator else 0
    )


def _detect_delimiter(lines: Sequence[str]) -> str:
    """Return the character that separates the cells of most lines."""
    sample = [line for line in lines[:_SAMPLE_ROWS] if line.strip()]

    def counts(delimiter: str) -> int:
        return sum(len(_split_cells(line, delimiter)) >= _FEWEST_CELLS for line in sample)

    # Of several delimiters with the same count, max takes the first one.
    return max(_DELIMITERS, key=counts)


def _split_cells(line: str, delimiter: str) -> list[str]:
    try:
        rows: list[list[str]] = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # A cell is too long to belong to a table.
        return [line]
    return [cell.strip() for cell in rows[0]] if rows else []


def _detect_layout(
    rows: Sequence[Sequence[str]],
    encoding: str,
    delimiter: str,
    bases: Sequence[str],
    columns: Sequence[str] | None,
    source: str,
    *,
    first: int,
) -> Layout:
    """Return the layout of a file that was split into cells.

    Args:
        rows: Cells of the lines in the head of the file.
        encoding: Encoding of the file.
        delimiter: Character between cells.
        bases: Codes of the traded coin.
        columns: Names of the columns, as --columns gives them; None: recognised.
        source: The file, for errors.
        first: Number of lines at the start that are no part of the table.
    """
    start = _find_first_number_row(rows, first)
    above = [row for row in rows[first:start] if any(row)]
    sample = [row for row in rows[start : start + _SAMPLE_ROWS] if any(row)]
    header, skipped = _find_header(above, bases, sample, columns, source)
    width = len(header or (sample[0] if sample else ()))
    if header:
        indexes = find_columns_by_header(header, bases, source) if columns is None else None
    elif not sample:
        raise DataError(
            f"{source} has no candles: {escape_unprintable(delimiter.join(rows[first]))[:80]!r}"
        )
    else:
        has_time_of_day = is_date(sample[0][0]) and is_time_of_day(sample[0][1])
        indexes = (
            find_columns_by_count(width, source, has_time_of_day=has_time_of_day)
            if columns is None
            else None
        )
    if indexes is None:
        indexes = find_columns_by_flag(columns or (), width, source)
    indexes = _correct_time_of_day_column(indexes, sample)
    cells = [row[at] for row in sample for at in indexes.fields[1:] if at < len(row)]
    numbers = detect_number_style(cells, source)
    return Layout(
        encoding, delimiter, start, width, indexes, tuple(header), numbers,
        tuple(escape_unprintable(delimiter.join(row).rstrip(delimiter)) for row in skipped),
        tuple(sample[0]) if sample else (),
    )  # fmt: skip


def _find_first_number_row(rows: Sequence[Sequence[str]], first: int) -> int:
    """Return the index of the first line that is a row of numbers; without one, `len(rows)`."""
    for number, row in enumerate(rows[: _MOST_LINES_ABOVE + first]):
        if number < first or len(row) < _FEWEST_CELLS:
            continue
        numbers = sum(is_number(cell) for cell in row[1:])
        empty = sum(cell.lower() in ("", "null", "nan", "none", "n/a", "na") for cell in row[1:])
        # A row of a candle without prices still has a time, with a year or an epoch.
        has_time = re.search(r"\d{4}", row[0]) is not None
        if numbers >= _FEWEST_CELLS - 1 or (has_time and numbers + empty >= _FEWEST_CELLS - 1):
            return number
        if has_time and _is_header_above(rows[first:number]):
            return number
    return len(rows)


def _is_header_above(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether one of these lines has the column names open and close."""
    return any({"open", "close"} <= {simplify_column_name(cell) for cell in row} for row in rows)


def _find_header(
    above: Sequence[Sequence[str]],
    bases: Sequence[str],
    sample: Sequence[Sequence[str]],
    columns: Sequence[str] | None,
    source: str,
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header, and the lines above the rows that are not part of it.

    Args:
        above: Cells of the lines above the first row, without blank lines.
        bases: Codes of the traded coin.
        sample: Cells of the first rows.
        columns: Names of the columns, as --columns gives them; None: recognised.
        source: The file, for errors.

    Returns:
        The header is one line, or several lines merged, or empty: there is none.

    Raises:
        DataError: a line that looks like a header lacks a column.
    """
    wide = [row for row in above if sum(bool(cell) for cell in row) >= _FEWEST_CELLS - 1]
    fault: DataError | None = None
    for row in reversed(wide):
        try:
            find_columns_by_header(row, bases, source)
        except DataError as error:
            fault = fault or error
        else:
            return row, [other for other in above if other is not row]
    if columns is not None:
        return [], list(above)
    merged = _merge_header_lines(above, wide)
    if merged:
        try:
            find_columns_by_header(merged, bases, source)
        except DataError:
            pass
        else:
            return merged, []
    if fault is not None:
        raise fault
    if not sample and above:
        raise DataError(f"{source} has no row of time, open, high, low, close and volume")
    return [], list(above)


def _merge_header_lines(above: Sequence[Sequence[str]], wide: Sequence[Sequence[str]]) -> list[str]:
    """Return one header of several lines; empty: they are no header.

    Of the cells above a column, the first one that names a field of a candle is taken, or else the
    first one.

    Args:
        above: Cells of the lines above the first row.
        wide: Those of them with as many cells as a row.
    """
    if not wide or len(above) < 2:
        return []
    width = max(len(row) for row in above)
    known = {*FIELDS, "date", "time", "datetime", "vol"}
    merged: list[str] = []
    for index in range(width):
        names = [row[index] for row in above if index < len(row) and row[index]]
        fitting = [name for name in names if simplify_column_name(name) in known]
        merged.append((fitting or names or [""])[0])
    return merged


def _correct_time_of_day_column(
    indexes: ColumnIndexes, sample: Sequence[Sequence[str]]
) -> ColumnIndexes:
    """Return the positions, corrected if the column `time` holds no times of day.

    It may hold the epoch, which is then read instead of the date.
    """
    at = indexes.time_of_day
    if at is None or not sample or at >= len(sample[0]) or is_time_of_day(sample[0][at]):
        return indexes
    if is_number(sample[0][at]):  # the epoch, in addition to a date
        return ColumnIndexes((at, *indexes.fields[1:]))
    return ColumnIndexes(indexes.fields)
