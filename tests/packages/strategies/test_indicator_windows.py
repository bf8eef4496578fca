"""Each indicator's values depend on the candles of its lookback only, short input gives NaN."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.testing import assert_array_equal

from indicator_cases import CASES, walk_candles, walk_shapes
from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators
from onetape.strategies.indicators import recursion, rolling
from repeatable import count_examples

every_case = pytest.mark.parametrize("name", CASES)


@every_case
@settings(max_examples=count_examples(24))
@example(shape=(1, 3_000, 1e-2, 4))
@given(shape=walk_shapes)
def test_lookback_candles_give_the_last_values_to_the_last_bit(
    name: str, shape: tuple[int, int, float, int]
):
    case, candles = CASES[name], walk_candles(shape)
    whole = case.lines(candles)
    for end in {len(candles), len(candles) * 4 // 5}:
        alone = case.lines(candles[max(end - case.lookback, 0) : end])
        for line, part in zip(whole, alone, strict=True):
            assert_array_equal(part[-1:], line[:end][-1:])


@every_case
def test_the_last_value_is_known_after_lookback_candles(name: str):
    case = CASES[name]
    for line in case.lines(walk_candles((3, case.lookback, 1e-2, 6))):
        assert np.isfinite(line[-1])


@every_case
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_candles_give_as_many_values_as_candles_and_no_error(name: str, count: int):
    case = CASES[name]
    for line in case.lines(walk_candles((3, 30, 1e-2, 6))[:count]):
        assert line.shape == (count,)
        assert line.dtype == np.float64
        assert name in {"heikin_ashi", "session_vwap", "sar"} or np.isnan(line).all()


@every_case
def test_later_candles_change_no_value(name: str):
    case, candles = CASES[name], walk_candles((5, 900, 1e-2, 3))
    for whole, part in zip(case.lines(candles), case.lines(candles[:500]), strict=True):
        assert_array_equal(whole[:500], part)


@every_case
def test_a_candle_without_a_price_spoils_no_value_whose_lookback_it_is_not_in(name: str):
    case = CASES[name]
    candles = walk_candles((5, 400 + case.lookback, 1e-2, 6))
    spoiled = [column.copy() for column in (candles.high, candles.low, candles.close)]
    for column in spoiled:
        column[300] = np.nan
    high, low, close = spoiled
    torn = Candles(candles.timestamp, candles.open, high, low, close, candles.volume)
    clear = 301 + case.lookback
    for line, found in zip(case.lines(candles), case.lines(torn), strict=True):
        assert_array_equal(found[:300], line[:300])
        assert_array_equal(found[clear:], line[clear:])


@every_case
def test_prices_that_stand_still_give_numbers_or_nan_and_no_warning(name: str):
    still = np.full(700, 61_234.567)
    candles = walk_candles((5, 700, 1e-2, 6))
    volume = np.zeros(700)
    case = CASES[name]
    for line in case.lines(Candles(candles.timestamp, still, still, still, still, volume)):
        assert not np.isinf(line).any()


@pytest.mark.parametrize("name", ["kama", "sar", "supertrend", "aroon", "cci", "heikin_ashi"])
def test_values_do_not_depend_on_where_the_array_was_cut_into_chunks(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    case, candles = CASES[name], walk_candles((7, 6_000, 1e-2, 6))
    whole = case.lines(candles)
    monkeypatch.setattr(rolling, "CHUNK_ROWS", 700)
    monkeypatch.setattr(recursion, "_CHUNK_ROWS", 700)
    for line, part in zip(whole, case.lines(candles), strict=True):
        assert_array_equal(part, line)


def test_an_indicator_whose_start_never_loses_its_effect_has_the_value_of_its_window():
    # Ranges that only widen about one close: the bands stay where each recursion began.
    case, count = CASES["supertrend"], 1_200
    wide, close = np.linspace(1.0, 5.0, count), np.full(count, 100.0)
    base = walk_candles((7, count, 1e-2, 6))
    candles = Candles(base.timestamp, close, close + wide, close - wide, close, base.volume)
    whole = case.lines(candles)
    for end in range(case.lookback, count, 97):
        alone = case.lines(candles[end - case.lookback : end])
        for line, part in zip(whole, alone, strict=True):
            assert part[-1] == line[end - 1]


def test_pandas_series_give_the_values_of_arrays():
    candles = walk_candles((9, 700, 1e-2, 6))
    frame: Any = candles.frame()
    found: list[tuple[FloatArray, FloatArray]] = [
        (indicators.adx(frame.high, frame.low, frame.close, 7), CASES["adx"].lines(candles)[0]),
        (indicators.sar(frame.high, frame.low, 0.05), CASES["sar"].lines(candles)[0]),
        (indicators.kama(frame.close, 10, 2, 12), CASES["kama"].lines(candles)[0]),
        (indicators.z_score(frame.close, 20, 1), CASES["z_score"].lines(candles)[0]),
        (indicators.ichimoku(frame.high, frame.low).span_b, CASES["ichimoku"].lines(candles)[3]),
        (
            indicators.linear_regression(frame.close, 14)[0],
            CASES["linear_regression"].lines(candles)[0],
        ),
        (indicators.macd(frame.close, 12, 26, 9)[1], indicators.macd(candles.close, 12, 26, 9)[1]),
        (
            indicators.session_vwap(
                frame.index, frame.high, frame.low, frame.close, frame.volume, "Europe/Berlin"
            ),
            CASES["session_vwap"].lines(candles)[0],
        ),
    ]
    for of_frame, of_arrays in found:
        assert_array_equal(of_frame, of_arrays)


def test_a_rate_of_change_from_zero_is_undefined():
    assert_array_equal(
        indicators.roc(np.array([0.0, 1.0, 2.0, 0.0]), 1), [np.nan, np.nan, 100, -100]
    )


REFUSED: dict[str, Callable[[Any], object]] = {
    "window must be 1 bar or more, found 0": lambda x: indicators.sma(x, 0),
    "window must be 2 bars or more, found 1": lambda x: indicators.hma(x, 1),
    "window must be 1 bar or more, found 2.5": lambda x: indicators.sma(x, x[1] + 0.5),
    "period must be 2 bars or more, found 1": lambda x: indicators.adx(x, x, x, 1),
    "smooth must be 1 bar or more, found 0": lambda x: indicators.stoch(x, x, x, 5, 0, 3),
    "signal must be 1 bar or more, found -1": lambda x: indicators.stoch_rsi(x, 5, 5, 1, -1),
    "bars must be 1 bar or more, found 0": lambda x: indicators.roc(x, 0),
    "base must be 1 bar or more, found 0": lambda x: indicators.ichimoku(x, x, base=0),
    "atr_period must be 1 bar or more, found 0": lambda x: indicators.keltner(x, x, x, 5, 2.0, 0),
    "fast must be under slow, found 30 and 30": lambda x: indicators.kama(x, 10, 30, 30),
    "ddof must be 0 or more and under the window 5, found 5": lambda x: indicators.z_score(x, 5, 5),
    "ddof must be 0 or more and under the window 9, found -1": lambda x: indicators.bollinger(
        x, 9, 2.0, -1
    ),
    "acceleration must be over 0 and at most maximum, found 0.3 and 0.2": lambda x: indicators.sar(
        x, x, 0.3
    ),
    "width must be over 0 and under 100, found 0": lambda x: indicators.supertrend(x, x, x, 5, 0.0),
    "columns must have one value for each candle, found high 9, low 8": lambda x: indicators.sar(
        x, x[:8]
    ),
    "timestamp must have 9 values, found 2": lambda x: indicators.session_vwap(
        np.arange(2), x, x, x, x
    ),
    "unknown time zone 'Mars/Base'; use such as America/New_York": lambda x: (
        indicators.session_vwap(np.arange(9), x, x, x, x, "Mars/Base")
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_invalid_parameters_are_refused_in_one_line(message: str):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        REFUSED[message](np.arange(1.0, 10.0))
    assert str(refused.value) == message


def test_each_indicator_is_importable_where_the_package_states():
    for name in indicators.__all__:
        assert getattr(indicators, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = getattr(indicators, "nothing")  # noqa: B009 - pyright finds that there is none
