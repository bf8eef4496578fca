"""Moving averages made of others: DEMA, TEMA, HMA, KAMA, linear regression."""

import math
from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import as_array, cacheable
from onetape.strategies.indicators.averages import (
    check_window,
    compute_memory,
    compute_weighted_sums,
    count_leading_nans,
    ema,
    ema_lookback,
    sma,
)
from onetape.strategies.indicators.rolling import WindowPart, previous, roll_parts, wma

#: Weight that KAMA may leave out where prices go up and down and get nowhere; in all other markets
#: its weights decay much faster.
_KAMA_TOLERANCE = 1e-3


class LinearRegression(NamedTuple):
    """The straight line through the last values, fitted by least squares."""

    value: FloatArray
    """The line at the last bar, in the unit of the values."""
    slope: FloatArray
    """Rise of the line per bar, in the unit of the values."""


@cacheable
def dema(values: FloatArray, window: int) -> FloatArray:
    """Return the double exponential moving average: 2 e1 - e2, e1 = ema(x), e2 = ema(e1).

    Source: Patrick G. Mulloy, Smoothing Data with Faster Moving Averages, 1994; seeded as in
    TA-Lib. Lookback: `dema_lookback`.

    Raises:
        ValueError: window is under 1.
    """
    once = ema(values, window)
    return 2.0 * once - ema(once, window)


@cacheable
def tema(values: FloatArray, window: int) -> FloatArray:
    """Return the triple exponential moving average: 3 e1 - 3 e2 + e3, each the ema of the last.

    Source: Patrick G. Mulloy, Smoothing Data with Less Lag, 1994; seeded as in TA-Lib.
    Lookback: `tema_lookback`.

    Raises:
        ValueError: window is under 1.
    """
    once = ema(values, window)
    twice = ema(once, window)
    return 3.0 * once - 3.0 * twice + ema(twice, window)


def dema_lookback(window: int) -> int:
    """Return the number of candles that give the last DEMA exactly as all candles do."""
    return ema_lookback(window) + max(compute_memory(1.0 - 2.0 / (window + 1)), window)


def tema_lookback(window: int) -> int:
    """Return the number of candles that give the last TEMA exactly as all candles do."""
    return dema_lookback(window) + max(compute_memory(1.0 - 2.0 / (window + 1)), window)


@cacheable
def hma(values: FloatArray, window: int) -> FloatArray:
    """Return Hull's moving average: wma(2 wma(x, window / 2) - wma(x, window), root of window).

    Half and square root are rounded down. Source: Alan Hull, alanhull.com, 2005; TradingView's
    `ta.hma`. Lookback: `hma_lookback`.

    Raises:
        ValueError: window is under 2.
    """
    check_window(window, minimum=2)
    return wma(2.0 * wma(values, window // 2) - wma(values, window), math.isqrt(window))


def hma_lookback(window: int) -> int:
    """Return the number of candles that decide the last HMA."""
    return window + math.isqrt(window) - 1


def linear_regression(values: FloatArray, window: int) -> LinearRegression:
    """Return the straight line through the last `window` values, by least squares.

    value = 3 wma - 2 sma, slope = 6 (wma - sma) / (window - 1), which follow from the normal
    equations for bars of equal distance. TA-Lib's LINEARREG and LINEARREG_SLOPE. Lookback: window
    candles.

    Raises:
        ValueError: window is under 2.
    """
    check_window(window, minimum=2)
    values = as_array(values)
    weighted, plain = wma(values, window), sma(values, window)
    slope = (weighted - plain) * (6.0 / (window - 1))
    return LinearRegression(3.0 * weighted - 2.0 * plain, slope)


@cacheable
def kama(values: FloatArray, period: int, fast: int = 2, slow: int = 30) -> FloatArray:
    """Return Kaufman's adaptive moving average: y[i] = y[i-1] + c (x[i] - y[i-1]).

    c = (e (f - s) + s)^2, e = |x[i] - x[i - period]| / the sum of |x[j] - x[j-1]| over `period`
    bars, f = 2 / (fast + 1), s = 2 / (slow + 1); e is 1 where no price moved. Seeded with the value
    before the first one, as in TA-Lib.

    Source: Perry J. Kaufman, Smarter Trading, 1995. The recursion is cut after `kama_memory(slow)`
    bars and its weights are scaled to one again: where e stays 0 they leave out 0.1 %, in a usual
    market far less than a price carries in digits. Lookback: `kama_lookback`.

    Raises:
        ValueError: a length is under 1, or fast is not under slow.
    """
    check_window(period, "period")
    check_window(fast, "fast")
    if fast >= slow:
        raise ValueError(f"fast must be under slow, found {fast} and {slow}")
    average = np.full(len(values), np.nan)
    first = count_leading_nans(values) + period - 1
    if first + 1 >= len(values):
        return average
    moved = np.abs(np.diff(values, prepend=np.nan))
    moved[: first - period + 2] = 0.0
    distance = np.abs(values - previous(values, period))
    # Rounded sums may be a little under the distance of a straight move.
    way = np.maximum(compute_weighted_sums(moved, period, 1.0), distance)
    efficiency = np.ones(len(values))
    np.divide(distance, way, out=efficiency, where=way != 0.0)
    fastest, slowest = 2.0 / (fast + 1), 2.0 / (slow + 1)
    rate = (efficiency * (fastest - slowest) + slowest) ** 2
    rate[first] = 1.0  # the seed replaces whatever was before
    average[first:] = _compute_varying_decay(values[first:], rate[first:], kama_memory(slow))
    average[first] = np.nan
    return average


def kama_memory(slow: int = 30) -> int:
    """Return the bars after which KAMA's recursion is cut."""
    return compute_memory(1.0 - (2.0 / (slow + 1)) ** 2, _KAMA_TOLERANCE)


def kama_lookback(period: int, slow: int = 30) -> int:
    """Return the number of candles that give the last KAMA exactly as all candles do."""
    return period + kama_memory(slow)


def _compute_varying_decay(values: FloatArray, rate: FloatArray, memory: int) -> FloatArray:
    """Return y[i] = (1 - rate[i]) y[i-1] + rate[i] x[i] over `memory` bars, weights scaled to one.

    Each bar maps y to factor * y + add. Two windows are joined by applying the newer map to the
    older one, so that the map of any window takes about log2(memory) passes.
    """

    def begin(rows: slice) -> tuple[FloatArray, ...]:
        return 1.0 - rate[rows], rate[rows] * values[rows]

    def join(newer: WindowPart, older: WindowPart) -> tuple[FloatArray, ...]:
        (factor, add), (old_factor, old_add) = newer.columns, older.columns
        return factor * old_factor, factor * old_add + add

    def end(part: WindowPart) -> FloatArray:
        return part.columns[1] / (1.0 - part.columns[0])

    return roll_parts(len(values), memory, begin, join, end)
