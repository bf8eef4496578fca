"""Random numbers are exact: equal hashes, numbers and powers on every machine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.simulator.market.price_path import MINUTES, PricePath, make_paths
from onetape.simulator.market.prng import (
    compute_exponential,
    draw_normal,
    draw_uniform,
    hash_indices,
    make_key,
    mix_bits,
)


def make_path(key: int, first: int, last: int) -> PricePath:
    return make_paths((key,), first, last)[0]


def test_paths_read_together_equal_those_read_singly() -> None:
    keys = (1, 2**63 + 5, 77)
    for key, found in zip(keys, make_paths(keys, 7_000_000, 7_000_900), strict=True):
        alone = make_path(key, 7_000_000, 7_000_900)
        for column in ("level", "variance", "swing"):
            assert np.array_equal(getattr(found, column), getattr(alone, column))


def test_hashes_equal_those_of_splitmix64() -> None:
    # The first outputs of the published generator, seeded with 0: state 1 and 2 times the constant.
    state = np.array([0x9E3779B97F4A7C15, 0x3C6EF372FE94F82A], dtype=np.uint64)
    assert [hex(value) for value in mix_bits(state).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
    ]


@given(st.floats(-600, 600))
def test_the_exponential_is_exact_to_the_last_digits(value: float) -> None:
    ours = float(compute_exponential(np.array([value]))[0])
    assert ours == pytest.approx(math.exp(value), rel=1e-15)


def test_uniform_and_normal_numbers_have_the_expected_moments() -> None:
    value = hash_indices(make_key("moments"), np.arange(200_000))
    assert draw_uniform(value).mean() == pytest.approx(0.5, abs=0.005)
    assert draw_normal(value).mean() == pytest.approx(0.0, abs=0.01)
    assert draw_normal(value).std() == pytest.approx(1.0, abs=0.01)


def test_keys_of_different_parts_differ() -> None:
    assert make_key("a", "bc") != make_key("ab", "c")


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 5), (9, 5), (0, MINUTES + 1)])
def test_a_path_outside_its_years_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="not within"):
        make_path(1, first, last)


def test_time_of_the_market_never_stands_still() -> None:
    assert np.all(np.diff(make_path(3, 7_000_000, 7_010_000).variance) > 0)
