"""Reads one table of candles: rows as the file has them, with times as epoch seconds."""

import json
import warnings
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast
from zipfile import BadZipFile

import numpy as np

from backfiller.formats.columns import FIELDS, columns_counted, columns_named
from backfiller.formats.parts import Part
from backfiller.formats.times import Times, read_times
from onetape.core.candles import Candles, FloatArray
from onetape.core.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    import pandas as pd

#: The first line of a table is no longer than this.
_HEAD_BYTES: Final = 65_536
_DELIMITERS: Final = ",;\t"
_PRICES: Final = FIELDS[1:]


def read_table(part: Part, symbol: str | None, time_unit: str | None) -> tuple[Candles, str]:
    """Return the rows of a table in its own order, unchecked, and the unit of its times.

    Text where a number should be becomes NaN, and a time that cannot be read -1: rows that no
    check lets through.

    Args:
        part: The table.
        symbol: Whose candles they are, where that is known.
        time_unit: What times count (see `read_times`); None recognises it.

    Raises:
        DataError: it is damaged, or which column is which or what its times are cannot be told.
        ConfigurationError: pyarrow is needed and not installed.
    """
    try:
        frame = _READERS[part.suffix](part, symbol)
    except (OSError, EOFError, zlib.error, BadZipFile, RuntimeError) as error:
        raise DataError(f"{part.source} cannot be read: {error}; get it again") from error
    if not len(frame):
        raise DataError(f"{part.source} has no candles")
    times: Times = read_times(frame["timestamp"], time_unit, part.source)
    columns = [_numbers(frame[name]) for name in _PRICES]
    return Candles(times.seconds, *columns), times.unit


def _read_csv(part: Part, symbol: str | None) -> "pd.DataFrame":
    with part.open() as file:
        delimiter, first = _first_line(file.read(_HEAD_BYTES), part.source)
    header = not any(_is_number(cell) for cell in first[1:])
    places = (
        columns_named(first, symbol, part.source)
        if header
        else columns_counted(len(first), part.source)
    )
    # Columns come in the file's order; their names put them right.
    names = dict(zip(places, FIELDS, strict=True))
    options: dict[str, Any] = {
        "sep": delimiter,
        "header": None,
        "names": [names.get(place, _other(place)) for place in range(len(first))],
        "skiprows": 1 if header else 0,
        "index_col": False,
        "encoding": "utf-8-sig",
        "low_memory": False,
    }
    frame = _parsed_twice(part, options)
    if not header:
        _check_makers(frame, part.source)
    return frame


def _parsed_twice(part: Part, options: dict[str, Any]) -> "pd.DataFrame":
    """Return a CSV's cells: as numbers, or where one is none, all as text.

    Raises:
        DataError: it is damaged.
    """
    import pandas as pd

    try:
        try:
            return _parsed(part, dtype=dict.fromkeys(_PRICES, np.float64), **options)
        except ValueError as error:
            if isinstance(error, pd.errors.ParserError | UnicodeDecodeError):
                raise
            # Some cell is no number: all are read as text, and that one's row will be refused.
            return _parsed(part, dtype=str, **options)
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise DataError(f"{part.source} cannot be read as CSV: {error}") from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(FIELDS))


def _parsed(part: Part, **options: Any) -> "pd.DataFrame":
    import pandas as pd

    read = cast("Callable[..., pd.DataFrame]", pd.read_csv)  # its overloads know no **options
    with part.open() as file, warnings.catch_warnings():
        # Cells beyond the first line's would be cut off, and with them half of two glued rows.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return read(file, **options)


def _first_line(head: bytes, source: str) -> tuple[str, list[str]]:
    """Return the delimiter of a table and the cells of its first line."""
    if b"\0" in head:
        raise DataError(f"{source} is no text; save it as CSV in UTF-8")
    line = head.decode("utf-8-sig", errors="replace").partition("\n")[0].strip()
    if not line:
        raise DataError(f"{source} has no candles: its first line is empty")
    delimiter = max(_DELIMITERS, key=line.count)
    return delimiter, [cell.strip().strip('"') for cell in line.split(delimiter)]


def _read_json(part: Part, symbol: str | None) -> "pd.DataFrame":
    import pandas as pd

    del symbol
    with part.open() as file:
        try:
            rows = cast("object", json.load(file))
            # Kinds differ by column, and each is looked at on its own later.
            table = np.array(rows, dtype=object)
        except ValueError as error:
            raise DataError(f"{part.source} cannot be read as JSON: {error}") from error
    if table.size == 0:
        return pd.DataFrame(columns=list(FIELDS))
    if table.ndim != 2:
        raise DataError(f"{part.source} is no list of rows [time, open, high, low, close, volume]")
    places = columns_counted(table.shape[1], part.source)
    names = dict(zip(places, FIELDS, strict=True))
    columns = {names.get(at, _other(at)): table[:, at] for at in range(table.shape[1])}
    frame = pd.DataFrame(columns).infer_objects()
    _check_makers(frame, part.source)
    return frame


def _read_arrow(part: Part, symbol: str | None) -> "pd.DataFrame":
    import pandas as pd

    if find_spec("pyarrow") is None:  # with which pandas reads these files
        raise ConfigurationError(
            f"{part.source}: {part.suffix} files need pyarrow; install it: uv sync --extra parquet"
        )
    read = pd.read_feather if part.suffix == ".feather" else pd.read_parquet
    try:
        with part.open() as file:
            frame = read(file)
    except ValueError as error:  # which pyarrow's own errors are
        raise DataError(f"{part.source} cannot be read as {part.suffix[1:]}: {error}") from error
    if frame.index.name is not None:
        frame = frame.reset_index()
    places = columns_named([str(name) for name in frame.columns], symbol, part.source)
    return pd.DataFrame(
        {name: frame.iloc[:, place] for name, place in zip(FIELDS, places, strict=True)}
    )


_READERS: Final[dict[str, Callable[[Part, str | None], "pd.DataFrame"]]] = {
    ".csv": _read_csv,
    ".txt": _read_csv,
    ".json": _read_json,
    ".feather": _read_arrow,
    ".parquet": _read_arrow,
}


def _other(place: int) -> str:
    return f"other {place}"


def _check_makers(frame: "pd.DataFrame", source: str) -> None:
    """Refuse a table without a header that only has as many columns as Kraken's or Binance's.

    Raises:
        DataError: its seventh column is neither Kraken's number of trades nor Binance's close time.
    """
    seventh = _other(len(FIELDS))
    if seventh not in frame:
        return
    values = _numbers(frame[seventh])
    if len(frame.columns) == len(FIELDS) + 1:
        foreign = values != np.rint(values)
    else:
        foreign = values <= _numbers(frame["timestamp"])
    if np.any(foreign & np.isfinite(values)):
        raise DataError(
            f"{source} has no header and is neither Kraken's nor Binance's, so which column is "
            "which cannot be known; put a first line timestamp,open,high,low,close,volume over them"
        )


def _numbers(values: "pd.Series") -> FloatArray:
    """Return a column as floats, each the nearest to its text; what is no number is NaN."""
    if values.dtype.kind in "fiu":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array([_number(value) for value in values.tolist()], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(value) if "_" not in str(value) else np.nan  # pyright: ignore[reportArgumentType] - what float refuses is NaN
    except (TypeError, ValueError):
        return np.nan


def _is_number(text: str) -> bool:
    return not np.isnan(_number(text))
