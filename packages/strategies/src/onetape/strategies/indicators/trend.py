"""Trend: directional movement, Aroon, Ichimoku, Heikin-Ashi."""

from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import cacheable
from onetape.strategies.indicators.averages import (
    check_window,
    compute_decayed_average,
    compute_memory,
    wilder,
)
from onetape.strategies.indicators.columns import as_columns
from onetape.strategies.indicators.rolling import (
    WindowPart,
    highest,
    lowest,
    previous,
    roll_parts,
)
from onetape.strategies.indicators.volatility import true_range


class Aroon(NamedTuple):
    """The lines of Aroon."""

    up: FloatArray
    """100 where the last bar has the highest high, 0 where the highest is `window` bars old."""
    down: FloatArray
    """100 where the last bar has the lowest low, 0 where the lowest is `window` bars old."""
    oscillator: FloatArray
    """Aroon oscillator: `up` minus `down`."""


class Ichimoku(NamedTuple):
    """The lines of Ichimoku Kinko Hyo that are known at each bar, in the unit of the prices."""

    conversion: FloatArray
    """Conversion line (Tenkan-sen)."""
    base: FloatArray
    """Base line (Kijun-sen)."""
    span_a: FloatArray
    """Senkou span A as drawn over this bar; it is computed from earlier bars."""
    span_b: FloatArray
    """Senkou span B as drawn over this bar; it is computed from earlier bars."""


class HeikinAshi(NamedTuple):
    """Heikin-Ashi candles, in the unit of the prices."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray


@cacheable
def plus_di(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return the positive directional indicator, 0 to 100: 100 s(+DM) / s(true range).

    +DM is the rise of the high over the one before where it is positive and exceeds the fall of the
    low, else 0; s is Wilder's smoothing, seeded as in TA-Lib. 0 where no price moved. Source:
    J. Welles Wilder, New Concepts in Technical Trading Systems, 1978. Lookback: `di_lookback`.

    Raises:
        ValueError: period is under 2, or the columns differ in length.
    """
    check_window(period, "period", minimum=2)
    high, low, close = as_columns(high=high, low=low, close=close)
    return _compute_directions(high, low, close, period)[0]


@cacheable
def minus_di(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return the negative directional indicator, 0 to 100: 100 s(-DM) / s(true range).

    -DM is the fall of the low under the one before where it is positive and exceeds the rise of the
    high, else 0; the rest is as of `plus_di`. Lookback: `di_lookback`.

    Raises:
        ValueError: period is under 2, or the columns differ in length.
    """
    check_window(period, "period", minimum=2)
    high, low, close = as_columns(high=high, low=low, close=close)
    return _compute_directions(high, low, close, period)[1]


@cacheable
def adx(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return the average directional index, 0 to 100: Wilder's average of 100 |p - m| / (p + m).

    p and m are `plus_di` and `minus_di`; where both are 0, so is the term (TA-Lib leaves it out).
    Source: J. Welles Wilder, New Concepts in Technical Trading Systems, 1978. The first value
    stands on bar 2 period - 1, as in TA-Lib. Lookback: `adx_lookback`.

    Raises:
        ValueError: period is under 2, or the columns differ in length.
    """
    check_window(period, "period", minimum=2)
    high, low, close = as_columns(high=high, low=low, close=close)
    plus, minus = _compute_directions(high, low, close, period)
    return wilder(_compute_percent(np.abs(plus - minus), plus + minus), period)


def di_lookback(period: int) -> int:
    """Return the number of candles that give the last +DI and -DI exactly as all candles do."""
    return period + compute_memory(1.0 - 1.0 / period)


def adx_lookback(period: int) -> int:
    """Return the number of candles that give the last ADX exactly as all candles do."""
    return di_lookback(period) + max(compute_memory(1.0 - 1.0 / period), period)


def _compute_directions(
    high: FloatArray, low: FloatArray, close: FloatArray, period: int
) -> tuple[FloatArray, FloatArray]:
    """Return +DI and -DI."""
    up, down = np.diff(high, prepend=np.nan), -np.diff(low, prepend=np.nan)
    plus = np.where(up > down, np.maximum(up, 0.0), (up + down) * 0.0)
    minus = np.where(down > up, np.maximum(down, 0.0), (up + down) * 0.0)
    plus, minus, moved = (
        _smooth_wilder(values, period) for values in (plus, minus, true_range(high, low, close))
    )
    return _compute_percent(plus, moved), _compute_percent(minus, moved)


def _smooth_wilder(values: FloatArray, period: int) -> FloatArray:
    """Return Wilder's average as TA-Lib seeds it here: with all but one of the first values."""
    average = compute_decayed_average(
        values, period - 1, values[1:period].sum() / period, 1.0 / period
    )
    average[:period] = np.nan
    return average


def _compute_percent(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return 100 part / whole; 0 where the whole is 0."""
    percent = part * 0.0
    np.divide(part, whole, out=percent, where=whole != 0.0)
    percent *= 100.0
    return percent


def aroon(high: FloatArray, low: FloatArray, window: int) -> Aroon:
    """Return Aroon: 100 (window - age) / window, the age in bars of the highest and lowest.

    Of the last `window` + 1 bars; of equal ones the latest counts. Source: Tushar Chande, The Time
    Price Oscillator, 1995. Lookback: window + 1 candles.

    Raises:
        ValueError: window is under 1, or the columns differ in length.
    """
    check_window(window)
    high, low = as_columns(high=high, low=low)
    up, down = (
        100.0 - _count_age_of_highest(of, window + 1) * (100.0 / window) for of in (high, -low)
    )
    return Aroon(up, down, up - down)


def _count_age_of_highest(values: FloatArray, window: int) -> FloatArray:
    """Return the age in bars of the highest of the last `window` values, the latest if equal."""

    def join(newer: WindowPart, older: WindowPart) -> tuple[FloatArray, ...]:
        (top, age), (old_top, old_age) = newer.columns, older.columns
        return np.maximum(top, old_top), np.where(old_top > top, old_age + newer.bars, age)

    ages = roll_parts(
        len(values),
        window,
        lambda rows: (values[rows], np.zeros_like(values[rows])),
        join,
        lambda part: np.where(np.isnan(part.columns[0]), np.nan, part.columns[1]),
    )
    ages[: window - 1] = np.nan
    return ages


def ichimoku(
    high: FloatArray,
    low: FloatArray,
    conversion: int = 9,
    base: int = 26,
    span: int = 52,
    displacement: int = 26,
) -> Ichimoku:
    """Return Ichimoku's lines; each is the middle of the highest high and the lowest low.

    The conversion line is of `conversion` bars, the base line of `base` bars. Span A is the mean of
    both, span B is of `span` bars; both spans are those of `displacement` - 1 bars earlier, as
    TradingView draws them. The lagging
    span is the close drawn `displacement` - 1 bars back: at its place it would be the future, so
    compare the close with `previous(line, displacement - 1)` instead. Source: Goichi Hosoda, 1969.
    Lookback: `ichimoku_lookback`.

    Raises:
        ValueError: a length is under 1, or the columns differ in length.
    """
    lengths = {"conversion": conversion, "base": base, "span": span, "displacement": displacement}
    for name, length in lengths.items():
        check_window(length, name)
    high, low = as_columns(high=high, low=low)
    fast, slow, wide = (
        (highest(high, window) + lowest(low, window)) / 2.0 for window in (conversion, base, span)
    )
    spans = (fast + slow) / 2.0, wide
    if displacement > 1:
        spans = previous(spans[0], displacement - 1), previous(wide, displacement - 1)
    return Ichimoku(fast, slow, *spans)


def ichimoku_lookback(
    conversion: int = 9, base: int = 26, span: int = 52, displacement: int = 26
) -> int:
    """Return the number of candles that decide the last lines of `ichimoku`."""
    return max(conversion, base, span) + displacement - 1


def heikin_ashi(
    open: FloatArray,  # noqa: A002 - the column's name
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
) -> HeikinAshi:
    """Return Heikin-Ashi candles.

    close' = (open + high + low + close) / 4, open' = the mean of open' and close' of the bar before
    (of the first bar: of open and close), high' and low' the extremes of high or low, open' and
    close'. Source: Munehisa Homma; Dan Valcu, Using the Heikin-Ashi Technique, 2004. The weight of
    a bar in open' halves with each later bar; weights under 1e-12 are left out. Lookback:
    `heikin_ashi_lookback`.

    Raises:
        ValueError: the columns differ in length.
    """
    open, high, low, close = as_columns(open=open, high=high, low=low, close=close)  # noqa: A001
    mean = (open + high + low + close) / 4.0
    if len(mean) == 0:
        return HeikinAshi(mean, mean, mean, mean)
    before = np.empty_like(mean)
    before[1:] = mean[:-1]
    begin = compute_decayed_average(before, 0, (open[0] + close[0]) / 2.0, 0.5)
    top = np.maximum(np.maximum(high, begin), mean)
    return HeikinAshi(begin, top, np.minimum(np.minimum(low, begin), mean), mean)


def heikin_ashi_lookback() -> int:
    """Return the number of candles that give the last Heikin-Ashi candle as all candles do."""
    return 1 + compute_memory(0.5)
