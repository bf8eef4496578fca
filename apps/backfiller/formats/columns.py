"""Which column of a table is which: by its header, or by how many columns there are."""

import re
from collections.abc import Sequence
from typing import Final

from onetape.core.errors import DataError

#: In the order of a candle.
FIELDS: Final = ("timestamp", "open", "high", "low", "close", "volume")
_NAMES: Final = {
    "timestamp": "timestamp", "time": "timestamp", "date": "timestamp", "datetime": "timestamp",
    "opentime": "timestamp", "unix": "timestamp", "ts": "timestamp", "t": "timestamp",
    "timestampms": "timestamp", "timestamputc": "timestamp", "unixtimestamp": "timestamp",
    "open": "open", "o": "open", "openprice": "open",
    "high": "high", "h": "high", "highprice": "high",
    "low": "low", "l": "low", "lowprice": "low",
    "close": "close", "c": "close", "closeprice": "close",
    "volume": "volume", "v": "volume", "vol": "volume", "basevolume": "volume",
    "volumebase": "volume",
}  # fmt: skip
#: Where a table has the time twice, as a number and as a date, the number is meant.
_TIME_RANKS: Final = ("timestamp", "opentime", "unix", "unixtimestamp")
#: Tables without a header, by their number of columns: Binance's REST and archive rows have 12.
_BY_COUNT: Final = {6: (0, 1, 2, 3, 4, 5), 7: (0, 1, 2, 3, 4, 5), 12: (0, 1, 2, 3, 4, 5)}


def columns_named(header: Sequence[str], symbol: str | None, source: str) -> tuple[int, ...]:
    """Return where time, open, high, low, close and volume are in a table with a header.

    Args:
        header: The names of the columns.
        symbol: Whose candles they are, where that is known: `Volume BTC` is the volume of BTC/USDT.
        source: The table, for the error.

    Raises:
        DataError: a column is missing, or two could be meant.
    """
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    names = dict(_NAMES)
    if symbol is not None:
        names[f"volume{symbol.partition('/')[0].lower()}"] = "volume"
    places: list[int] = []
    for field in FIELDS:
        found = [place for place, name in enumerate(plain) if names.get(name) == field]
        if field == "timestamp" and len(found) > 1:
            ranked = [place for rank in _TIME_RANKS for place in found if plain[place] == rank]
            found = ranked[:1] or found
        if len(found) != 1:
            what = "no column" if not found else f"{len(found)} columns"
            raise DataError(
                f"{source} has {what} for {field} in its header {','.join(header)[:120]}; "
                "rename them to timestamp,open,high,low,close,volume"
            )
        places.append(found[0])
    return tuple(places)


def columns_counted(count: int, source: str) -> tuple[int, ...]:
    """Return where the six columns are in a table of so many columns without a header.

    Raises:
        DataError: nobody publishes tables of so many columns, or which is which is not certain.
    """
    if count not in _BY_COUNT:
        raise DataError(
            f"{source} has no header and {count} columns, so which is which cannot be known; "
            "put a first line timestamp,open,high,low,close,volume over them"
        )
    return _BY_COUNT[count]
