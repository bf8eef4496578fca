"""Indicators compared with TA-Lib and published tables, on whole ranges and on windows."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators

#: A random walk: its seed, its length and how far a bar moves.
walks = st.tuples(st.integers(0, 2**32), st.integers(2, 1500), st.sampled_from([1e-4, 1e-2, 0.1]))


def walk(of: tuple[int, int, float]) -> FloatArray:
    seed, count, spread = of
    steps = np.random.default_rng(seed).normal(0.0, spread, count)
    return 100.0 * np.exp(np.cumsum(steps - np.mean(steps)))


def read_table(path: Path) -> dict[str, FloatArray]:
    with gzip.open(path, "rt") as file:
        read: Any = np.genfromtxt(file, delimiter=",", names=True)
    return {name: np.asarray(read[name], dtype=np.float64) for name in read.dtype.names}


@given(walks, st.integers(2, 60))
def test_sma_equals_ta_lib_on_random_walks(of: tuple[int, int, float], window: int):
    close = walk(of)
    assert_allclose(indicators.sma(close, window), talib.SMA(close, window), rtol=1e-9)


@given(walks, st.integers(2, 60))
def test_ema_equals_ta_lib_on_random_walks(of: tuple[int, int, float], window: int):
    close = walk(of)
    assert_allclose(indicators.ema(close, window), talib.EMA(close, window), rtol=1e-9)


@given(walks, st.integers(2, 60))
def test_rsi_equals_ta_lib_on_random_walks(of: tuple[int, int, float], period: int):
    close = walk(of)
    assert_allclose(indicators.rsi(close, period), talib.RSI(close, period), rtol=0, atol=1e-7)


@given(walks, st.integers(2, 20), st.integers(1, 20), st.integers(1, 15))
def test_macd_equals_ta_lib_on_random_walks(
    of: tuple[int, int, float], fast: int, more: int, signal: int
):
    close = walk(of)
    ours = indicators.macd(close, fast, fast + more, signal)
    for mine, theirs in zip(ours, talib.MACD(close, fast, fast + more, signal), strict=True):
        assert_allclose(mine, theirs, rtol=0, atol=1e-9 * float(close.max()))


@given(walks, st.integers(2, 60), st.floats(0.5, 4))
def test_bands_equal_ta_lib_on_random_walks(of: tuple[int, int, float], window: int, width: float):
    close = walk(of)
    for mine, theirs in zip(
        indicators.bollinger(close, window, width),
        talib.BBANDS(close, window, width, width),
        strict=True,
    ):
        # TA-Lib subtracts two large sums, and so has fewer digits than we.
        assert_allclose(mine, theirs, rtol=1e-6)


@given(walks, st.integers(2, 60))
def test_rolling_windows_equal_ta_lib_on_random_walks(of: tuple[int, int, float], window: int):
    close = walk(of)
    assert_allclose(indicators.wma(close, window), talib.WMA(close, window), rtol=1e-9)
    assert_array_equal(indicators.highest(close, window), talib.MAX(close, window))
    assert_array_equal(indicators.lowest(close, window), talib.MIN(close, window))


@given(walks, st.integers(2, 40))
def test_atr_equals_ta_lib_on_random_walks(of: tuple[int, int, float], period: int):
    close = walk(of)
    high, low = close * 1.003, close * 0.99
    theirs = talib.ATR(high, low, close, period)
    assert_allclose(indicators.atr(high, low, close, period), theirs, rtol=1e-7)


def compute_published_columns(columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return our values under the names of the published tables."""
    close = columns["close"]
    bands = indicators.bollinger(close, 20, 2.0)
    return {
        "sma20": indicators.sma(close, 20),
        "ema20": indicators.ema(close, 20),
        "rsi14": indicators.rsi(close, 14),
        **dict.fromkeys(("bb_upper_20_2", "bb_upper"), bands.upper),
        **dict.fromkeys(("bb_mid_20", "bb_mid"), bands.middle),
        **dict.fromkeys(("bb_lower_20_2", "bb_lower"), bands.lower),
    }


#: The second table has ten digits of each value.
TABLES = {"indicators_daily502.csv.gz": 1e-12, "talib_binance_ETH-USDT_1d.csv.gz": 1e-9}


@pytest.mark.parametrize("file", TABLES)
def test_published_tables_are_reproduced(shared: Path, file: str):
    columns = read_table(shared / "data" / "reference" / file)
    ours = compute_published_columns(columns)
    names = columns.keys() & ours.keys()
    assert len(names) == 6
    for name in names:
        assert_allclose(ours[name], columns[name], rtol=TABLES[file], err_msg=name)


def test_recorded_atr_of_ta_lib_is_reproduced(shared: Path, recorded: Callable[[str], Candles]):
    columns = read_table(shared / "data" / "reference" / "talib_binance_ETH-USDT_1d.csv.gz")
    (path,) = (shared / "data" / "candles").glob("binance_ETH-USDT_1d_*.csv.gz")
    candles = recorded(path.name.removesuffix(".csv.gz"))
    assert_array_equal(candles.timestamp, columns["timestamp"])
    ours = indicators.atr(candles.high, candles.low, candles.close, 14)
    assert_allclose(ours, columns["atr14"], rtol=1e-9)


#: Bar and value as that project's own tests state them, to four or three digits.
STATED = {
    "rsi14": [(14, 62.0541), (249, 70.9368), (501, 42.0773)],
    "ema20": [(29, 216.6228), (249, 255.3873), (501, 249.3519)],
    "sma20": [(19, 214.525), (249, 255.550), (501, 251.860)],
    "bb_lower_20_2": [(249, 251.5358), (501, 230.0196)],
    "bb_mid_20": [(249, 255.5500), (501, 251.8600)],
    "bb_upper_20_2": [(249, 259.5642), (501, 273.7004)],
}


@pytest.mark.parametrize("name", STATED)
def test_single_published_values_are_reproduced(shared: Path, name: str):
    columns = read_table(shared / "data" / "reference" / "indicators_daily502.csv.gz")
    for bar, value in STATED[name]:
        assert compute_published_columns(columns)[name][bar] == pytest.approx(value, abs=5.1e-5)


def test_recorded_macd_of_ta_lib_is_reproduced_from_its_first_value(shared: Path):
    columns = read_table(shared / "data" / "reference" / "talib_binance_ETH-USDT_1d.csv.gz")
    ours = indicators.macd(columns["close"], 12, 26, 9)
    for name, mine in zip(("macd", "macd_signal", "macd_hist"), ours, strict=True):
        assert_allclose(mine, columns[name], rtol=1e-8, atol=1e-7, err_msg=name)


#: The first and the last value that data/README.md states of each example, how near TA-Lib comes
#: to all of them (Wilder cut his to two decimals), and how near our first is to the stated one.
RSI_STATED = [(74.36, 44.75, 0.523), (70.53278948, 37.77295211, 3e-14)]


def test_the_rsi_examples_are_reproduced_within_the_stated_tolerance(shared: Path):
    text = (shared / "data" / "reference" / "indicators_rsi_worked_examples.json").read_text()
    examples = json.loads(text)["examples"]
    assert [len(example["close"]) for example in examples] == [38, 33]
    for example, (first, last, near) in zip(examples, RSI_STATED, strict=True):
        ours = indicators.rsi(np.array(example["close"]), 14)
        known = np.array(example["rsi14"], dtype=np.float64)
        assert np.flatnonzero(~np.isnan(ours))[0] == 14
        assert np.nanmax(np.abs(ours - known)) <= near * 1.2
        assert (round(known[14], 8), round(known[-1], 8)) == (first, last)


def test_other_smoothing_than_wilders_does_not_give_wilders_values(shared: Path):
    text = (shared / "data" / "reference" / "indicators_rsi_worked_examples.json").read_text()
    (_, example) = json.loads(text)["examples"]
    change = np.diff(np.array(example["close"]))
    up, down = (indicators.ema(np.maximum(side, 0.0), 14) for side in (change, -change))
    known = np.array(example["rsi14"][1:], dtype=np.float64)
    assert np.nanmax(np.abs(100 * up / (up + down) - known)) > 1


def test_every_column_of_the_published_tables_and_every_small_case_has_a_test(shared: Path):
    folder = shared / "data" / "reference"
    plain = {"timestamp", "open", "high", "low", "close", "volume"}
    compared = compute_published_columns({"close": np.arange(50.0)}).keys() | {"atr14"}
    compared |= {"macd", "macd_signal", "macd_hist"}
    columns = {name for file in TABLES for name in read_table(folder / file)}
    assert columns - plain == compared
    cases = json.loads((folder / "indicators_tulip_small.json").read_text())["cases"]
    assert {case["indicator"] for case in cases} == {*TULIP, "ema"}
    assert {path.name for path in folder.iterdir()} == {
        *TABLES,
        *("indicators_rsi_worked_examples.json", "indicators_tulip_small.json"),
        *("backtests_long_only.json", "pnl_and_metrics_small.json"),
    }


def test_published_rsi_examples_are_reproduced(shared: Path):
    text = (shared / "data" / "reference" / "indicators_rsi_worked_examples.json").read_text()
    for example in json.loads(text)["examples"]:
        expected = np.array(example["rsi14"], dtype=np.float64)
        ours = indicators.rsi(np.array(example["close"]), 14)
        assert_allclose(ours, expected, rtol=0, atol=example["tolerance"], err_msg=example["name"])


def compute_tulip_outputs(name: str, close: FloatArray, options: list[float]) -> list[FloatArray]:
    """Return our values in the order of Tulip's outputs."""
    window = int(options[0])
    if name == "bbands":
        bands = indicators.bollinger(close, window, options[1])
        return [bands.lower, bands.middle, bands.upper]
    ours = {"stddev": "deviation"}.get(name, name)
    return [getattr(indicators, ours)(close, window)]


TULIP = ["bbands", "rsi", "sma", "stddev", "wma"]


@pytest.mark.parametrize("name", TULIP)
def test_small_published_arrays_are_reproduced(shared: Path, name: str):
    text = (shared / "data" / "reference" / "indicators_tulip_small.json").read_text()
    case = next(case for case in json.loads(text)["cases"] if case["indicator"] == name)
    close, *expected = (np.array(array) for array in case["arrays"])
    ours = compute_tulip_outputs(name, close, case["options"])
    for mine, theirs in zip(ours, expected, strict=True):
        assert_allclose(mine[-len(theirs) :], theirs, rtol=0, atol=6e-4)


def test_the_small_published_average_is_reproduced_if_it_begins_with_one_price(shared: Path):
    text = (shared / "data" / "reference" / "indicators_tulip_small.json").read_text()
    case = next(case for case in json.loads(text)["cases"] if case["indicator"] == "ema")
    close, expected = (np.array(array) for array in case["arrays"])
    window = int(case["options"][0])
    # Theirs is seeded with the first price, ours with the mean of a window, as TA-Lib's: the
    # mean of a window that holds nothing but the first price is that price.
    held = np.concatenate((np.full(window - 1, close[0]), close))
    assert_allclose(indicators.ema(held, window)[window - 1 :], expected, rtol=0, atol=6e-4)


@given(walks, st.integers(1, 300))
def test_a_rolled_value_depends_to_the_last_bit_on_its_window_only(
    of: tuple[int, int, float], window: int
):
    close = walk(of)
    for rolled in (
        indicators.sma,
        indicators.highest,
        indicators.lowest,
        indicators.deviation,
        indicators.wma,
    ):
        alone = rolled(close[-window:], window)[-1:]
        assert_array_equal(alone, rolled(close, window)[-1:], err_msg=rolled.__name__)


def test_the_deviation_of_a_constant_price_is_zero():
    assert indicators.deviation(np.full(400, 61_234.567), 20)[-1] < 1e-10


def test_rolled_values_do_not_depend_on_where_the_array_was_cut_into_chunks():
    close = walk((7, 40_000, 0.01))
    whole, late = (indicators.deviation(part, 30) for part in (close, close[12_345:]))
    assert_array_equal(whole[-20_000:], late[-20_000:])


def test_later_candles_change_no_earlier_value():
    assert_array_equal(indicators.previous(np.arange(4.0), 2), [np.nan, np.nan, 0.0, 1.0])
    with pytest.raises(ValueError, match="1 bar or more, found 0"):
        indicators.previous(np.arange(4.0), 0)


@given(walks, st.integers(1, 40))
def test_averages_of_past_candles_do_not_change_when_candles_are_added(
    of: tuple[int, int, float], window: int
):
    close = walk(of)
    half = close[: len(close) // 2]
    for average in (indicators.sma, indicators.ema, indicators.wilder):
        assert_array_equal(average(half, window), average(close, window)[: len(half)])


@given(walks)
def test_lookback_candles_give_the_last_value_to_the_last_bit(of: tuple[int, int, float]):
    close = walk(of)
    assert_array_equal(
        indicators.rsi(close[-indicators.rsi_lookback(14) :], 14)[-1:],
        indicators.rsi(close, 14)[-1:],
    )
    assert_array_equal(
        indicators.ema(close[-indicators.ema_lookback(20) :], 20)[-1:],
        indicators.ema(close, 20)[-1:],
    )


def test_sums_do_not_depend_on_where_the_array_was_cut_into_chunks():
    close = walk((7, 40_000, 0.01))
    whole = indicators.ema(close, 30)
    late = indicators.ema(close[12_345:], 30)
    assert_array_equal(whole[-20_000:], late[-20_000:])


def test_rsi_of_a_constant_price_is_undefined():
    assert np.isnan(indicators.rsi(np.full(600, 8.1e-6), 14)).all()


def test_rsi_is_100_when_the_price_only_rises():
    assert_array_equal(indicators.rsi(np.arange(1.0, 40.0), 14)[14:], 100.0)


def test_fewer_candles_than_the_window_give_no_value_and_no_error():
    close = np.array([1.0, 2.0])
    lines = [indicators.sma(close, 5), indicators.ema(close, 5), indicators.rsi(close, 5)]
    assert np.isnan([*lines, *indicators.macd(close, 5, 9, 3)]).all()


def test_a_nan_price_affects_only_the_windows_that_contain_it():
    close = np.arange(1.0, 101.0)
    close[50] = np.nan
    assert_array_equal(np.flatnonzero(np.isnan(indicators.sma(close, 10))[9:]) + 9, range(50, 60))


def test_averages_skip_values_that_are_missing_at_the_start():
    close = walk((3, 300, 0.01))
    late = np.concatenate((np.full(7, np.nan), close))
    assert_array_equal(indicators.ema(late, 10)[7:], indicators.ema(close, 10))


@pytest.mark.parametrize(
    ("differences", "crossed"),
    [
        ([-1.0, 1.0, -1.0], [0, 1, -1]),
        # The bar that leaves a touch is the cross, however long the lines were equal.
        ([1.5, 0.0, -1.5], [0, 0, -1]),
        ([1.5, 0.0, 0.0, 0.0, -1.5], [0, 0, 0, 0, -1]),
        ([-1.0, 0.0, 0.0, 2.0], [0, 0, 0, 1]),
        # One bar of memory: where the lines came from before the touch does not count.
        ([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], [0, 0, 1, 0, 0, 1]),
        ([0.0, 1.0, 1.0], [0, 1, 0]),
        ([0.0, 0.0], [0, 0]),
        # What rounding can do counts as a touch, with the noise of the bar.
        ([-1e-13, 1e-13, -1e-13], [0, 0, 0]),
        ([1.0, 1e-13, -1e-13, -1.0], [0, 0, 0, -1]),
        ([np.nan, 1.0, np.nan, -1.0, 0.0, 1.0], [0, 0, 0, 0, 0, 1]),
        ([1.0], [0]),
        ([], []),
    ],
)
def test_a_cross_is_the_bar_that_is_beyond_the_other_line_after_one_that_was_not(
    differences: list[float], crossed: list[int]
):
    first = np.array(differences)
    assert indicators.crosses(first, 0.0, 1e-12).tolist() == crossed
    noise = np.full(len(first), 1e-12)
    assert indicators.crosses(np.zeros(len(first)), first, noise).tolist() == [-x for x in crossed]


def test_crosses_are_found_at_every_edge_of_the_rows_worked_on_together():
    rng = np.random.default_rng(5)
    count = 40_000
    first = rng.integers(-1, 2, count).astype(np.float64)
    was, now = first[:-1], first[1:]
    plain = np.where((was <= 0) & (now > 0), 1, np.where((was >= 0) & (now < 0), -1, 0))
    assert_array_equal(indicators.crosses(first, 0.0, 0.0), [0, *plain])
    # One value below and one above for all bars: a single chunk must not differ from many.
    assert_array_equal(indicators.crosses(first, np.zeros(count), np.zeros(count)), [0, *plain])


@pytest.mark.parametrize(
    "average", [indicators.sma, indicators.ema, indicators.wilder, indicators.highest]
)
def test_a_window_of_no_bars_is_refused(average: Any):
    with pytest.raises(ValueError, match="1 bar or more, found 0"):
        average(np.ones(3), 0)
