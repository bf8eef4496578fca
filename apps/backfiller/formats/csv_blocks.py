"""CSV files as row blocks, read a few megabytes at a time.

`read_csv_blocks` finds the layout (encoding, delimiter, header, notation of numbers) in the first
bytes of the file, and then parses the rows with pandas.
"""

import codecs
import warnings
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final, cast

import numpy as np

from backfiller.formats.column_roles import is_futures_header
from backfiller.formats.labels import collect_label_values, find_label_columns
from backfiller.formats.layout import HEAD_BYTES, Layout, read_layout
from backfiller.formats.number_formats import parse_numbers
from backfiller.formats.row_blocks import NO_VOLUME, RowBlock, TableNotes
from backfiller.formats.table_files import MOST_BYTES, TableFile, make_too_large_error
from backfiller.formats.table_kinds import UNLIKE_SPOT, is_unlike_spot, make_futures_header_error
from onetape.core.candles import FloatArray
from onetape.core.errors import DataError
from onetape.core.message_text import format_count, format_error

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of text that become columns at a time; as Python texts they take ten times as much memory.
_BLOCK_BYTES: Final = 4 * 2**20
#: Maximum length of a line of a table, bytes.
_LONGEST_LINE: Final = 2**20


def read_csv_blocks(
    table_file: TableFile,
    bases: Sequence[str],
    columns: Sequence[str] | None,
    notes: TableNotes,
    *,
    is_spot: bool,
) -> Iterator[RowBlock]:
    """Yield the rows of a CSV file in blocks.

    Args:
        table_file: The file.
        bases: Codes of the traded coin, which the name of a volume column may contain.
        columns: Names of the columns, as --columns gives them; None: recognised in the file.
        notes: Receives the notes on the table, and whether its columns have names.
        is_spot: Whether --spot states that these are candles of a spot market.

    Raises:
        DataError: the file is damaged, or has no candles of a spot market.
    """
    with table_file.open() as file:
        head = _read_full(file, HEAD_BYTES)
        layout = read_layout(head, bases, columns, table_file.source)
        _check_layout(layout, table_file, columns, notes, is_spot=is_spot)
        for text in _read_text_pieces(head, file, layout, table_file):
            frame = _parse_as_numbers_or_text(text, layout, table_file.source)
            if len(frame):
                yield _make_row_block(frame, layout, is_named=notes.has_header)


def _check_layout(
    layout: Layout,
    table_file: TableFile,
    columns: Sequence[str] | None,
    notes: TableNotes,
    *,
    is_spot: bool,
) -> None:
    """Refuse a header of futures, and add to `notes` what the first lines show.

    Raises:
        DataError: the header is that of Binance's futures, and no --spot is given.
    """
    if is_futures_header(layout.header) and not is_spot:
        raise make_futures_header_error(table_file.source)
    notes.has_header = bool(layout.header) or columns is not None
    if layout.skipped:
        notes.add(
            f"{format_count(len(layout.skipped), 'line')} above the rows skipped: "
            f"{layout.skipped[0][:60]!r}"
        )
    if (
        table_file.name_facts.codes_of == "binance"
        and not is_spot
        and is_unlike_spot(layout.header, layout.first_row)
    ):
        notes.add(UNLIKE_SPOT)
    if len(layout.indexes.fields) < 6:
        notes.add(NO_VOLUME)
    if any(name.lower().replace(" ", "") == "adjclose" for name in layout.header):
        notes.add("looks like Yahoo's: its volume of coins is in quote currency, not in coins")


def _read_full(file: IO[bytes], count: int) -> bytes:
    """Return this number of bytes, or the rest; a compressed file may return fewer per read."""
    pieces: list[bytes] = []
    while count > 0 and (piece := file.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _read_text_pieces(
    head: bytes, file: IO[bytes], layout: Layout, table_file: TableFile
) -> Iterator[bytes]:
    """Yield the rows as UTF-8 text, a few megabytes of whole lines at a time.

    Args:
        head: Bytes at the start of the file, which were read from it already.
        file: The open file, positioned behind `head`.
        layout: Encoding, and number of lines above the rows.
        table_file: The file, for errors.

    Raises:
        DataError: a line is too long, or a compressed file unpacks to too much.
    """
    decoder = codecs.getincrementaldecoder(layout.encoding)(errors="replace")
    total, left, skip = 0, b"", layout.skip
    chunk = head
    while chunk:
        total += len(chunk)
        if table_file.is_packed and total > MOST_BYTES:
            raise make_too_large_error(table_file.source)
        left += decoder.decode(chunk).encode() if layout.encoding != "utf-8-sig" else chunk
        if total == len(head):
            left = left.removeprefix(codecs.BOM_UTF8)
        whole = left.rfind(b"\n") + 1
        if not whole and len(left) > _LONGEST_LINE:
            raise DataError(f"{table_file.source}: a line is longer than {_LONGEST_LINE:,} bytes")
        text, left = left[:whole], left[whole:]
        text, skip = _skip_lines(text, skip)
        if text.strip():
            yield text
        chunk = file.read(_BLOCK_BYTES)
    left, _ = _skip_lines(left, skip)
    if left.strip():
        yield left


def _skip_lines(text: bytes, count: int) -> tuple[bytes, int]:
    """Return a text without its first `count` lines, and how many it lacked of them."""
    while count and text:
        text = text.partition(b"\n")[2]
        count -= 1
    return text, count


def _parse_as_numbers_or_text(text: bytes, layout: Layout, source: str) -> "pd.DataFrame":
    """Return the cells of some lines: prices as floats, or all cells as text if one is no number.

    The columns are named by their positions: "0", "1" and so on.

    Raises:
        DataError: the lines are no CSV.
    """
    import pandas as pd

    prices = [str(index) for index in layout.indexes.fields[1:]]
    texts = _choose_text_columns(layout)
    names = [str(index) for index in range(layout.width)]
    options: dict[str, Any] = {
        "sep": layout.delimiter,
        "header": None,
        "names": names,
        "index_col": False,
        "low_memory": False,
        "skipinitialspace": True,
        "encoding_errors": "replace",
    }
    try:
        if layout.style.is_plain:
            try:
                return _parse_csv(text, dtype=dict.fromkeys(prices, np.float64) | texts, **options)
            except ValueError as error:
                if isinstance(error, pd.errors.ParserError):
                    raise
        # Some cell is not a number: all cells are read as text, and its row is refused later.
        return _parse_csv(text, dtype=str, **options)
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{source} cannot be read as CSV: a row has more than the {layout.width} cells of the "
            "first line; dates and numbers that hold the separator need quotes"
        ) from error
    except pd.errors.ParserError as error:
        raise DataError(f"{source} cannot be read as CSV: {format_error(error)}") from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=names)


def _choose_text_columns(layout: Layout) -> dict[str, type[str]]:
    """Return pandas types of the columns that stay text: 010000, a time, is 10000 as a number."""
    at = layout.indexes.time_of_day
    return {} if at is None else {str(layout.indexes.fields[0]): str, str(at): str}


def _parse_csv(text: bytes, **options: Any) -> "pd.DataFrame":
    import pandas as pd

    read = cast("Callable[..., pd.DataFrame]", pd.read_csv)  # its overloads have no **options
    with warnings.catch_warnings():
        # Where a line has more cells than the first one, pandas only warns and drops them.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return read(BytesIO(text), **options)


def _make_row_block(frame: "pd.DataFrame", layout: Layout, *, is_named: bool) -> RowBlock:
    """Return a block of parsed lines; `is_named`: the columns have names, by header or by flag."""
    fields = [frame[str(index)] for index in layout.indexes.fields]
    times = fields[0]
    if layout.indexes.time_of_day is not None:
        times = times.astype(str) + " " + frame[str(layout.indexes.time_of_day)].astype(str)
    empty = fields[1].isna() & fields[2].isna() & fields[3].isna() & fields[4].isna()
    prices = [parse_numbers(column, layout.style) for column in fields[1:]]
    if len(prices) < 5:
        prices.append(np.zeros(len(frame)))
    others: tuple[FloatArray, ...] = ()
    if not is_named:
        behind = range(6, layout.width) if layout.indexes.time_of_day is None else range(0)
        others = tuple(parse_numbers(frame[str(index)], layout.style) for index in behind)
    labels = {
        name: frame[str(at)].unique() for name, at in find_label_columns(layout.header).items()
    }
    return RowBlock(times, tuple(prices), empty, others, collect_label_values(labels))
