"""Lines that trail the price and change sides with the trend: Parabolic SAR and Supertrend.

Each value comes from a recursion over a fixed number of bars, so a trader that reads only the
lookback gets the value of a backtest.
"""

from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray, IntArray
from onetape.strategies.indicator_cache import cacheable
from onetape.strategies.indicators.averages import check_window, count_leading_nans
from onetape.strategies.indicators.columns import as_columns
from onetape.strategies.indicators.recursion import State, run_windows
from onetape.strategies.indicators.volatility import atr, atr_lookback

#: Length of SAR's recursion, in bars, is this number divided by the acceleration.
_SAR_MEMORY = 10.24
#: Length of Supertrend's recursion, in bars: this number times the square of the width, and at
#: least twice this number.
_SUPERTREND_MEMORY = 100


class Supertrend(NamedTuple):
    """Supertrend's line and direction."""

    line: FloatArray
    """Price of the stop under a rising or over a falling price; NaN until the ATR is known."""
    direction: FloatArray
    """1 while the trend is up (the line is under the price), -1 while it is down; NaN until the ATR
    is known."""


@cacheable
def sar(
    high: FloatArray, low: FloatArray, acceleration: float = 0.02, maximum: float = 0.2
) -> FloatArray:
    """Return Wilder's parabolic stop and reverse, in the unit of the prices.

    S' = S + a (E - S), E the extreme price of the trend; a grows by `acceleration` with each new
    extreme, up to `maximum`. S' never lies within the range of the last two bars; where the price
    reaches S, the trend turns and S begins at the extreme. The value of a bar is S, computed from
    earlier bars, or the extreme if the trend turns in the bar; the first one is NaN. Source:
    J. Welles Wilder, New Concepts in Technical Trading Systems, 1978; started as in TA-Lib, on the
    second bar.

    The value of a bar is that of a recursion over the last `sar_lookback(acceleration)` candles.
    Two recursions agree to the last bit soon after both have turned.

    Raises:
        ValueError: acceleration is not over 0, or over maximum, or the columns differ in length.
    """
    if not 0.0 < acceleration <= maximum:
        raise ValueError(
            "acceleration must be over 0 and at most maximum, "
            f"found {acceleration:g} and {maximum:g}"
        )
    high, low = as_columns(high=high, low=low)
    line = np.full(len(high), np.nan)
    first = max(count_leading_nans(high), count_leading_nans(low))
    if len(high) - first < 2:
        return line
    recursion = _Sar(high[first:], low[first:], acceleration, maximum)
    memory = sar_lookback(acceleration) - 1
    line[first + 1 :] = run_windows(
        len(high) - first - 1, memory, recursion.start, recursion.advance
    )[0]
    return line


def sar_lookback(acceleration: float = 0.02) -> int:
    """Return the number of candles of the recursion of `sar`."""
    return 1 + int(np.ceil(_SAR_MEMORY / acceleration))


class _Sar:
    """The recursion of `sar`; row u of it is bar u + 1, because it starts on a second bar.

    The columns of a row are the value at the bar, whether the trend is up after it, the stop of the
    next bar, the extreme and the acceleration.
    """

    def __init__(
        self, high: FloatArray, low: FloatArray, acceleration: float, maximum: float
    ) -> None:
        self._high, self._low = high, low
        self._acceleration, self._maximum = acceleration, maximum

    def start(self, rows: IntArray) -> State:
        """Return the states after second bars."""
        high, low = self._high[rows + 1], self._low[rows + 1]
        fall, rise = self._low[rows] - low, high - self._high[rows]
        is_up = ~((fall > 0.0) & (fall > rise))
        stop = np.where(is_up, self._low[rows], self._high[rows])
        accelerations = np.full(len(rows), self._acceleration)
        state = stop, is_up.astype(np.float64), stop, np.where(is_up, high, low), accelerations
        return self._compute_next_state(state, high, low, high, low)

    def advance(self, state: State, rows: IntArray) -> State:
        """Return the states after the next bars."""
        high, low, bars = self._high, self._low, rows + 1
        return self._compute_next_state(state, high[bars], low[bars], high[rows], low[rows])

    def _compute_next_state(
        self,
        state: State,
        high: FloatArray,
        low: FloatArray,
        high_before: FloatArray,
        low_before: FloatArray,
    ) -> State:
        """Return the state of the recursions one bar later, in columns."""
        _, up, stop, extreme, accelerations = state
        is_up = up > 0.0
        top, bottom = np.maximum(high, high_before), np.minimum(low, low_before)
        turns = np.where(is_up, low <= stop, high >= stop)
        turned = np.where(is_up, np.maximum(extreme, top), np.minimum(extreme, bottom))
        value = np.where(turns, turned, stop)
        ahead, leads = np.where(is_up, high, low), np.where(is_up, high > extreme, low < extreme)
        faster = np.minimum(accelerations + self._acceleration, self._maximum)
        accelerations = np.where(leads, faster, accelerations)
        accelerations = np.where(turns, self._acceleration, accelerations)
        extreme = np.where(leads, ahead, extreme)
        extreme = np.where(turns, np.where(is_up, low, high), extreme)
        is_up = is_up ^ turns
        stop = value + accelerations * (extreme - value)
        stop = np.where(is_up, np.minimum(stop, bottom), np.maximum(stop, top))
        return value, is_up.astype(np.float64), stop, extreme, accelerations


def supertrend(
    high: FloatArray, low: FloatArray, close: FloatArray, period: int, width: float
) -> Supertrend:
    """Return Supertrend: bands of `width` ATRs about the middle of each bar, which only tighten.

    The upper band is (high + low) / 2 + width atr(period); while the close before is not over the
    band, the band does not rise. The lower band mirrors it. The trend starts down, turns up where
    the close is over the upper band, and down where it is under the lower band. This is the rule of
    TradingView's `ta.supertrend`, whose direction has the other sign. Source: Olivier Seban, 2009.

    The value of a bar is that of a recursion over the last `supertrend_memory(width)` bars with an
    ATR. Two recursions agree to the last bit soon after the trend has turned in both.

    Raises:
        ValueError: period is under 1, width is not between 0 and 100 (both exclusive), or the
            columns differ in length.
    """
    check_window(period, "period")
    _check_width(width)
    high, low, close = as_columns(high=high, low=low, close=close)
    line, direction = np.full(len(close), np.nan), np.full(len(close), np.nan)
    reach = atr(high, low, close, period) * width
    first = count_leading_nans(reach)
    if first < len(close):
        middle = (high + low) / 2.0
        recursion = _Supertrend((middle + reach)[first:], (middle - reach)[first:], close[first:])
        upper, lower, found = run_windows(
            len(close) - first, supertrend_memory(width), recursion.start, recursion.advance
        )
        direction[first:] = found
        line[first:] = np.where(found > 0.0, lower, upper)
    return Supertrend(line, direction)


def supertrend_memory(width: float) -> int:
    """Return the number of bars of the recursion of `supertrend`."""
    _check_width(width)
    return max(int(np.ceil(_SUPERTREND_MEMORY * width * width)), 2 * _SUPERTREND_MEMORY)


def supertrend_lookback(period: int, width: float) -> int:
    """Return the number of candles that give `supertrend` exactly as all candles do."""
    return atr_lookback(period) + supertrend_memory(width)


def _check_width(width: float) -> None:
    if not 0.0 < width < 100.0:
        raise ValueError(f"width must be over 0 and under 100, found {width:g}")


class _Supertrend:
    """The recursion of `supertrend`: upper band, lower band, direction."""

    def __init__(self, upper: FloatArray, lower: FloatArray, close: FloatArray) -> None:
        self._upper, self._lower, self._close = upper, lower, close

    def start(self, rows: IntArray) -> State:
        """Return the states after first bars."""
        return self._upper[rows], self._lower[rows], np.full(len(rows), -1.0)

    def advance(self, state: State, rows: IntArray) -> State:
        """Return the states after the next bars."""
        upper_before, lower_before, direction = state
        upper, lower = self._upper[rows], self._lower[rows]
        close, close_before = self._close[rows], self._close[rows - 1]
        upper_free = (upper < upper_before) | (close_before > upper_before)
        lower_free = (lower > lower_before) | (close_before < lower_before)
        upper = np.where(upper_free, upper, upper_before)
        lower = np.where(lower_free, lower, lower_before)
        up = np.where(direction > 0.0, ~(close < lower), close > upper)
        return upper, lower, np.where(up, 1.0, -1.0)
