"""Oscillators: RSI, MACD, stochastics, CCI, Williams %R, rate of change, momentum, CMO."""

from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import as_array, cacheable
from onetape.strategies.indicators.averages import (
    CHUNK_ROWS,
    NOISE,
    check_window,
    compute_memory,
    compute_weighted_sums,
    ema,
    ema_lookback,
    sma,
    wilder,
)
from onetape.strategies.indicators.columns import as_columns, divide_columns, typical_price
from onetape.strategies.indicators.rolling import highest, lowest


class Stochastic(NamedTuple):
    """The two lines of a stochastic oscillator, 0 to 100."""

    k: FloatArray
    """Place of the value between the lowest and the highest one, smoothed."""
    d: FloatArray
    """Signal line: simple average of `k`."""


class Macd(NamedTuple):
    """The three lines of MACD."""

    macd: FloatArray
    """Fast EMA minus slow EMA, in the unit of the prices."""
    signal: FloatArray
    """Signal line: EMA of `macd`."""
    histogram: FloatArray
    """Histogram: `macd` minus `signal`."""


@cacheable
def rsi(close: FloatArray, period: int) -> FloatArray:
    """Return Wilder's relative strength index, 0 to 100.

    RSI = 100 g / (g + l), with g and l the Wilder averages of the gains and the losses. The first
    value stands on bar `period`. Where no price moved within the averages' memory the index is
    undefined and NaN (TA-Lib gives 0 there, which reads as a signal to buy a dead market).

    Raises:
        ValueError: period is under 1.
    """
    check_window(period, "period")
    index = np.full(len(close), np.nan)
    if len(close) <= period:
        return index
    change = np.diff(close)
    gain = wilder(np.maximum(change, 0.0), period)
    np.negative(change, out=change)
    loss = wilder(np.maximum(change, 0.0), period)
    loss += gain
    with np.errstate(invalid="ignore"):
        np.divide(gain, loss, out=index[1:])
    index *= 100.0
    return index


def macd(close: FloatArray, fast: int, slow: int, signal: int) -> Macd:
    """Return moving average convergence and divergence, seeded as in TA-Lib.

    Both EMAs begin on bar `slow - 1`, each with the mean of its own last bars; the signal line is
    an EMA of their difference. All three lines begin on bar `slow + signal - 2`.

    Raises:
        ValueError: a window is under 1, or fast is not under slow.
    """
    check_window(min(fast, signal))
    close = as_array(close)
    if fast >= slow:
        raise ValueError(f"fast must be under slow, found {fast} and {slow}")
    difference = np.full(len(close), np.nan)
    if len(close) >= slow:
        late = ema(close[slow - fast :], fast)[fast - 1 :]
        difference[slow - 1 :] = late - ema(close, slow)[slow - 1 :]
    line = ema(difference, signal)
    difference[: slow + signal - 2] = np.nan
    return Macd(difference, line, difference - line)


def rsi_lookback(period: int) -> int:
    """Return the number of candles that give the last RSI exactly as all candles do."""
    return 1 + period + compute_memory(1.0 - 1.0 / period)


def macd_lookback(slow: int, signal: int) -> int:
    """Return the number of candles that give the last MACD lines exactly as all candles do."""
    return ema_lookback(slow) + max(ema_lookback(signal) - signal, signal)


def stoch(
    high: FloatArray, low: FloatArray, close: FloatArray, window: int, smooth: int, signal: int
) -> Stochastic:
    """Return the slow stochastic oscillator: %K = sma(raw %K, smooth), %D = sma(%K, signal).

    Raw %K = 100 (close - l) / (h - l), with h and l the highest high and the lowest low of `window`
    bars; NaN where h equals l (TA-Lib gives 0 there). Source: George C. Lane, Lane's Stochastics,
    1984. Lookback: window + smooth + signal - 2 candles.

    Raises:
        ValueError: a length is under 1, or the columns differ in length.
    """
    check_window(window)
    high, low, close = as_columns(high=high, low=low, close=close)
    return _compute_stochastic(close, highest(high, window), lowest(low, window), smooth, signal)


def stoch_fast(
    high: FloatArray, low: FloatArray, close: FloatArray, window: int, signal: int
) -> Stochastic:
    """Return the fast stochastic oscillator: `stoch` without smoothing of %K.

    Lookback: window + signal - 1 candles.

    Raises:
        ValueError: a length is under 1, or the columns differ in length.
    """
    return stoch(high, low, close, window, 1, signal)


def stoch_rsi(
    close: FloatArray, period: int, window: int, smooth: int = 1, signal: int = 3
) -> Stochastic:
    """Return the stochastic oscillator of the RSI instead of the price.

    Source: T. S. Chande and S. Kroll, The New Technical Trader, 1994. `smooth=1` gives TA-Lib's
    STOCHRSI, `smooth=3` the lines of TradingView. Lookback: `stoch_rsi_lookback`.

    Args:
        close: Closes.
        period: Bars of the RSI.
        window: Bars whose highest and lowest RSI are compared.
        smooth: Bars of the simple average that makes %K.
        signal: Bars of the simple average that makes %D.

    Raises:
        ValueError: a length is under 1.
    """
    check_window(window)
    index = rsi(close, period)
    return _compute_stochastic(index, highest(index, window), lowest(index, window), smooth, signal)


def stoch_rsi_lookback(period: int, window: int, smooth: int = 1, signal: int = 3) -> int:
    """Return the number of candles that give `stoch_rsi` exactly as all candles do."""
    return rsi_lookback(period) + window + smooth + signal - 3


def _compute_stochastic(
    values: FloatArray, top: FloatArray, bottom: FloatArray, smooth: int, signal: int
) -> Stochastic:
    check_window(smooth, "smooth")
    check_window(signal, "signal")
    k = sma(divide_columns(values - bottom, top - bottom) * 100.0, smooth)
    return Stochastic(k, sma(k, signal))


@cacheable
def williams_r(high: FloatArray, low: FloatArray, close: FloatArray, window: int) -> FloatArray:
    """Return Williams %R, -100 to 0: -100 (h - close) / (h - l) of the last `window` bars.

    h is their highest high and l their lowest low; NaN where h equals l. Source: Larry Williams,
    How I Made One Million Dollars Last Year Trading Commodities, 1973. Lookback: window candles.

    Raises:
        ValueError: window is under 1, or the columns differ in length.
    """
    check_window(window)
    high, low, close = as_columns(high=high, low=low, close=close)
    top = highest(high, window)
    return divide_columns(top - close, top - lowest(low, window)) * -100.0


@cacheable
def cci(high: FloatArray, low: FloatArray, close: FloatArray, window: int) -> FloatArray:
    """Return the commodity channel index: (p - m) / (0.015 d).

    p is the typical price (high + low + close) / 3, m its mean over `window` bars and d the mean of
    |p - m| over them; NaN where d is no more than rounding makes. Source: Donald Lambert,
    Commodity Channel Index, Commodities 1980. Lookback: window candles.

    Raises:
        ValueError: window is under 2, or the columns differ in length.
    """
    check_window(window, minimum=2)
    high, low, close = as_columns(high=high, low=low, close=close)
    price = typical_price(high, low, close)
    mean = sma(price, window)
    spread = _compute_mean_distance(price, mean, window)
    spread[spread <= np.abs(mean) * NOISE] = np.nan
    return (price - mean) / (0.015 * spread)


def _compute_mean_distance(values: FloatArray, mean: FloatArray, window: int) -> FloatArray:
    """Return the mean of |value - mean| over the last `window` values of each bar."""
    count = len(values)
    total = np.full(count, np.nan)
    for start in range(window - 1, count, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, count)
        center, part = mean[start:stop], np.zeros(stop - start)
        distance = np.empty(stop - start)
        for bars in range(window):
            np.subtract(values[start - bars : stop - bars], center, out=distance)
            np.abs(distance, out=distance)
            part += distance
        total[start:stop] = part
    total /= window
    return total


@cacheable
def roc(values: FloatArray, bars: int) -> FloatArray:
    """Return the rate of change in percent: 100 (x / x some bars earlier - 1).

    The formula of TA-Lib's ROC; NaN where the earlier value is 0. Lookback: bars + 1 candles.

    Raises:
        ValueError: bars is under 1.
    """
    check_window(bars, "bars")
    change = np.full(len(values), np.nan)
    later = change[bars:]
    earlier = values[: len(later)]
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(values[bars:], earlier, out=later)
    if not earlier.all():
        later[earlier == 0.0] = np.nan
    later -= 1.0
    later *= 100.0
    return change


@cacheable
def momentum(values: FloatArray, bars: int) -> FloatArray:
    """Return the change over some bars, in the unit of the values: TA-Lib's MOM.

    Lookback: bars + 1 candles.

    Raises:
        ValueError: bars is under 1.
    """
    check_window(bars, "bars")
    change = np.empty(len(values))
    change[:bars] = np.nan
    np.subtract(values[bars:], values[: max(len(values) - bars, 0)], out=change[bars:])
    return change


@cacheable
def cmo(close: FloatArray, period: int) -> FloatArray:
    """Return Chande's momentum oscillator, -100 to 100: 100 (g - l) / (g + l).

    g and l are the sums of the gains and of the losses of the last `period` bars; NaN where no
    price moved. Source: T. S. Chande and S. Kroll, The New Technical Trader, 1994; TradingView has
    the same. TA-Lib's CMO smooths as Wilder does and equals `2 * rsi(close, period) - 100`.
    Lookback: period + 1 candles.

    Raises:
        ValueError: period is under 1.
    """
    check_window(period, "period")
    index = np.full(len(close), np.nan)
    if len(close) <= period:
        return index
    change = np.diff(close)
    gain = compute_weighted_sums(np.maximum(change, 0.0), period, 1.0)
    loss = compute_weighted_sums(np.maximum(-change, 0.0), period, 1.0)
    index[1:] = divide_columns(gain - loss, gain + loss) * 100.0
    index[:period] = np.nan
    return index
