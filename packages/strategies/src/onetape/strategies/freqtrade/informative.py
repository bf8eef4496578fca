"""Indicators of higher timeframes: `@informative` and `merge_informative_pair`.

A candle of a higher timeframe is known on the traded candle at whose close it has closed, and not
before.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from msgspec import Struct

from onetape.core.holes import next_opens
from onetape.core.timeframes import Timeframe

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "__onetape_informative__"


class Informative(Struct, frozen=True):
    """A method that computes indicators of a higher timeframe."""

    timeframe: str
    fmt: str | Callable[..., str] | None
    """Name of the merged columns; None: `{column}_{timeframe}`."""
    ffill: bool

    def name_of(self, column: str) -> str:
        """Return what a column is called among those of the traded candles."""
        if self.fmt is None:
            return f"{column}_{self.timeframe}"
        make = self.fmt.format if isinstance(self.fmt, str) else self.fmt
        return make(column=column, timeframe=self.timeframe)


def informative(
    timeframe: str,
    asset: str = "",
    fmt: str | Callable[..., str] | None = None,
    *,
    candle_type: str | None = None,
    ffill: bool = True,
    cache: bool = True,
) -> Callable[[_Function], _Function]:
    """Declare that a method computes indicators of a higher timeframe of the traded pair."""
    del asset, candle_type, cache  # unsupported_features.py has refused other pairs and futures

    def declare(function: _Function) -> _Function:
        given = [*getattr(function, _MARK, []), Informative(timeframe, fmt, ffill)]
        setattr(function, _MARK, given)
        return function

    return declare


def informative_methods(cls: type) -> list[tuple[str, Informative]]:
    """Return the methods of a class that `informative` marks, by name, in the order written."""
    found: dict[str, list[Informative]] = {}
    for one in reversed(cls.__mro__):
        found.update({name: getattr(value, _MARK, []) for name, value in vars(one).items()})
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
        informative: Those of the higher timeframe, with columns of their own.
        timeframe: The traded one.
        timeframe_inf: The higher one.
        ffill: Whether a value stays until the next one; else it stands on one candle alone.
        append_timeframe: Whether names of columns end with the timeframe.
        date_column: Column with the open of each candle.
        suffix: End of the names of columns, with `append_timeframe=False`.

    Raises:
        ValueError: the timeframe is lower than the traded one, or two endings are given.
    """
    if suffix and append_timeframe:
        msg = "merge_informative_pair: give a suffix with append_timeframe=False"
        raise ValueError(msg)
    own, other = Timeframe.parse(timeframe), Timeframe.parse(timeframe_inf)
    if other.seconds < own.seconds:
        msg = f"merge_informative_pair: {timeframe_inf} must not be under {timeframe}"
        raise ValueError(msg)
    ending = timeframe_inf if append_timeframe else suffix
    named = informative if not ending else informative.add_suffix(f"_{ending}")
    dates = informative[date_column]
    known_from = _epoch_seconds(dates) if own == other else _closes(dates, other) - own.seconds
    return joined(dataframe, named, known_from, _epoch_seconds(dataframe[date_column]), ffill=ffill)


def joined(dataframe: Any, columns: Any, known_from: Any, opens: Any, *, ffill: bool) -> Any:
    """Return candles with columns of others.

    Args:
        dataframe: The candles, shape (n,).
        columns: Columns of the others, shape (m,).
        known_from: First open of a candle that may know each of the others, ascending, shape (m,).
        opens: Opens of the candles, shape (n,).
        ffill: Whether the last of the others counts that is known; else only one of the same open.
    """
    rows = cast("Any", np.searchsorted(known_from, opens, side="right")) - 1
    if not ffill and len(known_from):
        rows = np.where(known_from[np.maximum(rows, 0)] == opens, rows, -1)
    found = columns.reset_index(drop=True).reindex(rows)
    found.index = dataframe.index
    # In one step: column by column would copy the frame as often as there are columns.
    return dataframe.drop(columns=[name for name in found if name in dataframe]).join(found)


def _closes(dates: Any, timeframe: Timeframe) -> Any:
    return next_opens(_epoch_seconds(dates), timeframe)


def _epoch_seconds(dates: Any) -> Any:
    return dates.to_numpy(dtype="datetime64[s]").astype(np.int64)
