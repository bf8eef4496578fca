"""Indicators against TA-Lib, plain loops of the published formulas, and a published example."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from indicator_cases import walk_candles, walk_shapes
from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators as ind

windows = st.integers(2, 40)
#: The simple average of TA-Lib.
SIMPLE = talib.MA_Type.SMA


def select_known(ours: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both where both are known; ours is known wherever theirs is, and not undefined."""
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    return ours[both], theirs[both]


@given(walk_shapes, windows)
def test_directional_movement_equals_ta_lib(shape: tuple[int, int, float, int], period: int):
    c = walk_candles(shape)
    for ours, theirs in ((ind.plus_di, talib.PLUS_DI), (ind.minus_di, talib.MINUS_DI)):
        found = ours(c.high, c.low, c.close, period)
        assert_allclose(found, theirs(c.high, c.low, c.close, period), rtol=0, atol=1e-7)


@given(walk_shapes, windows)
def test_adx_equals_ta_lib(shape: tuple[int, int, float, int], period: int):
    # With fewer decimals prices stand still for so long that TA-Lib leaves terms out.
    c = walk_candles((*shape[:3], 6))
    found = ind.adx(c.high, c.low, c.close, period)
    assert_allclose(found, talib.ADX(c.high, c.low, c.close, period), rtol=0, atol=1e-7)


@given(walk_shapes, windows, st.integers(1, 5), st.integers(1, 5))
def test_stochastics_equal_ta_lib(
    shape: tuple[int, int, float, int], window: int, smooth: int, signal: int
):
    c = walk_candles((*shape[:3], 6))
    prices = (c.high, c.low, c.close)
    slow = talib.STOCH(*prices, window, smooth, SIMPLE, signal, SIMPLE)
    fast = talib.STOCHF(*prices, window, signal, SIMPLE)
    pairs = [
        *zip(ind.stoch(*prices, window, smooth, signal), slow, strict=True),
        *zip(ind.stoch_fast(*prices, window, signal), fast, strict=True),
    ]
    for ours, theirs in pairs:
        # TA-Lib begins %K where %D begins.
        assert_allclose(*select_known(ours, theirs), rtol=0, atol=1e-7)
    assert_array_equal(np.isnan(pairs[1][0]), np.isnan(slow[1]))


@given(walk_shapes, st.integers(5, 30), st.integers(3, 20))
def test_the_stochastic_of_the_rsi_equals_ta_lib(
    shape: tuple[int, int, float, int], period: int, window: int
):
    close = walk_candles((*shape[:3], 6)).close
    theirs = talib.STOCHRSI(close, period, window, 3, SIMPLE)
    for mine, other in zip(ind.stoch_rsi(close, period, window), theirs, strict=True):
        # 0 in TA-Lib is also where the RSI did not move.
        assert_allclose(*select_known(mine, other), rtol=0, atol=1e-5)


#: Ours and TA-Lib's of candles and a window.
TA_LIB: dict[
    str,
    tuple[Callable[[Candles, int], FloatArray], Callable[[Candles, int], FloatArray], float],
] = {
    "cci": (
        lambda c, n: ind.cci(c.high, c.low, c.close, n),
        lambda c, n: talib.CCI(c.high, c.low, c.close, n),
        1e-5,
    ),
    "williams_r": (
        lambda c, n: ind.williams_r(c.high, c.low, c.close, n),
        lambda c, n: talib.WILLR(c.high, c.low, c.close, n),
        1e-9,
    ),
    "roc": (lambda c, n: ind.roc(c.close, n), lambda c, n: talib.ROC(c.close, n), 1e-9),
    "momentum": (lambda c, n: ind.momentum(c.close, n), lambda c, n: talib.MOM(c.close, n), 0.0),
    "dema": (lambda c, n: ind.dema(c.close, n), lambda c, n: talib.DEMA(c.close, n), 1e-7),
    "tema": (lambda c, n: ind.tema(c.close, n), lambda c, n: talib.TEMA(c.close, n), 1e-7),
    "kama": (lambda c, n: ind.kama(c.close, n), lambda c, n: talib.KAMA(c.close, n), 1e-7),
    "regression": (
        lambda c, n: ind.linear_regression(c.close, n).value,
        lambda c, n: talib.LINEARREG(c.close, n),
        1e-7,
    ),
    "slope": (
        lambda c, n: ind.linear_regression(c.close, n).slope,
        lambda c, n: talib.LINEARREG_SLOPE(c.close, n),
        1e-7,
    ),
    "aroon up": (
        lambda c, n: ind.aroon(c.high, c.low, n).up,
        lambda c, n: talib.AROON(c.high, c.low, n)[1],
        1e-9,
    ),
    "aroon down": (
        lambda c, n: ind.aroon(c.high, c.low, n).down,
        lambda c, n: talib.AROON(c.high, c.low, n)[0],
        1e-9,
    ),
    "aroon oscillator": (
        lambda c, n: ind.aroon(c.high, c.low, n).oscillator,
        lambda c, n: talib.AROONOSC(c.high, c.low, n),
        1e-9,
    ),
    "sar": (lambda c, _: ind.sar(c.high, c.low), lambda c, _: talib.SAR(c.high, c.low), 1e-9),
    "change of obv": (
        lambda c, n: ind.obv(c.close, c.volume, n),
        lambda c, n: (total := talib.OBV(c.close, c.volume)) - ind.previous(total, n),
        1e-7,
    ),
}


@pytest.mark.parametrize("name", TA_LIB)
@given(shape=walk_shapes, window=windows)
def test_line_indicators_equal_ta_lib(name: str, shape: tuple[int, int, float, int], window: int):
    ours, theirs, tolerance = TA_LIB[name]
    candles = walk_candles((*shape[:3], max(shape[3], 4)))
    mine, other = ours(candles, window), theirs(candles, window)
    assert_allclose(*select_known(mine, other), rtol=0, atol=tolerance)
    # Where ours is undefined, nothing moved: TA-Lib gives 0 there.
    assert np.all(other[np.isnan(mine) & ~np.isnan(other)] == 0.0)
    assert not np.any(~np.isnan(mine) & np.isnan(other))


@given(walk_shapes, windows)
def test_mfi_equals_ta_lib(shape: tuple[int, int, float, int], period: int):
    # With fewer decimals rounding decides in TA-Lib whether an equal typical price rose.
    c = walk_candles((*shape[:3], 8))
    theirs = talib.MFI(c.high, c.low, c.close, c.volume, period)
    ours = ind.mfi(c.high, c.low, c.close, c.volume, period)
    differ = ~np.isclose(ours, theirs, rtol=0, atol=1e-6, equal_nan=True)
    # TA-Lib gives 0 where the whole flow is under 1; at these prices that is one without volume.
    assert np.isnan(ours[differ]).all()
    assert np.all(theirs[differ] == 0.0)


def test_sar_and_supertrend_of_long_windows_equal_their_unlimited_recursions():
    c = walk_candles((11, 60_000, 1e-2, 6))
    assert_allclose(ind.sar(c.high, c.low)[1:], talib.SAR(c.high, c.low)[1:], rtol=1e-12)
    ours = ind.supertrend(c.high, c.low, c.close, 10, 3.0)
    line, direction = compute_plain_supertrend(c, 10, 3.0)
    assert_array_equal(ours.direction, direction)
    assert_array_equal(ours.line, line)


def compute_plain_supertrend(
    c: Candles, period: int, width: float
) -> tuple[FloatArray, FloatArray]:
    """Return line and direction by a loop over all bars."""
    reach = (ind.atr(c.high, c.low, c.close, period) * width).tolist()
    high, low, close = c.high.tolist(), c.low.tolist(), c.close.tolist()
    line, direction = np.full(len(c), np.nan), np.full(len(c), np.nan)
    upper = lower = math.nan
    is_up = False
    for i in range(period, len(c)):
        new_upper = (high[i] + low[i]) / 2 + reach[i]
        new_lower = (high[i] + low[i]) / 2 - reach[i]
        if i == period or new_upper < upper or close[i - 1] > upper:
            upper = new_upper
        if i == period or new_lower > lower or close[i - 1] < lower:
            lower = new_lower
        if i > period:
            is_up = close[i] >= lower if is_up else close[i] > upper
        line[i], direction[i] = (lower, 1.0) if is_up else (upper, -1.0)
    return line, direction


def select_last(values: FloatArray, end: int, window: int) -> FloatArray:
    """Return the last values up to and with bar `end`."""
    return values[end - window + 1 : end + 1]


def compute_plain_wma(values: FloatArray, window: int) -> FloatArray:
    weights = np.arange(1, window + 1)
    found = np.full(len(values), np.nan)
    for i in range(window - 1, len(values)):
        found[i] = (select_last(values, i, window) * weights).sum() / weights.sum()
    return found


@pytest.fixture(scope="module")
def candles() -> Candles:
    return walk_candles((21, 260, 1e-2, 5))


@pytest.mark.parametrize("window", [2, 9, 20, 35])
def test_hma_is_hulls_formula(candles: Candles, window: int):
    close = candles.close
    raw = 2 * compute_plain_wma(close, window // 2) - compute_plain_wma(close, window)
    assert_allclose(ind.hma(close, window), compute_plain_wma(raw, int(window**0.5)), rtol=1e-12)


@pytest.mark.parametrize("period", [1, 9, 14])
def test_cmo_is_chandes_formula_and_ta_libs_is_twice_the_rsi(candles: Candles, period: int):
    close = candles.close
    expected = np.full(len(close), np.nan)
    for i in range(period, len(close)):
        change = np.diff(select_last(close, i, period + 1))
        expected[i] = 100 * change.sum() / np.abs(change).sum()
    assert_allclose(ind.cmo(close, period), expected, atol=1e-8)
    if period > 1:
        theirs = talib.CMO(close, period)
        assert_allclose(2 * ind.rsi(close, period) - 100, theirs, atol=1e-7)


def test_published_values_of_cmo_are_reproduced():
    # An up sum of 3 and a down sum of 1 make 50, as the formula's authors explain it.
    assert ind.cmo(np.array([1.0, 2.0, 4.0, 3.0]), 3)[-1] == 50.0


@pytest.mark.parametrize(("window", "ddof"), [(2, 0), (2, 1), (20, 0), (20, 1), (20, 2)])
def test_z_score_and_bands_equal_those_of_numpy(candles: Candles, window: int, ddof: int):
    close = candles.close
    score, bands = ind.z_score(close, window, ddof), ind.bollinger(close, window, 2.0, ddof=ddof)
    if window == ddof:
        return
    for i in range(window - 1, len(close)):
        part = select_last(close, i, window)
        spread = part.std(ddof=ddof)
        assert score[i] == pytest.approx((close[i] - part.mean()) / spread, rel=1e-7, abs=1e-9)
        assert bands.upper[i] == pytest.approx(part.mean() + 2 * spread, rel=1e-12)
        assert bands.lower[i] == pytest.approx(part.mean() - 2 * spread, rel=1e-12)


def test_keltner_is_an_ema_and_the_average_true_range_of_ta_lib(candles: Candles):
    c = candles
    bands = ind.keltner(c.high, c.low, c.close, 20, 1.5, 10)
    middle, reach = talib.EMA(c.close, 20), 1.5 * talib.ATR(c.high, c.low, c.close, 10)
    for ours, theirs in zip(bands, (middle + reach, middle, middle - reach), strict=True):
        assert_allclose(ours, theirs, rtol=1e-10)


def test_ichimoku_is_the_middle_of_ranges_and_spans_are_of_25_bars_before(candles: Candles):
    c, lines = candles, ind.ichimoku(candles.high, candles.low)

    def middle(end: int, window: int) -> float:
        return (select_last(c.high, end, window).max() + select_last(c.low, end, window).min()) / 2

    for i in (76, 77, 150, 259):
        assert lines.conversion[i] == middle(i, 9)
        assert lines.base[i] == middle(i, 26)
        assert lines.span_a[i] == (middle(i - 25, 9) + middle(i - 25, 26)) / 2
        assert lines.span_b[i] == middle(i - 25, 52)
    assert np.flatnonzero(~np.isnan(lines.span_b))[0] == 76


def test_heikin_ashi_is_its_recursion(candles: Candles):
    c = candles
    found = ind.heikin_ashi(c.open, c.high, c.low, c.close)
    begin = (c.open[0] + c.close[0]) / 2
    for i in range(len(c)):
        mean = (c.open[i] + c.high[i] + c.low[i] + c.close[i]) / 4
        assert found.close[i] == pytest.approx(mean, rel=1e-15)
        assert found.open[i] == pytest.approx(begin, rel=1e-11)
        assert found.high[i] == max(c.high[i], found.open[i], found.close[i])
        assert found.low[i] == min(c.low[i], found.open[i], found.close[i])
        begin = (begin + mean) / 2


@pytest.mark.parametrize("window", [1, 20])
def test_rolling_vwap_is_money_over_volume(candles: Candles, window: int):
    c, found = candles, ind.rolling_vwap(*get_prices_and_volume(candles), window)
    price = (c.high + c.low + c.close) / 3
    for i in range(window - 1, len(c)):
        volume = select_last(c.volume, i, window)
        money = (select_last(price, i, window) * volume).sum()
        expected = money / volume.sum() if volume.sum() else math.nan
        assert found[i] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def get_prices_and_volume(c: Candles) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return c.high, c.low, c.close, c.volume


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_session_vwap_begins_at_midnight_of_its_zone(zone: str):
    # Hourly, over both changes of New York's clock in 2024, with gaps.
    whole = walk_candles((4, 8_000, 1e-3, 4))
    rows = np.delete(np.arange(len(whole)), [*range(50, 77), 120, 3_000])
    c = Candles.from_columns(
        whole.timestamp[rows],
        *(column[rows] for column in (whole.open, *get_prices_and_volume(whole))),
    )
    found = ind.session_vwap(c.timestamp, *get_prices_and_volume(c), zone)
    price, day, money, volume = (c.high + c.low + c.close) / 3, None, 0.0, 0.0
    is_whole = False
    for i, seconds in enumerate(c.timestamp.tolist()):
        local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))
        if local.date() != day:
            is_whole = day is not None or (local.hour, local.minute) == (0, 0)
            day, money, volume = local.date(), 0.0, 0.0
        money, volume = money + float(price[i] * c.volume[i]), volume + float(c.volume[i])
        expected = money / volume if volume and is_whole else math.nan
        assert found[i] == pytest.approx(expected, rel=1e-12, nan_ok=True), i


def test_a_session_whose_midnight_the_clock_leaves_out_begins_at_its_first_hour():
    # Beirut's clock went from 00:00 to 01:00 on 2024-03-31.
    midnight = int(datetime(2024, 3, 30, 22, tzinfo=UTC).timestamp())
    timestamp = midnight + 3_600 * np.arange(-24, 3)
    price = np.arange(1.0, 28.0)
    found = ind.session_vwap(timestamp, price, price, price, np.ones(27), "Asia/Beirut")
    assert found[-4:].tolist() == [12.5, 25.0, 25.5, 26.0]


@pytest.mark.parametrize(("timeframe", "candles"), [("1h", 26), ("15m", 101), ("1d", 3)])
def test_a_session_of_25_hours_is_within_the_lookback(timeframe: str, candles: int):
    assert ind.session_vwap_lookback(timeframe) == candles
