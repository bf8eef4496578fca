"""How many decimals numbers need: enough to read, few enough to keep the file small."""

import math

import numpy as np

from onetape.core.candles import Candles, FloatArray

_MOST_DECIMALS = 12


def decimals_for(column: FloatArray, significant: int) -> int:
    """Return the decimals that keep `significant` digits of a column's largest value (0 to 12)."""
    finite = np.abs(column[np.isfinite(column)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest == 0.0:
        return 2
    return min(max(significant - 1 - math.floor(math.log10(largest)), 0), _MOST_DECIMALS)


def price_decimals(candles: Candles) -> int:
    """Return the decimals of the prices: those they are quoted in, at most eight digits' worth.

    Prices of a real market are multiples of a step, so a few decimals hold them exactly: 2 for
    61240.12, 8 for 0.00000812. Prices without a step would need all of a float's digits.
    """
    prices = np.concatenate((candles.open, candles.high, candles.low, candles.close))
    most = decimals_for(prices, 8)
    for decimals in range(most):
        if np.allclose(np.round(prices, decimals), prices, rtol=1e-9, atol=0.0, equal_nan=True):
            return decimals
    return most


def rounded(column: FloatArray, decimals: int) -> list[float | None]:
    """Return the column as JSON numbers; None where it is not finite."""
    values: list[float | None] = np.round(column, decimals).tolist()
    for index in np.flatnonzero(~np.isfinite(column)).tolist():
        values[index] = None
    return values
