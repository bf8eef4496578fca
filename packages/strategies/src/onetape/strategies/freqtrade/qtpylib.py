"""The helpers of qtpylib that strategy files use, rewritten on pandas.

The helpers return the results of qtpylib on the same columns (compared with the package technical
1.7).
"""

from typing import Any, cast

import numpy as np
import pandas as pd


def crossed(series1: Any, series2: Any, direction: str | None = None) -> Any:
    """Return the candles on which one column crosses another: above now and not one candle before.

    Args:
        series1: A column.
        series2: Another column, or a number.
        direction: `above` or `below`; None: either.
    """
    first = _to_series(series1)
    second = _to_series(series2, first.index)
    before, level = first.shift(1), second.shift(1)
    above, below = (first > second) & (before <= level), (first < second) & (before >= level)
    return {None: above | below, "above": above}.get(direction, below)


def crossed_above(series1: Any, series2: Any) -> Any:
    """Return the candles on which one column crosses above another, or above a number."""
    return crossed(series1, series2, "above")


def crossed_below(series1: Any, series2: Any) -> Any:
    """Return the candles on which one column crosses below another, or below a number."""
    return crossed(series1, series2, "below")


def typical_price(bars: Any) -> Any:
    """Return (high + low + close) / 3."""
    return (bars["high"] + bars["low"] + bars["close"]) / 3.0


def mid_price(bars: Any) -> Any:
    """Return (high + low) / 2."""
    return (bars["high"] + bars["low"]) / 2.0


def rolling_mean(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return the mean of the last `window` values."""
    return _make_rolling_window(series, window, min_periods).mean()


def rolling_std(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return the sample standard deviation (over n - 1) of the last `window` values."""
    return _make_rolling_window(series, window, min_periods).std()


def rolling_min(series: Any, window: int = 14, min_periods: int | None = None) -> Any:
    """Return the smallest of the last `window` values."""
    return _make_rolling_window(series, window, min_periods).min()


def rolling_max(series: Any, window: int = 14, min_periods: int | None = None) -> Any:
    """Return the largest of the last `window` values."""
    return _make_rolling_window(series, window, min_periods).max()


def sma(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return the mean of the last `window` values."""
    return rolling_mean(series, window, min_periods)


def rolling_weighted_mean(
    series: Any, window: float = 200, min_periods: float | None = None
) -> Any:
    """Return the exponential average with a span of `window`; qtpylib's name is misleading."""
    minimum = window if min_periods is None else min_periods
    return _to_series(series).ewm(span=window, min_periods=int(minimum)).mean()


def wma(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return the exponential average with a span of `window`, as `rolling_weighted_mean`."""
    return rolling_weighted_mean(series, window, min_periods)


def hull_moving_average(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return Hull's average made of exponential ones."""
    minimum = window if min_periods is None else min_periods
    short = rolling_weighted_mean(series, window / 2, minimum)
    raw = 2 * short - rolling_weighted_mean(series, window, minimum)
    return rolling_weighted_mean(raw, np.sqrt(window), minimum)


def hma(series: Any, window: int = 200, min_periods: int | None = None) -> Any:
    """Return Hull's average made of exponential ones."""
    return hull_moving_average(series, window, min_periods)


def bollinger_bands(series: Any, window: int = 20, stds: float = 2) -> Any:
    """Return columns `upper`, `mid` and `lower`: mean and sample deviations, from the first value.

    Fewer values than `window` count at the beginning.
    """
    middle = rolling_mean(series, window, 1)
    width = rolling_std(series, window, 1) * stds
    return pd.DataFrame({"upper": middle + width, "mid": middle, "lower": middle - width})


def true_range(bars: Any) -> Any:
    """Return the largest of high - low, |high - close before| and |low - close before|."""
    before = bars["close"].shift(1)
    high, low = bars["high"], bars["low"]
    return pd.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1).max(axis=1)


def atr(bars: Any, window: int = 14, exp: bool = False) -> Any:
    """Return the mean of the true range, or its exponential average."""
    average = rolling_weighted_mean if exp else rolling_mean
    return average(true_range(bars), window)


def awesome_oscillator(bars: Any, weighted: bool = False, fast: int = 5, slow: int = 34) -> Any:
    """Return the difference of two averages of the mid price."""
    middle = mid_price(bars)
    if weighted:
        return middle.ewm(fast).mean() - middle.ewm(slow).mean()
    return rolling_mean(middle, fast) - rolling_mean(middle, slow)


def heikinashi(bars: Any) -> Any:
    """Return Heikin-Ashi candles: columns `open`, `high`, `low` and `close`."""
    close = (bars["open"] + bars["high"] + bars["low"] + bars["close"]) / 4
    opens = np.empty(len(bars))
    value = (bars["open"].iloc[0] + bars["close"].iloc[0]) / 2
    for row, one in enumerate(close.to_numpy()):
        opens[row] = value
        value = (value + one) / 2
    first = pd.Series(opens, index=bars.index)
    high = pd.concat([bars["high"], first, close], axis=1).max(axis=1)
    low = pd.concat([bars["low"], first, close], axis=1).min(axis=1)
    return pd.DataFrame({"open": first, "high": high, "low": low, "close": close})


def _make_rolling_window(series: Any, window: int, min_periods: int | None) -> Any:
    minimum = window if min_periods is None else min_periods
    return _to_series(series).rolling(window=window, min_periods=minimum)


def _to_series(values: Any, index: Any = None) -> Any:
    """Return a column, or a number, as a Series."""
    return cast("Any", values if isinstance(values, pd.Series) else pd.Series(values, index=index))
