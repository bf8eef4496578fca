"""Decimals of prices: float noise is no digit, and small prices are not zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.digits import decimals_of


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([61_240.0, 61_241.0], 0),
        ([61_240.12, 61_240.5], 2),
        ([1.6183, 1.62], 4),
        ([3.1e-7, 3.108e-7], 10),
        ([1e-8], 8),
        ([4.2e-9, 1e-8], 10),
        ([1.5e-12], 13),
        ([100.0, 0.00012027], 8),
        ([0.1 + 0.2, 1.1 * 1.1], 2),
        ([1e14], 0),
        ([], 0),
        ([100 / 3], None),
        ([1.23456789012345], None),
    ],
)
def test_decimals_are_those_that_the_values_were_written_with(
    values: list[float], decimals: int | None
):
    assert decimals_of(np.array(values)) == decimals


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50), st.integers(0, 14))
def test_decimal_texts_give_back_their_decimals(counts: list[int], places: int):
    values = np.array([float(f"{count}e-{places}") for count in counts])
    written = max(places - min(len(str(one)) - len(str(one).rstrip("0")) for one in counts), 0)
    assert decimals_of(values) == written


def test_one_finer_price_late_in_a_long_column_counts():
    values = np.full(5_000, 1.25)
    values[4_999] = 1.2512
    assert decimals_of(values) == 4
