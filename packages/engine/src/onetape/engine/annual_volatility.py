"""Annual volatility of a market, for entries sized by `volatility_target`."""

import math

import numpy as np

from onetape.core.candles import FloatArray

_YEAR_SECONDS = 365 * 86_400


def compute_volatility_before(
    closes: FloatArray, bar: int, bars: int, candle_seconds: int
) -> float | None:
    """Return the annual volatility of the closes before a bar; None: too few closes.

    The sample standard deviation of the last `bars` logarithmic changes, times the root of the
    candles in a year of 365 days.

    Args:
        closes: Close prices, oldest first, shape (n,).
        bar: The first close that is not known yet.
        bars: Number of price changes, 2 or more.
        candle_seconds: Length of a candle, as `Timeframe.average_seconds`.
    """
    if bar < bars + 1:
        return None
    changes = np.diff(np.log(closes[bar - bars - 1 : bar]))
    return float(changes.std(ddof=1)) * math.sqrt(_YEAR_SECONDS / candle_seconds)
