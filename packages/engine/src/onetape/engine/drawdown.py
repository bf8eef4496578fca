"""Falls from a high: how deep, from when, until when."""

from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray


class Drawdown(NamedTuple):
    """One fall; indices count the equity curve."""

    ratio: float
    """Part of the high that was lost at the lowest point; zero or negative."""
    amount: float
    """The same in quote currency; zero or negative."""
    peak: int
    """Last value at the high; -1 where that is the cash before the first value."""
    trough: int
    """Lowest value."""
    end: int
    """First value that regained the high; the last one where none did."""


def running_high(equity: FloatArray, start: float = 0.0) -> FloatArray:
    """Return the highest equity so far, shape (n,); arguments as `drawdown_curve`."""
    high = np.maximum.accumulate(equity)
    return np.maximum(high, start, out=high)


def drawdown_curve(equity: FloatArray, start: float = 0.0) -> FloatArray:
    """Return equity / highest equity so far - 1, shape (n,).

    Args:
        equity: At each close, not negative, shape (n,).
        start: Cash before the first value, which counts as a high.
    """
    return _curve(equity, running_high(equity, start))


def _curve(equity: FloatArray, high: FloatArray) -> FloatArray:
    """Return the curve in the place of the highs: a million values are 8 MB less to have."""
    with np.errstate(invalid="ignore"):
        curve = np.divide(equity, high, out=high)
    curve -= 1.0
    return curve


def max_drawdown(
    equity: FloatArray, start: float = 0.0, high: FloatArray | None = None
) -> Drawdown:
    """Return the fall that lost the largest part of its high.

    The largest part is not always the largest amount: a fall from 1,000 to 500 outweighs one from
    11,000 to 10,000.

    Args:
        equity: At each close, not negative, shape (n,).
        start: Cash before the first value, which counts as a high.
        high: `running_high` of both, where it is known already; it is overwritten.
    """
    if not len(equity):
        return Drawdown(0.0, 0.0, -1, -1, -1)
    curve = _curve(equity, running_high(equity, start) if high is None else high)
    trough = int(curve.argmin())
    ratio = float(curve[trough])
    if ratio >= 0:
        return Drawdown(0.0, 0.0, trough, trough, trough)
    top = max(float(equity[: trough + 1].max()), start)
    at_high = np.flatnonzero(equity[:trough] >= top)
    regained = equity[trough:] >= top
    return Drawdown(
        ratio=ratio,
        amount=float(equity[trough]) - top,
        peak=int(at_high[-1]) if len(at_high) else -1,
        trough=trough,
        end=trough + int(regained.argmax()) if regained.any() else len(equity) - 1,
    )
