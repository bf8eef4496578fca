"""Indicators of higher timeframes and other pairs: `@informative` and `merge_informative_pair`.

The values of a candle are joined to the traded candles from the one at whose close that candle has
closed.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
from msgspec import Struct

from onetape.core.candle_gaps import compute_next_opens
from onetape.core.candles import IntArray
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.strategies.higher_timeframes import Market

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "__onetape_informative__"
#: Attribute of a DataFrame that holds the timeframe of its candles.
TIMEFRAME: Final = "onetape_timeframe"
#: Names in an asset of `@informative`, by what they stand for in the symbol of a `Market`.
_ASSET_NAMES: Final = {
    **dict.fromkeys(("stake", "stake_currency", "quote", "QUOTE"), "{quote}"),
    **dict.fromkeys(("base", "BASE"), "{base}"),
}


class Informative(Struct, frozen=True):
    """A method that computes indicators of a higher timeframe or of another pair."""

    timeframe: str
    """Timeframe of the candles, such as `1d`."""
    fmt: str | Callable[..., str] | None
    """Name of the merged columns; None: `{column}_{timeframe}`, of another pair
    `{base}_{quote}_{column}_{timeframe}`."""
    ffill: bool
    """Whether a value holds until the next candle; else only for one traded candle."""
    asset: str = ""
    """Symbol of another pair, as a `Market` declares it; empty: the traded pair."""

    @property
    def input_name(self) -> str:
        """Return the key of the candles in the argument `higher` of `evaluate`."""
        return Market(self.asset, self.timeframe).name if self.asset else self.timeframe

    def make_column_name(self, column: str, symbol: str = "") -> str:
        """Return the name of a column among the columns of the traded candles.

        Args:
            column: Name that the method has given the column.
            symbol: Symbol of the other pair; empty: the traded pair.
        """
        values = {"column": column, "timeframe": self.timeframe}
        fmt = "{column}_{timeframe}" if self.fmt is None else self.fmt
        if self.asset:
            base, quote = split_symbol(symbol)
            values |= {"base": base.lower(), "quote": quote.lower(), "asset": symbol}
            values |= {"BASE": base.upper(), "QUOTE": quote.upper()}
            fmt = f"{{base}}_{{quote}}_{fmt}" if self.fmt is None else self.fmt
        make = fmt.format if isinstance(fmt, str) else fmt
        return make(**values)


def informative(
    timeframe: str,
    asset: str = "",
    fmt: str | Callable[..., str] | None = None,
    *,
    candle_type: str | None = None,
    ffill: bool = True,
    cache: bool = True,
) -> Callable[[_Function], _Function]:
    """Declare that a method computes indicators of a higher timeframe or of another pair.

    Raises:
        ValueError: the candles are those of futures, or `asset` or `fmt` has a name that is not
            known here.
    """
    del cache
    # unsupported_features.py has refused them by line where the text states them.
    if candle_type not in (None, "", "spot"):
        msg = f"@informative: only spot candles are there, found {candle_type}"
        raise ValueError(msg)
    mark = Informative(timeframe, fmt, ffill, _make_market_symbol(asset))
    try:
        mark.make_column_name("close", "BASE/QUOTE")
    except (KeyError, IndexError) as error:
        known = "column, timeframe, asset, base and quote" if asset else "column and timeframe"
        msg = f"@informative: fmt may use {known} alone, found {error} in {fmt!r}"
        raise ValueError(msg) from error

    def declare(function: _Function) -> _Function:
        given = [*getattr(function, _MARK, []), mark]
        setattr(function, _MARK, given)
        return function

    return declare


def _make_market_symbol(asset: str) -> str:
    """Return an asset such as `BTC/{stake}` as the symbol of a `Market`; empty stays empty."""
    try:
        symbol = asset.format(**_ASSET_NAMES).upper()
    except (KeyError, IndexError, ValueError) as error:
        msg = f"@informative: asset may use stake, base and quote alone, found {error} in {asset!r}"
        raise ValueError(msg) from error
    return symbol.replace("{QUOTE}", "{quote}").replace("{BASE}", "{base}")


def collect_informative_methods(cls: type) -> list[tuple[str, Informative]]:
    """Return the methods of a class that `informative` marks, by name, in the order written."""
    found: dict[str, list[Informative]] = {}
    for base in reversed(cls.__mro__):
        found.update({name: getattr(value, _MARK, []) for name, value in vars(base).items()})
    # The decorator next to the function comes first in its list, as it runs first.
    return [(name, each) for name, marks in found.items() for each in marks]


def merge_informative_pair(
    dataframe: Any,
    informative: Any,
    timeframe: str,
    timeframe_inf: str,
    ffill: bool = True,
    append_timeframe: bool = True,
    date_column: str = "date",
    suffix: str | None = None,
) -> Any:
    """Return traded candles with the columns of a higher timeframe that are known by their close.

    Args:
        dataframe: The traded candles.
        informative: Candles of the higher timeframe, with additional columns.
        timeframe: Timeframe of the traded candles.
        timeframe_inf: Timeframe of the informative candles.
        ffill: Whether a value stays until the next one; else it stands on one candle alone.
        append_timeframe: Whether names of columns end with the timeframe.
        date_column: Column with the open of each candle.
        suffix: End of the names of columns, with `append_timeframe=False`.

    Raises:
        ValueError: the informative timeframe is lower than the traded one or not that of its
            candles, both endings are given, or a column of that name exists already.
    """
    if suffix and append_timeframe:
        msg = "merge_informative_pair: give a suffix with append_timeframe=False"
        raise ValueError(msg)
    traded, other = Timeframe.parse(timeframe), Timeframe.parse(timeframe_inf)
    if other.seconds < traded.seconds:
        msg = f"merge_informative_pair: {timeframe_inf} must not be under {timeframe}"
        raise ValueError(msg)
    ending = timeframe_inf if append_timeframe else suffix
    named = informative if not ending else informative.add_suffix(f"_{ending}")
    _check_timeframe(dataframe, "timeframe", traded)
    _check_timeframe(informative, "timeframe_inf", other)
    dates = informative[date_column]
    known_from = (
        _convert_to_epoch_seconds(dates)
        if traded == other
        else _compute_closes(dates, other) - traded.seconds
    )
    order = np.argsort(known_from, kind="stable")
    if not (order[1:] > order[:-1]).all():
        named, known_from = named.iloc[order], known_from[order]
    return join_columns(
        dataframe, named, known_from, _convert_to_epoch_seconds(dataframe["date"]), ffill=ffill
    )


def _check_timeframe(frame: Any, name: str, given: Timeframe) -> None:
    """Refuse a timeframe that is not that of the candles, which would give look-ahead."""
    real = frame.attrs.get(TIMEFRAME)
    if real is not None and Timeframe.parse(real).seconds != given.seconds:
        msg = f"merge_informative_pair: {name} must be {real} for these candles, found {given.name}"
        raise ValueError(msg)


def join_columns(dataframe: Any, columns: Any, known_from: Any, opens: Any, *, ffill: bool) -> Any:
    """Return candles with the columns of the informative candles added.

    Args:
        dataframe: The candles, shape (n,).
        columns: Columns of the informative candles, shape (m,).
        known_from: For each informative candle the open of the first candle that may use it,
            ascending, shape (m,).
        opens: Opens of the candles, shape (n,).
        ffill: Whether a candle gets the values of the last known informative candle; else only
            those with `known_from` equal to its open.
    """
    rows = cast("Any", np.searchsorted(known_from, opens, side="right")) - 1
    if not ffill and len(known_from):
        rows = np.where(known_from[np.maximum(rows, 0)] == opens, rows, -1)
    found = columns.reset_index(drop=True).reindex(rows)
    found.index = dataframe.index
    twice = [str(name) for name in found if name in dataframe]
    if twice:
        msg = f"the frame already has a column {twice[0]}; give the merged one another name"
        raise ValueError(msg)
    # In one step: column by column would copy the frame as often as there are columns.
    both = dataframe.join(found)
    both.attrs = dict(dataframe.attrs)
    return both


def find_rows_of_dates(
    opens: IntArray, frame: Any, name: str, *, is_whole: bool = False
) -> IntArray:
    """Return the index of the candle of each row of a strategy's frame, by `date`.

    Args:
        opens: Opens of the candles, epoch seconds, ascending, at least one, shape (n,).
        frame: DataFrame that a method of the strategy returned for these candles.
        name: Name of the frame in errors.
        is_whole: Whether each candle must be there.

    Raises:
        ValueError: the frame has no dates, dates of no candle, or dates out of order.
    """
    if "date" not in frame:
        msg = f"{name} must keep its column date"
        raise ValueError(msg)
    dates: IntArray = _convert_to_epoch_seconds(frame["date"])
    if np.array_equal(dates, opens):
        return np.arange(len(opens))
    rows: IntArray = np.searchsorted(opens, dates).astype(np.int64)
    is_candle: Any = opens[np.minimum(rows, len(opens) - 1)] == dates
    if not is_candle.all():
        other = frame["date"].iloc[int(np.argmin(is_candle))]
        msg = f"{name} must keep the dates of its candles, found {other}"
        raise ValueError(msg)
    if is_whole or not (np.diff(rows) > 0).all():
        msg = f"{name} must keep its candles in the order of time, each once"
        raise ValueError(msg)
    return rows


def _compute_closes(dates: Any, timeframe: Timeframe) -> Any:
    return compute_next_opens(_convert_to_epoch_seconds(dates), timeframe)


def _convert_to_epoch_seconds(dates: Any) -> Any:
    return dates.to_numpy(dtype="datetime64[s]").astype(np.int64)
