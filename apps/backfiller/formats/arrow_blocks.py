"""Parquet and Feather files as row blocks: read batch by batch, and only the needed columns.

`read_arrow_blocks` is one of three readers (CSV, JSON and this one) that `table_reader` chooses
from by the file's suffix. All take the same arguments and yield `RowBlock`s.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from backfiller.formats.column_roles import (
    ColumnIndexes,
    find_columns_by_flag,
    find_columns_by_header,
    is_futures_header,
)
from backfiller.formats.labels import collect_label_values, find_label_columns
from backfiller.formats.number_formats import parse_numbers
from backfiller.formats.row_blocks import NO_VOLUME, RowBlock, TableNotes
from backfiller.formats.table_files import TableFile
from backfiller.formats.table_kinds import make_futures_header_error
from onetape.core.errors import ConfigurationError, DataError
from onetape.core.message_text import format_error
from onetape.core.printable import escape_unprintable

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are read at a time.
_BATCH_ROWS: Final = 100_000


def read_arrow_blocks(
    table_file: TableFile,
    bases: Sequence[str],
    columns: Sequence[str] | None,
    notes: TableNotes,
    *,
    is_spot: bool,
) -> Iterator[RowBlock]:
    """Yield the rows of a Parquet or Feather file.

    Args:
        table_file: The file.
        bases: Codes of the traded coin, which the name of a volume column may contain.
        columns: Names of the columns, as --columns gives them; None: by the names in the file.
        notes: Receives the notes on the table, and that it has a header.
        is_spot: Whether --spot states that these are candles of a spot market.

    Raises:
        DataError: the file is damaged, or has no candles of a spot market.
        ConfigurationError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            f"{table_file.source}: {table_file.suffix} files need pyarrow; install it: "
            "uv sync --extra parquet"
        )
    pa: Any = import_module("pyarrow")
    batches = _read_feather_batches if table_file.suffix == ".feather" else _read_parquet_batches
    notes.has_header = True
    try:
        with table_file.open() as file:
            for batch, fields in batches(file, table_file, bases, columns, notes, is_spot):
                if batch.num_rows:
                    yield _make_row_block(batch, fields, table_file.source)
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{table_file.source} cannot be read as {table_file.suffix[1:]}: {format_error(error)}"
        ) from error


# Both functions yield batches of Arrow columns: first those of the candle, as many as the number
# in the pair, then those that name the market of a row. Any: pyarrow has no types.
def _read_parquet_batches(
    file: IO[bytes], table_file: TableFile, bases: Sequence[str], columns: Sequence[str] | None,
    notes: TableNotes, is_spot: bool,
) -> Iterator[tuple[Any, int]]:  # fmt: skip
    pq: Any = import_module("pyarrow.parquet")
    # Small buffers: by default pyarrow reads whole columns into memory.
    table = pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
    schema = table.schema_arrow
    indexes = _find_column_indexes(schema, bases, columns, notes, table_file.source, is_spot)
    chosen = [*indexes.fields, *_find_label_columns(schema, indexes).values()]
    names = [schema.names[index] for index in chosen]
    # `iter_batches` selects columns by name only. Where two columns share a name, all columns are
    # read, and selected by position.
    if len(set(schema.names)) == len(schema.names):
        for batch in table.iter_batches(_BATCH_ROWS, columns=names):
            yield batch.select(names), len(indexes.fields)
        return
    for batch in table.iter_batches(_BATCH_ROWS):
        yield batch.select(chosen), len(indexes.fields)


def _read_feather_batches(
    file: IO[bytes], table_file: TableFile, bases: Sequence[str], columns: Sequence[str] | None,
    notes: TableNotes, is_spot: bool,
) -> Iterator[tuple[Any, int]]:  # fmt: skip
    pa: Any = import_module("pyarrow")
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"FEA1"):  # version 1 of the format, which is read as a whole
        batches: Any = import_module("pyarrow.feather").read_table(file).to_batches(_BATCH_ROWS)
        schema: Any = batches[0].schema if batches else pa.schema([])
    else:
        reader: Any = pa.ipc.open_file(file)
        schema = reader.schema
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    indexes = _find_column_indexes(schema, bases, columns, notes, table_file.source, is_spot)
    chosen = [*indexes.fields, *_find_label_columns(schema, indexes).values()]
    for whole in batches:
        batch = whole.select(chosen)
        for first in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(first, _BATCH_ROWS), len(indexes.fields)


def _find_column_indexes(
    schema: Any,
    bases: Sequence[str],
    columns: Sequence[str] | None,
    notes: TableNotes,
    source: str,
    is_spot: bool,
) -> ColumnIndexes:
    """Return the positions of the candle's columns; add a note where the volume is missing.

    Raises:
        DataError: there are no columns, one is missing or ambiguous, or they are those of Binance's
            futures and no --spot is given.
    """
    if not schema.names:
        raise DataError(f"{source} has no columns")
    names = [_parse_first_level(name) for name in schema.names]
    if is_futures_header(names) and not is_spot:
        raise make_futures_header_error(source)
    if columns is not None:
        return find_columns_by_flag(columns, len(names), source)
    indexes = find_columns_by_header(names, bases, source)
    if len(indexes.fields) < 6:
        notes.add(NO_VOLUME)
    return ColumnIndexes(indexes.fields)


def _find_label_columns(schema: Any, indexes: ColumnIndexes) -> dict[str, int]:
    """Return the positions of the columns that name the market of a row, by column name."""
    found = find_label_columns([_parse_first_level(name) for name in schema.names])
    return {name: index for name, index in found.items() if index not in indexes.fields}


def _parse_first_level(name: str) -> str:
    """Return `open` of `('open', 'BTC')`, a name that pandas writes for columns of two levels."""
    if name.startswith("('") and "'" in name[2:]:
        return name[2:].partition("'")[0]
    return name


def _make_row_block(batch: Any, fields: int, source: str) -> RowBlock:
    """Return the rows of an Arrow batch.

    Args:
        batch: Columns of the candle first, then the columns that name the market of a row.
        fields: Number of columns of the candle: 6, or 5 without a volume.
        source: The file, for the error.

    Raises:
        DataError: a column holds neither numbers, texts nor times.
    """
    import pandas as pd

    columns = [
        _convert_column(batch.column(number), batch.schema.names[number], source)
        for number in range(fields)
    ]
    empty = pd.Series(np.logical_and.reduce([column.isna() for column in columns[1:5]]))
    prices = [parse_numbers(column) for column in columns[1:]]
    if len(prices) < 5:
        prices.append(np.zeros(len(columns[0])))
    labels = {
        batch.schema.names[number]: batch.column(number).unique().to_pylist()
        for number in range(fields, batch.num_columns)
    }
    return RowBlock(columns[0], tuple(prices), empty, labels=collect_label_values(labels))


def _convert_column(column: Any, name: str, source: str) -> "pd.Series":
    """Return an Arrow column of plain values as a pandas Series.

    Raises:
        DataError: the values are no numbers, texts or times.
    """
    import pandas as pd

    pa: Any = import_module("pyarrow")
    types: Any = pa.types
    kind: Any = column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if types.is_null(kind):
        return pd.Series(np.full(len(column), np.nan))
    if types.is_date(kind):
        column, kind = column.cast(pa.timestamp("ms")), pa.timestamp("ms")
    known = (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_timestamp(kind)
        or types.is_decimal(kind)
    )
    if not known:
        raise DataError(
            f"{source}: column {escape_unprintable(name)[:40]!r} holds {kind}, "
            "which is not a number, text or time"
        )
    if types.is_integer(kind) and not column.null_count:
        return pd.Series(column.to_numpy(zero_copy_only=False))
    return column.to_pandas()
