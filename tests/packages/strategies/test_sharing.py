"""Indicator columns that combinations share equal those that each would compute."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators
from onetape.strategies.indicator_cache import IndicatorCache, cacheable

ROWS = 500
INDICATORS: dict[str, Callable[[Candles], FloatArray]] = {
    "sma": lambda one: indicators.sma(one.close, 20),
    "ema": lambda one: indicators.ema(one.close, window=20),
    "wilder": lambda one: indicators.wilder(one.close, 20),
    "rsi": lambda one: indicators.rsi(one.close, 14),
    "atr": lambda one: indicators.atr(one.high, one.low, one.close, 14),
    "macd": lambda one: indicators.macd(one.close, 12, 26, 9).signal,
    "bollinger": lambda one: indicators.bollinger(one.close, 20, 2.0).upper,
    "highest of a part": lambda one: indicators.highest(one.high[3:], 20),
    "lowest of a part": lambda one: indicators.lowest(one.low[:-7], 20),
    "wma": lambda one: indicators.wma(one.volume, 20),
    "of an own array": lambda one: indicators.sma(one.close * 2, 20),
    "of every second candle": lambda one: indicators.sma(one.close[::2], 20),
}


@pytest.fixture
def candles() -> Candles:
    """Return candles that cannot be written to, as a strategy is given them."""
    close = 100 + np.random.default_rng(5).normal(0, 1, ROWS).cumsum()
    high, low = close + 1, close - 1
    columns = [close.copy(), high, low, close, np.ones(ROWS)]
    for column in columns:
        column.flags.writeable = False
    return Candles.from_columns(np.arange(ROWS) * 60, *columns)


class CountedIndicator:
    """An indicator that counts how often it is worked out."""

    def __init__(self) -> None:
        """Begin with none."""
        self.calls = 0
        self.mean = cacheable(self._mean)

    def _mean(self, values: FloatArray, window: int) -> FloatArray:
        self.calls += 1
        return np.convolve(values, np.ones(window) / window, "same")


@pytest.mark.parametrize("name", INDICATORS)
def test_a_cached_column_is_equal_to_the_last_bit_each_time(candles: Candles, name: str) -> None:
    indicator = INDICATORS[name]
    alone = indicator(candles)
    with IndicatorCache([candles]).activate():
        for _ in range(2):
            np.testing.assert_array_equal(indicator(candles), alone)


def test_a_column_requested_before_is_not_computed_again(candles: Candles) -> None:
    counted = CountedIndicator()
    with IndicatorCache([candles]).activate():
        for _ in range(3):
            counted.mean(candles.close, 5)
            counted.mean(candles.close[10:], 5)
            counted.mean(candles.open, 5)
            counted.mean(candles.close, 6)
            counted.mean(candles.close, window=5)
    assert counted.calls == 5


def test_a_write_into_a_cached_column_changes_only_the_callers_copy(candles: Candles) -> None:
    counted = CountedIndicator()
    alone = counted.mean(candles.close, 5)
    with IndicatorCache([candles]).activate():
        for _ in range(3):
            column = counted.mean(candles.close, 5)
            np.testing.assert_array_equal(column, alone)
            column[:] = 0.0


def test_a_column_of_a_writable_array_is_computed_again(candles: Candles) -> None:
    with IndicatorCache([candles]).activate():
        own = candles.close.copy()
        before = indicators.sma(own, 5)
        own *= 2
        np.testing.assert_array_equal(indicators.sma(own, 5), before * 2)


def test_a_read_only_view_of_a_writable_array_is_computed_again(candles: Candles) -> None:
    own = candles.close.copy()
    seen = own.view()
    seen.flags.writeable = False
    with IndicatorCache([candles]).activate():
        before = indicators.sma(seen, 5)
        own *= 2
        np.testing.assert_array_equal(indicators.sma(seen, 5), before * 2)


def test_numbers_of_another_type_are_another_column(candles: Candles) -> None:
    made: list[float] = []

    @cacheable
    def level(values: FloatArray, height: float) -> FloatArray:
        made.append(height)
        return values * 0 + height

    with IndicatorCache([candles]).activate():
        for height in (1, 1.0, True, 1):
            level(candles.close, height)
    assert [type(height) for height in made] == [int, float, bool]


def test_a_full_cache_is_emptied(candles: Candles) -> None:
    counted = CountedIndicator()
    with IndicatorCache([candles], most_bytes=2 * ROWS * 8).activate():
        first = counted.mean(candles.close, 1)
        for window in (2, 1, 2, 3, 1, 3):
            counted.mean(candles.close, window)
    # 3 found no room, so that 1 had to be made again.
    assert counted.calls == 4
    np.testing.assert_array_equal(first, candles.close)


def test_a_column_larger_than_the_cache_is_still_correct(candles: Candles) -> None:
    with IndicatorCache([candles], most_bytes=10).activate():
        for _ in range(2):
            np.testing.assert_array_equal(indicators.sma(candles.close, 1), candles.close)


def test_nothing_is_cached_outside_the_block_or_in_other_threads(candles: Candles) -> None:
    counted = CountedIndicator()
    with IndicatorCache([candles]).activate():
        counted.mean(candles.close, 5)
        other = threading.Thread(target=counted.mean, args=(candles.close, 5))
        other.start()
        other.join()
    counted.mean(candles.close, 5)
    assert counted.calls == 3
