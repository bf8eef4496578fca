"""Input columns of indicators: equal lengths, typical price, and quotients."""

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import as_array


def as_columns(**columns: FloatArray) -> tuple[FloatArray, ...]:
    """Return columns of candles as arrays.

    Raises:
        ValueError: the columns differ in length.
    """
    arrays = {name: np.asarray(as_array(column), np.float64) for name, column in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} {len(array):,}" for name, array in arrays.items())
        raise ValueError(f"columns must have one value for each candle, found {found}")
    return tuple(arrays.values())


def typical_price(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return (high + low + close) / 3."""
    price = high + low
    price += close
    price /= 3.0
    return price


def divide_columns(dividend: FloatArray, divisor: FloatArray) -> FloatArray:
    """Return quotients; NaN where the divisor is 0."""
    quotient = np.full(len(dividend), np.nan)
    np.divide(dividend, divisor, out=quotient, where=divisor != 0.0)
    return quotient
