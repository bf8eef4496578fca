"""Reads one table of candles into a spool: times as epoch seconds, values as floats, unchecked.

The reader of the file's format yields blocks of rows; their times are converted here, and checks on
the kind and the labels of the table see each block.
"""

import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from zipfile import BadZipFile
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct

from backfiller.formats.arrow_blocks import read_arrow_blocks
from backfiller.formats.csv_blocks import read_csv_blocks
from backfiller.formats.json_blocks import read_json_blocks
from backfiller.formats.labels import LabelCheck, list_pair_spellings
from backfiller.formats.row_blocks import RowBlock, TableNotes
from backfiller.formats.spool import Spool
from backfiller.formats.table_files import TableFile
from backfiller.formats.table_kinds import KindCheck
from backfiller.formats.time_formats import UNREADABLE, TimeReader
from onetape.core.candles import Candles
from onetape.core.errors import DataError
from onetape.core.message_text import format_count, format_error
from onetape.core.printable import escape_unprintable


class ReadOptions(Struct, frozen=True):
    """Flags of the import that decide how tables are read."""

    time_unit: str | None = None
    """Unit of the times: s, ms, us or ns, or iso for dates; None: recognised."""
    zone: ZoneInfo | None = None
    """Time zone of dates without an offset; None: UTC."""
    columns: Sequence[str] | None = None
    """Names of the columns in their order, `-` for others; None: recognised."""
    is_spot: bool = False
    """Whether the files hold candles of a spot market although they look like another kind."""


class TableContents(Struct):
    """The rows of a table, and the notes on it."""

    spool: Spool
    """The rows, without those that have no price."""
    time_unit: str
    """Unit of the table's times: s, ms, us, ns or iso; `ms and us` where both occur."""
    notes: TableNotes
    row_count: int = 0
    """Number of rows of the table, with those that were left out."""
    priceless_rows: int = 0
    """Number of rows without any price, which were left out."""
    rows_outside_years: int = 0
    """Number of rows whose time is before 2009 or after 2100 in every unit."""
    unreadable_row: str | None = None
    """Time and numbers of the first row that could not be read, as a text; None: no such row."""


#: Yields the blocks of a table; arguments: see `read_csv_blocks`.
_Reader = Callable[..., Iterator[RowBlock]]
_READERS: Final[dict[str, _Reader]] = {
    ".csv": read_csv_blocks,
    ".txt": read_csv_blocks,
    ".json": read_json_blocks,
    ".feather": read_arrow_blocks,
    ".parquet": read_arrow_blocks,
}


def read_table(
    table_file: TableFile, symbol: str, options: ReadOptions, *, is_symbol_flag: bool = True
) -> TableContents:
    """Return the rows of a table, unchecked; the caller closes the spool.

    Text in place of a number becomes NaN, and a time that cannot be read -1; `table_check` refuses
    such rows later. Rows without any price are left out.

    Args:
        table_file: The table.
        symbol: Symbol of the candles.
        options: Flags on how to read the table.
        is_symbol_flag: Whether --symbol gives the symbol; then rows that name another market are
            imported with a note.

    Raises:
        DataError: the table is damaged or has no candles of a spot market; its columns or times are
            ambiguous; or it has two candles for one time, or rows of several series, or of another
            series.
        ConfigurationError: pyarrow is needed and not installed, or the disk is full.
    """
    spool = Spool(table_file.source)
    try:
        return _fill_spool(table_file, symbol, options, spool, is_symbol_flag=is_symbol_flag)
    except BaseException as error:
        spool.close()
        damaged = (
            OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError,
            RuntimeError,
        )  # fmt: skip
        if isinstance(error, damaged):
            raise DataError(
                f"{table_file.source} cannot be read: {format_error(error)}; get it again"
            ) from error
        raise


def _fill_spool(
    table_file: TableFile, symbol: str, options: ReadOptions, spool: Spool, *, is_symbol_flag: bool
) -> TableContents:
    """Add the rows of a table to the spool; return the spool with the notes on the table."""
    table = TableContents(spool, "", TableNotes())
    times = TimeReader(table_file.source, options.time_unit, options.zone)
    kind = KindCheck(table_file.source, is_spot=options.is_spot)
    pairs = list_pair_spellings(
        filter(None, [symbol, table_file.name_facts.symbol if not is_symbol_flag else None])
    )
    labels = LabelCheck(
        table_file.source, symbol, pairs, is_symbol_flag=is_symbol_flag, is_spot=options.is_spot
    )
    blocks = _READERS[table_file.suffix](
        table_file,
        _list_base_codes(table_file, symbol),
        options.columns,
        table.notes,
        is_spot=options.is_spot,
    )
    for block in blocks:
        kind.add_block(block)
        labels.add_block(block)
        spool.add(_convert_block(block, times, table))
    if not table.row_count:
        raise DataError(f"{table_file.source} has no candles")
    times.finish()
    kind.finish(table.notes)
    labels.finish(table.notes)
    if options.zone is not None and not times.used_zone:
        table.notes.add("its times state a zone, or are numbers: --timezone is not used")
    if times.outside:
        table.rows_outside_years = times.outside
        table.notes.add(
            f"{format_count(times.outside, 'time')} before 2009 or after 2100 in every unit; "
            "if they are right, name their unit with --time-unit s, ms, us or ns"
        )
    if table.priceless_rows:
        table.notes.add(f"{format_count(table.priceless_rows, 'row')} without prices left out")
    table.time_unit = times.unit
    return table


def _list_base_codes(table_file: TableFile, symbol: str) -> tuple[str, ...]:
    """Return codes of the traded coin: CCXT's, and the one in the file's name if it differs."""
    codes = [symbol.partition("/")[0], (table_file.name_facts.symbol or "").partition("/")[0]]
    return tuple(dict.fromkeys(code for code in codes if code))


def _convert_block(block: RowBlock, times: TimeReader, table: TableContents) -> Candles:
    """Return the rows of a block that have a price, and update the counts of `table`.

    The first row that cannot be read is written to `table.unreadable_row`.
    """
    table.row_count += len(block.times)
    seconds = times.read(block.times)
    candles = Candles(seconds, *block.prices)
    empty = block.is_empty.to_numpy() & (seconds != UNREADABLE)
    if table.unreadable_row is None:
        table.unreadable_row = _find_first_unreadable_row(block, candles, empty)
    if not empty.any():
        return candles
    table.priceless_rows += int(np.count_nonzero(empty))
    return candles.take(np.flatnonzero(~empty))


def _find_first_unreadable_row(
    block: RowBlock, candles: Candles, empty: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> str | None:
    """Return time and numbers of the first row with an unreadable value; None: all are readable."""
    numbers = np.add.reduce([np.isnan(column) for column in block.prices])
    bad = np.flatnonzero(((candles.timestamp == UNREADABLE) | (numbers > 0)) & ~empty)
    if not len(bad):
        return None
    at = int(bad[0])
    prices = [
        "no number" if np.isnan(column[at]) else repr(float(column[at])) for column in block.prices
    ]
    return escape_unprintable(", ".join([str(block.times.iloc[at])[:40], *prices]))
