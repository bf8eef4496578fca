"""Candles that differ from the stored ones are counted; times of only one side are not."""

import numpy as np
import pytest

from backfiller.candle_comparison import count_different_candles
from onetape.core.candles import Candles


def make_candles(*rows: tuple[int, float]) -> Candles:
    """Return candles of these opens and closes."""
    times = np.array([time for time, _ in rows], dtype=np.int64)
    closes = np.array([close for _, close in rows])
    ones = np.ones(len(rows))
    return Candles.from_columns(times, ones, ones * 9, ones, closes, ones)


@pytest.mark.parametrize(
    ("stored", "count"),
    [
        (make_candles((60, 2.0), (120, 3.0), (180, 4.0)), 0),
        (make_candles((60, 2.0), (120, 3.5), (180, 5.0)), 2),
        (make_candles((120, 3.0), (240, 8.0)), 0),
        (make_candles(), 0),
    ],
)
def test_candles_of_the_same_time_with_other_values_are_counted(
    stored: Candles, count: int
) -> None:
    candles = make_candles((60, 2.0), (120, 3.0), (180, 4.0))
    assert count_different_candles(candles, stored) == count
