"""Reads one table of candles into a spool: unchecked rows, times as epoch seconds."""

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
from backfiller.formats.parts import Part
from backfiller.formats.row_blocks import RowBlock, TableNotes
from backfiller.formats.spool import Spool
from backfiller.formats.table_kinds import KindCheck
from backfiller.formats.time_formats import UNREADABLE, TimeReader
from onetape.core.candles import Candles
from onetape.core.errors import DataError
from onetape.core.message_text import format_count, format_error
from onetape.core.printable import escape_unprintable


class ReadOptions(Struct, frozen=True):
    """Flags on how to read tables."""

    time_unit: str | None = None
    """Unit of numbers of time: s, ms, us, ns or iso; None: recognised by their size."""
    zone: ZoneInfo | None = None
    """Time zone of dates without an offset; None: UTC."""
    columns: Sequence[str] | None = None
    """Names of the columns in their order, `-` for others; None recognises them."""
    is_spot: bool = False
    """Whether the files hold candles of a spot market although they look like another kind."""


class TableContents(Struct):
    """The rows of a table, and the notes on it."""

    spool: Spool
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
    """Time and numbers of the first row that could not be read; `no number` for text."""


#: Function that yields the blocks of a table.
_Reader = Callable[..., Iterator[RowBlock]]
_READERS: Final[dict[str, _Reader]] = {
    ".csv": read_csv_blocks,
    ".txt": read_csv_blocks,
    ".json": read_json_blocks,
    ".feather": read_arrow_blocks,
    ".parquet": read_arrow_blocks,
}


def read_table(
    part: Part, symbol: str, options: ReadOptions, *, is_symbol_flag: bool = True
) -> TableContents:
    """Return the rows of a table, unchecked; the caller closes the spool.

    Text where a number should be becomes NaN, and a time that cannot be read -1; the later check
    refuses both. Rows without any price are left out.

    Args:
        part: The table.
        symbol: Symbol of the candles.
        options: Flags on how to read the table.
        is_symbol_flag: Whether the symbol is given by a flag, so that it counts where rows name
            another.

    Raises:
        DataError: the table is damaged or has no candles of a spot market; its columns or times are
            ambiguous; or it has two candles for one time, or rows of several series, or of another
            series.
        ConfigurationError: pyarrow is needed and not installed, or the disk is full.
    """
    spool = Spool(part.source)
    try:
        return _fill_spool(part, symbol, options, spool, is_symbol_flag=is_symbol_flag)
    except BaseException as error:
        spool.close()
        damaged = (
            OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError,
            RuntimeError,
        )  # fmt: skip
        if isinstance(error, damaged):
            raise DataError(
                f"{part.source} cannot be read: {format_error(error)}; get it again"
            ) from error
        raise


def _fill_spool(
    part: Part, symbol: str, options: ReadOptions, spool: Spool, *, is_symbol_flag: bool
) -> TableContents:
    """Add the rows of a table to the spool; return the spool with the notes on the table."""
    table = TableContents(spool, "", TableNotes())
    times = TimeReader(part.source, options.time_unit, options.zone)
    kind = KindCheck(part.source, is_spot=options.is_spot)
    pairs = list_pair_spellings(
        filter(None, [symbol, part.named.symbol if not is_symbol_flag else None])
    )
    labels = LabelCheck(
        part.source, symbol, pairs, is_symbol_flag=is_symbol_flag, is_spot=options.is_spot
    )
    blocks = _READERS[part.suffix](
        part, _list_base_codes(part, symbol), options.columns, table.notes, is_spot=options.is_spot
    )
    for block in blocks:
        kind.look(block)
        labels.look(block)
        spool.add(_take_block(block, times, table))
    if not table.row_count:
        raise DataError(f"{part.source} has no candles")
    times.finish()
    kind.finish(table.notes)
    labels.finish(table.notes)
    if options.zone is not None and not times.used_zone:
        table.notes.add(
            "its times have a zone of their own, or are numbers: --timezone is not used"
        )
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


def _list_base_codes(part: Part, symbol: str) -> tuple[str, ...]:
    """Return the codes that a column of volume may name: CCXT's, and the one in the file's name."""
    codes = [symbol.partition("/")[0], (part.named.symbol or "").partition("/")[0]]
    return tuple(dict.fromkeys(code for code in codes if code))


def _take_block(block: RowBlock, times: TimeReader, table: TableContents) -> Candles:
    """Return the rows of a block that have a price, and add the counts of all its rows to `table`.

    The first row that cannot be read is stored in `table` too.
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
    """Return time and numbers of the first row with a value that could not be read, or None."""
    numbers = np.add.reduce([np.isnan(column) for column in block.prices])
    bad = np.flatnonzero(((candles.timestamp == UNREADABLE) | (numbers > 0)) & ~empty)
    if not len(bad):
        return None
    at = int(bad[0])
    prices = ["no number" if np.isnan(one[at]) else repr(float(one[at])) for one in block.prices]
    return escape_unprintable(", ".join([str(block.times.iloc[at])[:40], *prices]))
