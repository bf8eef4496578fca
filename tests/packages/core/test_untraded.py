"""Which candles count as untraded."""

import numpy as np

from onetape.core.candles import Candle, Candles
from onetape.core.untraded import find_untraded_rows, is_untraded


def _make_candles(*rows: tuple[float, float, float, float, float]) -> Candles:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Candles(np.arange(len(rows)) * 3600, *(column.copy() for column in columns))


def test_volume_zero_and_one_price_is_untraded() -> None:
    candles = _make_candles((100, 100, 100, 100, 0), (100, 101, 99, 100, 5))
    assert find_untraded_rows(candles).tolist() == [True, False]
    assert is_untraded(Candle(0, 100, 100, 100, 100, 0))


def test_a_moving_price_without_volume_is_traded() -> None:
    candles = _make_candles((100, 101, 99, 100, 0), (100, 101, 99, 100, 5))
    assert find_untraded_rows(candles).tolist() == [False, False]
    assert not is_untraded(Candle(0, 100, 101, 99, 100, 0))


def test_every_candle_of_a_source_without_volume_counts_as_traded() -> None:
    candles = _make_candles((100, 100, 100, 100, 0), (101, 101, 101, 101, 0))
    assert find_untraded_rows(candles).tolist() == [False, False]


def test_a_part_of_a_series_is_judged_by_whether_the_whole_series_has_volume() -> None:
    quiet, moving = (100, 100, 100, 100, 0), (100, 101, 99, 100, 0)
    assert find_untraded_rows(_make_candles(quiet, moving), has_volume=True).tolist() == [
        True,
        False,
    ]
    assert find_untraded_rows(
        _make_candles(quiet, (100, 101, 99, 100, 5)), has_volume=False
    ).tolist() == [
        False,
        False,
    ]


def test_one_price_with_volume_is_traded() -> None:
    candles = _make_candles((100, 100, 100, 100, 3), (100, 100, 100, 100, 0))
    assert find_untraded_rows(candles).tolist() == [False, True]


def test_empty_candles_have_no_untraded_rows() -> None:
    assert find_untraded_rows(_make_candles()).tolist() == []
