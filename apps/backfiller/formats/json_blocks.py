"""JSON files as row blocks: rows (lists) or records (objects with field names).

A file that is one plain list, or has a row in each line, is read piece by piece. Any other
document, such as a saved response of an exchange or a pandas export, is read as a whole, up to
32 MiB.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np

from backfiller.formats.column_roles import (
    ColumnIndexes,
    find_columns_by_count,
    find_columns_by_flag,
    find_columns_by_header,
    is_futures_header,
)
from backfiller.formats.file_names import is_contract_name
from backfiller.formats.labels import collect_label_values, find_label_columns
from backfiller.formats.number_formats import parse_numbers
from backfiller.formats.row_blocks import NO_VOLUME, RowBlock, TableNotes
from backfiller.formats.table_files import MOST_BYTES, TableFile, make_too_large_error
from backfiller.formats.table_kinds import make_futures_header_error, make_futures_response_error
from onetape.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Bytes that are read at a time.
_PIECE_BYTES: Final = 2 * 2**20
#: Maximum bytes of a document that is no plain list; decoded, it takes ten times as much memory.
_MOST_WHOLE_BYTES: Final = 32 * 2**20
#: Text between two rows or records. If a match lies inside a string, the text up to it is no valid
#: JSON, and more is read.
_BETWEEN: Final = re.compile(rb"([\]}])\s*,\s*(?=[\[{])")
#: A row or record in each line, as pandas writes them with `lines=True`.
_LINES: Final = re.compile(rb"(\{[^{}\n]*\}|\[[^\[\]\n]*\])[ \t\r]*\n\s*[{\[]")
_SPACE: Final = b" \t\r\n"
#: Fields in which responses of exchanges have their rows.
_WRAPPERS: Final = ("data", "result", "list", "candles", "klines", "ticks")
#: Fields that state the kind of a market in responses of exchanges, and their values for contracts.
_KIND_FIELDS: Final = ("category", "instType", "productType", "contractType", "marketType")
_CONTRACT_KINDS: Final = frozenset(
    ("linear", "inverse", "option", "swap", "futures", "future", "perpetual", "usdt-futures",
     "coin-futures", "usdc-futures", "umcbl", "dmcbl", "cmcbl")
)  # fmt: skip
#: Fields that name the market in responses of exchanges.
_MARKET_FIELDS: Final = ("symbol", "instId", "instrument_name", "pair", "market", "s")
#: End of the error for a document without rows.
_NO_ROWS: Final = "is not a list of rows [time, open, high, low, close, volume]"
_BOM: Final = b"\xef\xbb\xbf"


def read_json_blocks(
    table_file: TableFile,
    bases: Sequence[str],
    columns: Sequence[str] | None,
    notes: TableNotes,
    *,
    is_spot: bool,
) -> Iterator[RowBlock]:
    """Yield the rows of a JSON file in blocks.

    Args:
        table_file: The file.
        bases: Codes of the traded coin, which the name of a volume field may contain.
        columns: Names of the columns of rows, as --columns gives them; None: recognised.
        notes: Receives the notes on the table, whether its columns have names, and the market that
            a response states.
        is_spot: Whether --spot states that these are candles of a spot market.

    Raises:
        DataError: the file is damaged, or has no candles of a spot market.
    """
    reader = _RowReader(table_file.source, bases, columns, notes, is_spot=is_spot)
    with table_file.open() as file:
        for rows in _read_row_lists(file, table_file, notes, is_spot=is_spot):
            if rows:
                yield reader.make_row_block(rows)


def _read_row_lists(
    file: IO[bytes], table_file: TableFile, notes: TableNotes, *, is_spot: bool
) -> Iterator[list[Any]]:
    """Yield lists of rows or records, in the order of the file."""
    head = file.read(_PIECE_BYTES).removeprefix(_BOM).lstrip(_SPACE)
    if _LINES.match(head):
        yield from _read_json_lines(head, file, table_file)
        return
    if re.match(rb"\[\s*[\[{]", head) is None:
        document = _decode_document(_read_whole_file(head, file, table_file), table_file.source)
        yield _find_rows(document, table_file.source, notes, is_spot=is_spot)
        return
    total, left = len(head), head[1:]
    while True:
        cuts = deque(_BETWEEN.finditer(left), maxlen=1)
        if cuts:
            cut = cuts[0]
            rows = _try_decode_list(b"[" + left[: cut.end(1)] + b"]")
            if rows is not None:
                yield rows
                left = left[cut.end() :]
        elif len(left) > _MOST_WHOLE_BYTES:
            raise DataError(f"{table_file.source} {_NO_ROWS}")
        chunk = file.read(_PIECE_BYTES)
        if not chunk:
            break
        total += len(chunk)
        if table_file.is_packed and total > MOST_BYTES:
            raise make_too_large_error(table_file.source)
        left += chunk
    yield _find_rows(
        _decode_document(b"[" + left, table_file.source), table_file.source, notes, is_spot=is_spot
    )


def _read_json_lines(head: bytes, file: IO[bytes], table_file: TableFile) -> Iterator[list[Any]]:
    """Yield the rows or records of a file that has one of them in each line."""
    total, left, chunk = len(head), b"", head
    while chunk:
        left += chunk
        cut = left.rfind(b"\n") + 1
        if not cut and len(left) > _MOST_WHOLE_BYTES:
            raise DataError(f"{table_file.source} {_NO_ROWS}")
        if cut:
            yield _decode_json_lines(left[:cut], table_file.source)
            left = left[cut:]
        chunk = file.read(_PIECE_BYTES)
        total += len(chunk)
        if table_file.is_packed and total > MOST_BYTES:
            raise make_too_large_error(table_file.source)
    if left.strip():
        yield _decode_json_lines(left, table_file.source)


def _decode_json_lines(text: bytes, source: str) -> list[Any]:
    try:
        return msgspec.json.Decoder(Any).decode_lines(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read as JSON: {error}") from error


def _read_whole_file(head: bytes, file: IO[bytes], table_file: TableFile) -> bytes:
    text = head
    while chunk := file.read(_PIECE_BYTES):
        text += chunk
        if len(text) > _MOST_WHOLE_BYTES:
            raise DataError(
                f"{table_file.source} {_NO_ROWS}, and as another document of JSON larger than "
                f"{_MOST_WHOLE_BYTES // 2**20} MiB; save it as CSV"
            )
    return text


def _try_decode_list(text: bytes) -> list[Any] | None:
    try:
        return msgspec.json.decode(text, type=list[Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _decode_document(text: bytes, source: str) -> object:
    rows = _try_decode_list(text)
    if rows is not None:
        return rows
    try:
        # Python reads NaN, which pandas writes and JSON does not have.
        return cast("object", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} cannot be read as JSON: {error}") from error


def _find_rows(document: object, source: str, notes: TableNotes, *, is_spot: bool) -> list[Any]:
    """Return the rows or records of a document of any layout.

    Raises:
        DataError: the document has no rows, or names a contract.
    """
    for _ in range(4):
        if isinstance(document, list):
            return cast("list[Any]", document)
        if not isinstance(document, dict):
            break
        table = cast("dict[str, Any]", document)
        contract = None if is_spot else _find_contract_field(table)
        if contract is not None:
            raise make_futures_response_error(source, contract)
        markets = {
            name: value for name in _MARKET_FIELDS if isinstance(value := table.get(name), str)
        }
        notes.labels |= {name: frozenset((value,)) for name, value in markets.items()}
        if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
            return _make_records_from_split(table)
        if _is_columns(table):
            return _make_records_from_columns(table)
        if _is_index(table):
            return [{"index": key, **record} for key, record in table.items()]
        inner = [table[name] for name in _WRAPPERS if isinstance(table.get(name), dict | list)]
        lists: list[Any] = [value for value in table.values() if isinstance(value, list) and value]
        found: list[Any] = inner[:1] or (lists if len(lists) == 1 else [])
        if not found:
            break
        document = cast("object", found[0])
    raise DataError(f"{source} {_NO_ROWS}")


def _find_contract_field(table: Mapping[str, Any]) -> str | None:
    """Return the field that shows a contract, such as `category linear`; None without one."""
    for name, value in table.items():
        if not isinstance(value, str):
            continue
        if (name in _KIND_FIELDS and value.lower() in _CONTRACT_KINDS) or (
            name in _MARKET_FIELDS and is_contract_name(value)
        ):
            return f"{name} {value}"
    return None


def _is_columns(table: Mapping[str, Any]) -> bool:
    """Return whether a document has a list, or pandas' orientation `columns`, for each field."""
    names = {name.lower() for name in table}
    kinds = (list, dict)
    return bool(
        ({"open", "close"} <= names or {"o", "c"} <= names)
        and sum(isinstance(value, kinds) for value in table.values()) >= 5
    )


def _is_index(table: Mapping[str, Any]) -> bool:
    """Return whether a document has pandas' orientation `index`: an object of records by time."""
    first: object = next(iter(table.values()), None)
    if not isinstance(first, dict):
        return False
    names = {name.lower() for name in cast("dict[str, Any]", first)}
    return {"open", "close"} <= names and all(isinstance(record, dict) for record in table.values())


def _make_records_from_split(table: Mapping[str, Any]) -> list[Any]:
    """Return the rows of pandas' orientation `split`, as records."""
    names = [str(name) for name in table["columns"]]
    index = table.get("index")
    rows = cast("list[Sequence[Any]]", table["data"])
    records = [dict(zip(names, row, strict=False)) for row in rows]
    if isinstance(index, list) and len(cast("list[Any]", index)) == len(records):
        for record, key in zip(records, cast("list[Any]", index), strict=True):
            record.setdefault("index", key)
    return records


def _make_records_from_columns(table: Mapping[str, Any]) -> list[Any]:
    """Return a document that `_is_columns` accepts as records."""
    columns: dict[str, Any] = {
        name: value for name, value in table.items() if isinstance(value, list | dict)
    }
    first: object = next(iter(columns.values()))
    if isinstance(first, dict):
        by_key = cast("dict[str, dict[str, Any]]", columns)
        keys = list(cast("dict[str, Any]", first))
        return [
            {"index": key, **{name: column.get(key) for name, column in by_key.items()}}
            for key in keys
        ]
    lists = {name: list(column) for name, column in columns.items()}
    longest = max(len(column) for column in lists.values())
    return [
        {name: column[at] if at < len(column) else None for name, column in lists.items()}
        for at in range(longest)
    ]


class _RowReader:
    """Converts rows or records of one table to blocks; the first one shows the columns' order."""

    def __init__(
        self,
        source: str,
        bases: Sequence[str],
        columns: Sequence[str] | None,
        notes: TableNotes,
        *,
        is_spot: bool,
    ) -> None:
        self._source = source
        self._bases = bases
        self._columns = columns
        self._notes = notes
        self._is_spot = is_spot
        self._header: list[str] | None = None
        self._indexes: ColumnIndexes | None = None
        self._width = 0

    def make_row_block(self, rows: list[Any]) -> RowBlock:
        """Return the next rows as a block.

        Raises:
            DataError: the rows differ in kind or length, or their columns cannot be recognised.
        """
        import pandas as pd

        if self._indexes is None:
            self._find_columns(rows[0])
        indexes = cast("ColumnIndexes", self._indexes)
        if self._header is None:
            if any(
                not isinstance(row, list) or len(cast("list[Any]", row)) != self._width
                for row in rows
            ):
                raise DataError(f"{self._source} {_NO_ROWS}")
            columns = list(zip(*rows, strict=True))
        else:
            if any(not isinstance(row, dict) for row in rows):
                raise DataError(f"{self._source} {_NO_ROWS}")
            columns = [tuple(row.get(name) for row in rows) for name in self._header]
        series = [_make_column(columns[index]) for index in indexes.fields]
        times = series[0]
        if indexes.time_of_day is not None:
            times = times.astype(str) + " " + _make_column(columns[indexes.time_of_day]).astype(str)
        empty = pd.Series(np.logical_and.reduce([column.isna() for column in series[1:5]]))
        prices = [parse_numbers(column) for column in series[1:]]
        if len(prices) < 5:
            prices.append(np.zeros(len(rows)))
        others = (
            ()
            if self._notes.has_header
            else [parse_numbers(_make_column(column)) for column in columns[6:]]
        )
        found = find_label_columns(self._header or ())
        labels = collect_label_values(
            {name: _collect_scalars(columns[at]) for name, at in found.items()}
        )
        return RowBlock(times, tuple(prices), empty, tuple(others), labels)

    def _find_columns(self, first: object) -> None:
        """Set the positions of the columns by the first row or record."""
        if isinstance(first, dict):
            self._header = [str(name) for name in cast("dict[str, Any]", first)]
            if is_futures_header(self._header) and not self._is_spot:
                raise make_futures_header_error(self._source)
            self._width = len(self._header)
            self._notes.has_header = True
            self._indexes = find_columns_by_header(self._header, self._bases, self._source)
            if len(self._indexes.fields) < 6:
                self._notes.add(NO_VOLUME)
            return
        if not isinstance(first, list):
            raise DataError(f"{self._source} {_NO_ROWS}")
        self._width = len(cast("list[Any]", first))
        if self._columns is not None:
            self._notes.has_header = True
            self._indexes = find_columns_by_flag(self._columns, self._width, self._source)
            if len(self._indexes.fields) < 6:
                self._notes.add(NO_VOLUME)
        else:
            self._indexes = find_columns_by_count(self._width, self._source)


def _collect_scalars(values: Sequence[Any]) -> set[object]:
    return {value for value in values if isinstance(value, str | int | float)}


def _make_column(values: Sequence[Any]) -> "pd.Series":
    """Return values as a column, with None for lists and objects."""
    import pandas as pd

    plain = [None if isinstance(value, list | dict) else value for value in values]
    return pd.Series(plain, dtype=object).infer_objects()
