"""Candles: which rows may be stored, and the columns that strategies read."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candle, Candles, find_candle_fault, find_candle_faults
from onetape.core.timeframes import Timeframe

HOUR = Timeframe.parse("1h")
SOUND = Candle(1_704_067_200, 100.0, 110.0, 90.0, 105.0, 12.5)
PRICES = ("open", "high", "low", "close")


def test_a_sound_candle_has_no_fault() -> None:
    assert find_candle_fault(SOUND, HOUR) is None


def test_a_flat_candle_without_volume_is_sound() -> None:
    assert find_candle_fault(Candle(0, 1e-8, 1e-8, 1e-8, 1e-8, 0.0), HOUR) is None


@pytest.mark.parametrize("field", [*PRICES, "volume"])
@pytest.mark.parametrize("value", [nan, inf, -inf, -1.0, 1e300])
def test_an_impossible_value_is_a_fault(field: str, value: float) -> None:
    assert find_candle_fault(SOUND._replace(**{field: value}), HOUR) is not None


@pytest.mark.parametrize("field", PRICES)
def test_a_price_of_zero_is_a_fault(field: str) -> None:
    assert find_candle_fault(SOUND._replace(**{field: 0.0}), HOUR) is not None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (SOUND._replace(timestamp=SOUND.timestamp * 1_000), "time out of range"),
        (SOUND._replace(timestamp=-1), "time out of range"),
        (SOUND._replace(timestamp=2**50), "time out of range"),
        (SOUND._replace(timestamp=SOUND.timestamp + 60), "not the open of a 1h candle"),
        (SOUND._replace(high=89.0), "high or low"),
        (SOUND._replace(high=104.0), "high or low"),
        (SOUND._replace(low=101.0), "high or low"),
    ],
)
def test_the_fault_is_named(row: Candle, words: str) -> None:
    assert words in (find_candle_fault(row, HOUR) or "")


@given(
    st.integers(-(2**60), 2**60),
    st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 5),
    st.sampled_from(["1m", "1h", "1d", "1w", "1M"]),
)
def test_any_row_is_either_sound_or_has_a_fault_text(
    timestamp: int, values: tuple[float, ...], name: str
) -> None:
    fault = find_candle_fault(Candle(timestamp, *values), Timeframe.parse(name))
    assert fault is None or fault


edges = st.sampled_from(
    [nan, inf, -inf, -1.0, 0.0, -0.0, 1e-8, 90.0, 100.0, 110.0, 9.99e14, 1e15, 9.99e17, 1e18]
)
times = st.integers(-(2**62), 2**62) | st.sampled_from(
    [-1, 0, 3_600, 86_400, 345_600, 2_678_400, 7_776_000, 32_503_680_000, 32_503_680_001]
)


@given(
    st.lists(st.builds(Candle, times, *[edges | st.floats()] * 5), max_size=12),
    st.sampled_from(["1s", "1m", "1h", "3d", "1w", "2w", "1M", "3M", "5M"]),
)
def test_columns_are_checked_by_the_rule_for_one_candle(rows: list[Candle], name: str) -> None:
    timeframe = Timeframe.parse(name)
    by_column = list(zip(*rows, strict=True)) or [()] * 6
    candles = Candles(
        np.array(by_column[0], dtype=np.int64),
        *(np.array(column, dtype=np.float64) for column in by_column[1:]),
    )
    one_by_one = {number: find_candle_fault(row, timeframe) for number, row in enumerate(rows)}
    expected = {number: fault for number, fault in one_by_one.items() if fault is not None}
    assert find_candle_faults(candles, timeframe) == expected


def make_columns(*timestamps: int) -> Candles:
    values = np.array([float(timestamp) for timestamp in timestamps])
    return Candles(np.array(timestamps, dtype=np.int64), *[values] * 5)


def test_columns_of_different_lengths_are_refused() -> None:
    short, long = np.ones(1), np.ones(2)
    with pytest.raises(ValueError, match=r"one length, found \[1, 2\]"):
        Candles.from_columns(np.array([0]), short, short, short, short, long)


def test_joined_candles_follow_each_other() -> None:
    joined = make_columns(1, 2).concat(make_columns(3))
    assert joined.timestamp.tolist() == [1, 2, 3]
    assert joined.volume.tolist() == [1.0, 2.0, 3.0]


def test_empty_candles_joined_with_others_give_the_others() -> None:
    assert Candles.make_empty().concat(make_columns(3)).timestamp.tolist() == [3]
    assert make_columns(3).concat(Candles.make_empty()).timestamp.tolist() == [3]
    assert len(Candles.make_empty()) == 0


def test_a_slice_cuts_all_columns_alike() -> None:
    part = make_columns(1, 2, 3, 4)[1:3]
    assert part.timestamp.tolist() == [2, 3]
    assert part.close.tolist() == [2.0, 3.0]


def test_candles_are_selected_by_index_in_any_order() -> None:
    part = make_columns(1, 2, 3, 4).take(np.array([3, 0]))
    assert part.timestamp.tolist() == [4, 1]
    assert part.volume.tolist() == [4.0, 1.0]


def test_the_frame_is_indexed_by_utc_opens() -> None:
    frame = make_columns(1_704_067_200).frame()
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert str(frame.index[0]) == "2024-01-01 00:00:00+00:00"
