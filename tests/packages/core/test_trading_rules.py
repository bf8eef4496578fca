"""Rounding to steps: never above the available amount, and exact where booked."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onetape.core.trading_rules import (
    STEP_TOLERANCE,
    count_ceil_steps,
    count_floor_steps,
    format_decimal,
    multiply_step,
    round_for_booking,
    round_to_steps,
)

step_texts = ("1", "0.5", "0.1", "0.01", "0.00001", "0.00000001", "10", "0.025")
steps = st.sampled_from([Decimal(text) for text in step_texts])
counts = st.integers(0, 10**9)


@given(counts, steps)
def test_a_number_of_steps_is_recovered_from_its_float(count: int, step: Decimal) -> None:
    value = float(count * step)
    assert count_floor_steps(value / float(step)) == count_ceil_steps(value / float(step)) == count
    assert round_to_steps(value, step) == count
    assert round_for_booking(value, step) == count * step


@given(st.floats(0, 1e9), steps)
@example(615726511.8751506, Decimal("0.00001"))
def test_rounding_down_and_up_oversteps_the_value_by_float_noise_at_most(
    value: float, step: Decimal
) -> None:
    exact = Decimal(value)
    # A large number of steps misses a whole one by up to one part in 2**50 and still counts as it;
    # the division adds its own rounding.
    noise = step * Decimal(STEP_TOLERANCE) * 2 + exact * Decimal(2) ** -49
    floored = count_floor_steps(value / float(step)) * step
    assert floored <= exact + noise
    assert floored > exact - step - noise
    raised = count_ceil_steps(value / float(step)) * step
    assert raised >= exact - noise
    assert raised < exact + step + noise


@given(st.floats(0, 1e9), steps)
def test_rounding_to_the_nearest_is_off_by_half_a_step_at_most(value: float, step: Decimal) -> None:
    noise = Decimal(value) * Decimal(2) ** -51
    assert abs(round_to_steps(value, step) * step - Decimal(value)) <= step / 2 + noise


@given(st.floats(0, 1e9), steps)
def test_a_booked_value_is_an_exact_multiple_of_the_step(value: float, step: Decimal) -> None:
    assert round_for_booking(value, step) % step == 0


@given(st.floats(0, 1e15))
def test_without_a_step_a_value_is_booked_as_the_float_it_is(value: float) -> None:
    assert float(round_for_booking(value, None)) == value


def test_a_numpy_float_is_booked_like_any_other() -> None:
    assert round_for_booking(np.float64(0.1), None) == Decimal("0.1")
    assert round_for_booking(np.float64(0.1), Decimal("0.01")) == Decimal("0.10")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+3", "1000"),
        ("1E-8", "0.00000001"),
        ("0.10", "0.1"),
        ("100", "100"),
        ("0E-8", "0"),
        ("-0.50", "-0.5"),
    ],
)
def test_a_decimal_is_written_in_plain_digits(value: str, text: str) -> None:
    assert format_decimal(Decimal(value)) == text


@given(st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False))
def test_the_text_of_a_decimal_reads_back_equal(value: Decimal) -> None:
    assert Decimal(format_decimal(value)) == value


def test_a_number_of_steps_is_the_float_that_a_person_would_write() -> None:
    assert [multiply_step(283, 0.001), multiply_step(3, 0.1), multiply_step(7, 25.0)] == [
        0.283,
        0.3,
        175.0,
    ]


@given(st.integers(0, 10**9), st.integers(0, 8))
def test_a_number_of_decimal_steps_is_the_nearest_float(count: int, digits: int) -> None:
    step = Decimal(1).scaleb(-digits)
    assert multiply_step(count, float(step)) == float(count * step)
