"""Highest, lowest, deviation and weighted mean of a sliding window, in NumPy alone.

A window of any width is put together from windows of 1, 2, 4, 8 ... bars, each made of two of half
its width, always in the same order. So a value depends, to the last bit, on nothing but the values
in its window, and takes about log2(window) passes over the array.

All arrays have shape (n,), oldest first; values are NaN until a whole window is known.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import as_array, cacheable
from onetape.strategies.indicators.averages import CHUNK_ROWS, check_window


class WindowPart(NamedTuple):
    """Statistics of windows of one width: number of bars, and columns of shape (n,)."""

    bars: int
    columns: tuple[FloatArray, ...]

    def shift_back(self, bars: int) -> "WindowPart":
        """Return the windows that end a number of bars earlier; the first ones have no meaning."""
        return WindowPart(self.bars, tuple(_shift_column(column, bars) for column in self.columns))


#: Joins the columns of newer windows and of the older ones right before them.
JoinParts = Callable[[WindowPart, WindowPart], tuple[FloatArray, ...]]


@cacheable
def highest(values: FloatArray, window: int) -> FloatArray:
    """Return the highest of the last `window` values.

    Raises:
        ValueError: window is under 1.
    """
    return _compute_extreme(values, window, np.maximum)


@cacheable
def lowest(values: FloatArray, window: int) -> FloatArray:
    """Return the lowest of the last `window` values.

    Raises:
        ValueError: window is under 1.
    """
    return _compute_extreme(values, window, np.minimum)


@cacheable
def deviation(values: FloatArray, window: int) -> FloatArray:
    """Return the population standard deviation of the last `window` values.

    Sums and squared differences of two windows are joined as in T. F. Chan, G. H. Golub and
    R. J. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979:
    no digits are lost where prices are large and move little.

    Raises:
        ValueError: window is under 1.
    """
    return _roll_values(
        values,
        window,
        lambda part: (part, np.zeros_like(part)),
        _join_squares,
        lambda part: np.sqrt(part.columns[1] / part.bars),
    )


@cacheable
def wma(values: FloatArray, window: int) -> FloatArray:
    """Return the linearly weighted mean: the last value counts `window` times, the oldest once.

    Raises:
        ValueError: window is under 1.
    """
    return _roll_values(
        values,
        window,
        lambda part: (part, part),
        _join_weights,
        lambda part: part.columns[1] / (part.bars * (part.bars + 1) / 2),
    )


def previous(values: FloatArray, bars: int = 1) -> FloatArray:
    """Return the values as they were some bars earlier; NaN at the start.

    Raises:
        ValueError: bars is under 1: that would be the future.
    """
    values = as_array(values)
    if bars < 1:
        raise ValueError(f"look back 1 bar or more, found {bars}")
    earlier = np.full(len(values), np.nan)
    earlier[bars:] = values[: max(len(values) - bars, 0)]
    return earlier


def _compute_extreme(values: FloatArray, window: int, further: np.ufunc) -> FloatArray:
    """Return the extreme of the last `window` values by `further`, two values at a time."""
    return _roll_values(
        values,
        window,
        lambda part: (part,),
        lambda newer, older: (further(newer.columns[0], older.columns[0]),),
        lambda part: part.columns[0],
    )


def _join_squares(newer: WindowPart, older: WindowPart) -> tuple[FloatArray, ...]:
    """Join sums and sums of squared differences from the mean."""
    (sums, squares), (old_sums, old_squares) = newer.columns, older.columns
    apart = sums / newer.bars - old_sums / older.bars
    share = newer.bars * older.bars / (newer.bars + older.bars)
    return sums + old_sums, squares + old_squares + apart * apart * share


def _join_weights(newer: WindowPart, older: WindowPart) -> tuple[FloatArray, ...]:
    """Join sums and weighted sums: the newer values weigh as much more as there are older ones."""
    (sums, weighted), (old_sums, old_weighted) = newer.columns, older.columns
    return sums + old_sums, weighted + sums * older.bars + old_weighted


def _roll_values(
    values: FloatArray,
    window: int,
    begin: Callable[[FloatArray], tuple[FloatArray, ...]],
    join: JoinParts,
    end: Callable[[WindowPart], FloatArray],
) -> FloatArray:
    """Return a statistic of sliding windows, as `roll_parts`; NaN where a window is not whole."""
    check_window(window)
    rolled = roll_parts(len(values), window, lambda rows: begin(values[rows]), join, end)
    rolled[: window - 1] = np.nan
    return rolled


def roll_parts(
    count: int,
    window: int,
    begin: Callable[[slice], tuple[FloatArray, ...]],
    join: JoinParts,
    end: Callable[[WindowPart], FloatArray],
) -> FloatArray:
    """Return a statistic of sliding windows, computed in chunks of rows, shape (count,).

    Args:
        count: Number of bars.
        window: Bars of a window, at least 1. A window that begins before the first bar has the
            first bar several times.
        begin: Returns the columns of windows of one bar, for a slice of rows.
        join: Returns the columns of windows that consist of older and newer ones.
        end: Returns the statistic of whole windows.
    """
    rolled = np.empty(count)
    rows = max(CHUNK_ROWS, 4 * window)
    for start in range(0, count, rows):
        left = max(0, start - window + 1)
        stop = min(start + rows, count)
        part = _double_windows(WindowPart(1, begin(slice(left, stop))), window, join)
        rolled[start:stop] = end(part)[start - left :]
    return rolled


def _double_windows(single: WindowPart, window: int, join: JoinParts) -> WindowPart:
    """Return the windows of `window` bars; those at the start, which are not whole, are invalid."""
    power, taken = single, None
    while True:
        if window & power.bars:
            # The bits of `window`, lowest first: this part holds the bars before those taken.
            taken = power if taken is None else _join_windows(taken, power, join)
        if 2 * power.bars > window:
            break
        power = _join_windows(power, power, join)
    return single if taken is None else taken


def _join_windows(newer: WindowPart, older: WindowPart, join: JoinParts) -> WindowPart:
    return WindowPart(newer.bars + older.bars, join(newer, older.shift_back(newer.bars)))


def _shift_column(column: FloatArray, bars: int) -> FloatArray:
    """Return the column as it was some bars earlier; its first value stands in at the start."""
    shifted = np.empty_like(column)
    shifted[bars:] = column[: max(len(column) - bars, 0)]
    shifted[:bars] = column[:1]
    return shifted
