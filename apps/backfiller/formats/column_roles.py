"""Finds the columns of a candle in a table: by header, number of columns, or flag.

Publishers name and order columns differently; this module maps the names of many of them to the
six fields of a candle.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from onetape.core.errors import DataError, UsageError
from onetape.core.printable import escape_unprintable

#: Columns in the order of a candle.
FIELDS: Final = ("timestamp", "open", "high", "low", "close", "volume")
#: Field of a candle by the name of a column, simplified by `simplify_column_name`.
_NAMES: Final = {
    "timestamp": "timestamp", "time": "timestamp", "date": "timestamp", "datetime": "timestamp",
    "opentime": "timestamp", "timeopen": "timestamp", "unix": "timestamp",
    "ts": "timestamp", "t": "timestamp",
    "timestampms": "timestamp", "timestamputc": "timestamp", "unixtimestamp": "timestamp",
    "starttime": "timestamp", "start": "timestamp", "timeutc": "timestamp", "dateutc": "timestamp",
    "opentimeutc": "timestamp", "datetimeutc": "timestamp", "unixtime": "timestamp",
    "gmttime": "timestamp", "mts": "timestamp", "localtime": "timestamp", "epoch": "timestamp",
    "open": "open", "o": "open", "openprice": "open", "op": "open", "priceopen": "open",
    "high": "high", "h": "high", "highprice": "high", "hi": "high", "pricehigh": "high",
    "low": "low", "l": "low", "lowprice": "low", "lo": "low", "pricelow": "low",
    "close": "close", "c": "close", "closeprice": "close", "cl": "close", "priceclose": "close",
    "volume": "volume", "v": "volume", "vol": "volume", "basevolume": "volume",
    "volumebase": "volume", "volumefrom": "volume", "baseassetvolume": "volume",
    "volumetraded": "volume",
}  # fmt: skip
#: Names of time columns; of several in one table, the one listed first is read: an open time before
#: a time that may be the close, and a number before a date.
_TIME_RANKS: Final = (
    "opentime", "timeopen", "timestamp", "unix", "unixtimestamp", "unixtime", "timestampms",
    "datetime", "date",
)  # fmt: skip
#: Names of volumes in base currency; of several columns of volume, the one listed first is read.
_VOLUME_RANKS: Final = ("basevolume", "volumebase", "baseassetvolume", "volumefrom", "vol")
#: Columns that show a file of HTX, which names the base volume `amount`, the quote volume `vol`.
_HTX: Final = {"amount", "vol", "count"}
#: Names that pandas writes for an index without a name.
_UNNAMED_INDEX: Final = ("", "indexlevel0", "unnamed0", "index")
#: Header of Binance's archives of futures, mark, index and premium prices; spot has none.
_FUTURES_HEADER: Final = {
    "opentime", "closetime", "count", "takerbuyvolume", "takerbuyquotevolume", "ignore",
}  # fmt: skip
#: Tables without a header, by their number of columns: Binance's REST and archive rows have 12.
_BY_COUNT: Final = (6, 7, 12)


class ColumnIndexes(Struct, frozen=True):
    """Positions of the six columns of a candle in a table, counted from 0."""

    fields: tuple[int, ...]
    """Positions of time, open, high, low, close and volume; five without a column of volume."""
    time_of_day: int | None = None
    """Position of the column with the time of day, if the first field has only the date."""


def parse_columns(text: str) -> tuple[str, ...]:
    """Return the columns that a flag names, such as `timestamp,low,high,open,close,volume`.

    Raises:
        UsageError: a column is unknown, named twice or missing; `-` stands for any other column.
    """
    names = tuple(name.strip().lower() for name in text.split(","))
    for name in names:
        if name not in (*FIELDS, "-"):
            raise UsageError(
                f"--columns: {name!r} is not one of {', '.join(FIELDS)}; write - for another column"
            )
    for field in FIELDS:
        # A table may have no volume.
        if names.count(field) != 1 and (field != "volume" or names.count(field)):
            raise UsageError(f"--columns must name {field} once")
    return names


def find_columns_by_header(
    header: Sequence[str], bases: Sequence[str], source: str
) -> ColumnIndexes:
    """Return the positions of the columns in a table with a header.

    Args:
        header: The names of the columns.
        bases: Codes of the coin, where they are known: `Volume BTC` is the volume of BTC/USDT.
        source: The table, for the error.

    Raises:
        DataError: a column is missing, or two columns match one role.
    """
    plain = [simplify_column_name(name) for name in header]
    names = dict(_NAMES)
    names |= dict.fromkeys(_make_volume_names(bases), "volume")
    if set(plain) >= _HTX:
        names = {name: field for name, field in names.items() if name != "vol"} | {
            "amount": "volume"
        }
        if "id" in plain and not any(names.get(name) == "timestamp" for name in plain):
            names["id"] = "timestamp"
    found = {
        field: [index for index, name in enumerate(plain) if names.get(name) == field]
        for field in FIELDS
    }
    time_of_day = _choose_time_column(plain, found)
    _choose_volume_column(plain, found, bases)
    indexes: list[int] = []
    for field in FIELDS:
        if field == "volume" and not found[field] and not any("vol" in name for name in plain):
            continue
        if len(found[field]) != 1:
            count = "no column" if not found[field] else f"{len(found[field])} columns"
            raise DataError(
                f"{source} has {count} for {field} in its header "
                f"{escape_unprintable(','.join(header))[:120]}; "
                "rename them to timestamp,open,high,low,close,volume"
            )
        indexes.append(found[field][0])
    return ColumnIndexes(tuple(indexes), time_of_day)


def _choose_time_column(plain: Sequence[str], found: dict[str, list[int]]) -> int | None:
    """Reduce `found["timestamp"]` to one column; return the column of the time of day, or None.

    Args:
        plain: Simplified names of the columns.
        found: Positions of the columns of each field; changed in place.
    """
    times = found["timestamp"]
    if not times:
        unnamed = [index for index, name in enumerate(plain) if name in _UNNAMED_INDEX]
        found["timestamp"] = unnamed[:1]
        return None
    if len(times) == 1:
        return None
    by_name = {plain[index]: index for index in reversed(times)}
    if set(by_name) == {"date", "time"}:
        found["timestamp"] = [by_name["date"]]
        return by_name["time"]
    ranked = [by_name[rank] for rank in _TIME_RANKS if rank in by_name]
    found["timestamp"] = ranked[:1] or times
    return None


def _choose_volume_column(
    plain: Sequence[str], found: dict[str, list[int]], bases: Sequence[str]
) -> None:
    """Reduce `found["volume"]` to the column in base currency, if its name shows one.

    Args:
        plain: Simplified names of the columns.
        found: Positions of the columns of each field; changed in place.
        bases: Codes of the traded coin.
    """
    volumes = found["volume"]
    if len(volumes) < 2:
        return
    for rank in (*_make_volume_names(bases), *_VOLUME_RANKS[:-1]):
        named = [index for index in volumes if plain[index] == rank]
        if len(named) == 1:
            found["volume"] = named
            return


def _make_volume_names(bases: Sequence[str]) -> list[str]:
    """Return simplified names of volume columns that contain a coin's code, such as volumebtc."""
    codes = [simplify_column_name(base) for base in bases]
    return [name for code in codes for name in (f"volume{code}", f"vol{code}", f"{code}volume")]


def is_futures_header(header: Sequence[str]) -> bool:
    """Return whether a header has the columns of Binance's archives of futures."""
    return {simplify_column_name(name) for name in header} >= _FUTURES_HEADER


def find_columns_by_count(
    count: int, source: str, *, has_time_of_day: bool = False
) -> ColumnIndexes:
    """Return the positions of the columns in a table without a header, by its number of columns.

    Args:
        count: Number of columns.
        source: The table, for the error.
        has_time_of_day: Whether the first column is a date and the second a time of day.

    Raises:
        DataError: tables with this number of columns are unknown, or the columns are ambiguous.
    """
    if has_time_of_day and count == len(FIELDS) + 1:
        return ColumnIndexes((0, 2, 3, 4, 5, 6), 1)
    if count not in _BY_COUNT or has_time_of_day:
        raise DataError(
            f"{source} has no header and {count} columns, so which is which cannot be known; "
            "name them: --columns timestamp,open,high,low,close,volume, with - for any other"
        )
    return ColumnIndexes((0, 1, 2, 3, 4, 5))


def find_columns_by_flag(names: Sequence[str], count: int, source: str) -> ColumnIndexes:
    """Return the positions of the columns that --columns names.

    Args:
        names: The columns as `parse_columns` returns them.
        count: Number of columns of the table.
        source: The table, for the error.

    Raises:
        DataError: the table has fewer columns.
    """
    if count < len(names):
        raise DataError(f"{source} has {count} columns, and --columns names {len(names)}")
    return ColumnIndexes(tuple(names.index(field) for field in FIELDS if field in names))


def simplify_column_name(name: str) -> str:
    """Return a name in small letters, without punctuation, blanks and underscores."""
    return re.sub(r"[\W_]", "", name.lower())
