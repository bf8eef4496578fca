"""Volatility: bands, true range, average true range, Keltner's channel, z-score."""

import math
from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import cacheable
from onetape.strategies.indicators.averages import (
    NOISE,
    check_window,
    compute_memory,
    ema,
    ema_lookback,
    sma,
    wilder,
)
from onetape.strategies.indicators.columns import as_columns
from onetape.strategies.indicators.rolling import deviation


class Bands(NamedTuple):
    """Bollinger's three lines, in the unit of the prices."""

    upper: FloatArray
    middle: FloatArray
    lower: FloatArray


def bollinger(close: FloatArray, window: int, width: float, ddof: int = 0) -> Bands:
    """Return the simple average, and `width` standard deviations above and below it.

    Source: John Bollinger, Bollinger on Bollinger Bands, 2001. TA-Lib gives the same.
    Lookback: window candles.

    Args:
        close: Prices or any series.
        window: Bars of the average and of the deviation.
        width: Deviations between the average and a band.
        ddof: 0 for the population deviation (TA-Lib, TradingView), 1 for that of a sample (pandas).

    Raises:
        ValueError: window is under 1, or ddof is under 0 or not under window.
    """
    middle = sma(close, window)
    reach = _compute_deviation(close, window, ddof) * width
    return Bands(middle + reach, middle, middle - reach)


@cacheable
def z_score(values: FloatArray, window: int, ddof: int = 0) -> FloatArray:
    """Return the distance from the mean of the last `window` values, in standard deviations.

    (x - mean) / deviation; NaN where the deviation is no more than rounding makes of the mean.
    Lookback: window candles.

    Args:
        values: Prices or any series.
        window: Bars of mean and deviation.
        ddof: 0 for the population deviation, 1 for that of a sample.

    Raises:
        ValueError: window is under 2, or ddof is under 0 or not under window.
    """
    check_window(window, minimum=2)
    mean = sma(values, window)
    spread = _compute_deviation(values, window, ddof)
    spread[spread <= np.abs(mean) * NOISE] = np.nan
    return (values - mean) / spread


def _compute_deviation(values: FloatArray, window: int, ddof: int) -> FloatArray:
    if not 0 <= ddof < window:
        raise ValueError(f"ddof must be 0 or more and under the window {window}, found {ddof}")
    return deviation(values, window) * math.sqrt(window / (window - ddof))


@cacheable
def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return the range of the price within each bar and from the close before it.

    The first value is NaN, because there is no bar before it. All prices are in one unit.
    """
    ranges = np.full(len(close), np.nan)
    before = close[:-1]
    np.subtract(np.maximum(high[1:], before), np.minimum(low[1:], before), out=ranges[1:])
    return ranges


@cacheable
def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return Wilder's average true range, in the unit of the prices.

    The first value stands on bar `period`, the mean of the true ranges before it, as in TA-Lib.

    Raises:
        ValueError: period is under 1.
    """
    return wilder(true_range(high, low, close), period)


def atr_lookback(period: int) -> int:
    """Return the number of candles that give the last ATR exactly as all candles do."""
    return 1 + period + compute_memory(1.0 - 1.0 / period)


def keltner(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    window: int,
    width: float,
    atr_period: int = 10,
) -> Bands:
    """Return Keltner's channel: ema(close, window), and `width` ATRs above and below it.

    Source: Linda Bradford Raschke's form of C. W. Keltner, How to Make Money in Commodities, 1960.
    Lookback: `keltner_lookback`.

    Raises:
        ValueError: a length is under 1, or the columns differ in length.
    """
    check_window(atr_period, "atr_period")
    high, low, close = as_columns(high=high, low=low, close=close)
    middle = ema(close, window)
    reach = atr(high, low, close, atr_period) * width
    return Bands(middle + reach, middle, middle - reach)


def keltner_lookback(window: int, atr_period: int = 10) -> int:
    """Return the number of candles that give the bands of `keltner` exactly as all candles do."""
    return max(ema_lookback(window), atr_lookback(atr_period))
