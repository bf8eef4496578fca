"""Drawdowns of an equity curve: their depth, start and end."""

from typing import NamedTuple

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray

#: Number of values that `compute_running_high` processes together.
_BLOCK = 128


class Drawdown(NamedTuple):
    """One drawdown: depth, and indices into the equity curve."""

    ratio: float
    """Part of the high that was lost at the lowest point; zero or negative."""
    amount: float
    """Depth of the drawdown in quote currency; zero or negative."""
    peak: int
    """Index of the last value at the high; -1: the start balance is the high."""
    trough: int
    """Index of the lowest value."""
    end: int
    """Index of the first value that regained the high, or of the last value."""


class Highs(Struct, frozen=True):
    """Running maximum of an equity curve."""

    high: FloatArray
    """The highest equity so far, shape (n,)."""
    marks: IntArray
    """Indices of the values that equal the highest equity so far, in order."""


def compute_highs(equity: FloatArray, start: float = 0.0) -> Highs:
    """Return the highs of an equity curve; arguments as `compute_drawdown_curve`."""
    high = compute_running_high(equity, start)
    return Highs(high, np.flatnonzero(equity >= high))


def compute_running_high(equity: FloatArray, start: float = 0.0) -> FloatArray:
    """Return the highest equity so far, shape (n,); arguments as `compute_drawdown_curve`.

    It is computed in blocks: if no value of a block is above the high before it, all highs of the
    block equal that high.
    """
    whole = len(equity) // _BLOCK * _BLOCK
    blocks = equity[:whole].reshape(-1, _BLOCK)
    tops = blocks.max(axis=1)
    so_far = np.maximum.accumulate(np.concatenate(([start], tops)))
    before = so_far[:-1, None]
    high = np.empty(len(equity))
    highs = high[:whole].reshape(-1, _BLOCK)
    highs[:] = before
    rising = np.flatnonzero(~(tops <= before[:, 0]))
    grown = np.maximum.accumulate(blocks[rising], axis=1)
    highs[rising] = np.maximum(grown, before[rising], out=grown)
    rest = np.maximum.accumulate(equity[whole:])
    np.maximum(rest, so_far[-1], out=high[whole:])
    return high


def compute_drawdown_curve(equity: FloatArray, start: float = 0.0) -> FloatArray:
    """Return equity / highest equity so far - 1, shape (n,).

    Args:
        equity: Equity at each close, not negative, shape (n,).
        start: Cash before the first value, which counts as a high.
    """
    return _compute_curve_in_place(equity, compute_running_high(equity, start))


def _compute_curve_in_place(equity: FloatArray, high: FloatArray) -> FloatArray:
    """Return the drawdown curve, written over the highs: this saves 8 MB for a million values."""
    with np.errstate(invalid="ignore"):
        curve = np.divide(equity, high, out=high)
    curve -= 1.0
    return curve


def find_max_drawdown(
    equity: FloatArray, start: float = 0.0, highs: Highs | None = None
) -> Drawdown:
    """Return the drawdown with the largest loss as a fraction of its high.

    The largest fraction is not always the largest amount: a fall from 1,000 to 500 outweighs one
    from 11,000 to 10,000.

    Args:
        equity: Equity at each close, not negative, shape (n,).
        start: Cash before the first value, which counts as a high.
        highs: Result of `compute_highs` for both, if known already; `high` is overwritten.
    """
    if not len(equity):
        return Drawdown(0.0, 0.0, -1, -1, -1)
    highs = compute_highs(equity, start) if highs is None else highs
    marks, curve = highs.marks, _compute_curve_in_place(equity, highs.high)
    trough = int(curve.argmin())
    ratio = float(curve[trough])
    if ratio >= 0:
        return Drawdown(0.0, 0.0, trough, trough, trough)
    following = int(np.searchsorted(marks, trough))
    peak = int(marks[following - 1]) if following else -1
    return Drawdown(
        ratio=ratio,
        amount=float(equity[trough]) - (float(equity[peak]) if following else start),
        peak=peak,
        trough=trough,
        end=int(marks[following]) if following < len(marks) else len(equity) - 1,
    )
