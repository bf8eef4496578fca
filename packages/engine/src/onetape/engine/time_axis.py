"""The time axis of several symbols: all opens of their candles, and where each candle is on it."""

from collections.abc import Sequence

import numpy as np

from onetape.core.candles import FloatArray, IntArray


def merge_time_axes(columns: Sequence[IntArray]) -> IntArray:
    """Return all opens of several symbols, ascending; the first column where all are equal.

    Args:
        columns: At least one: opens of each symbol's candles, ascending, epoch seconds.
    """
    distinct: list[IntArray] = []
    for column in columns:
        if not any(column is one or np.array_equal(column, one) for one in distinct):
            distinct.append(column)
    if len(distinct) == 1:
        return distinct[0]
    merged = np.concatenate(distinct)
    # A stable sort merges columns that are sorted already.
    merged.sort(kind="stable")
    return merged[np.append(True, merged[1:] != merged[:-1])] if len(merged) else merged


def is_whole(column: IntArray, axis: IntArray) -> bool:
    """Return whether a symbol has a candle at each moment of the axis.

    `column`, its opens, is part of `axis`; both are ascending and without repetition, so comparing
    lengths is enough.
    """
    return len(column) == len(axis)


def find_axis_indices(axis: IntArray, column: IntArray) -> IntArray:
    """Return the index of each of a symbol's candles on the axis."""
    return np.searchsorted(axis, column)


def forward_fill_to_axis(
    values: FloatArray, column: IntArray, axis: IntArray, before: float
) -> FloatArray:
    """Return a symbol's values at each moment of an axis: those of its newest candle.

    Args:
        values: Value of each of the symbol's candles, shape (n,).
        column: Opens of the symbol's candles, part of the axis.
        axis: Opens of all symbols' candles.
        before: Value before the symbol's first candle.
    """
    if is_whole(column, axis):
        return values
    indices = np.searchsorted(axis, column)
    lengths = np.diff(indices, prepend=0, append=len(axis))
    return np.repeat(np.concatenate(([before], values)), lengths)
