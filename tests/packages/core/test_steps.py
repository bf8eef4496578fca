"""Steps and rounding: never more than there is, and exact where it is booked."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onetape.core.steps import (
    STEP_TOLERANCE,
    booked,
    ceil_count,
    decimal_text,
    floor_count,
    multiple,
    nearest_steps,
)

step_texts = ("1", "0.5", "0.1", "0.01", "0.00001", "0.00000001", "10", "0.025")
steps = st.sampled_from([Decimal(text) for text in step_texts])
counts = st.integers(0, 10**9)


@given(counts, steps)
def test_a_whole_number_of_steps_survives_its_float(count: int, step: Decimal) -> None:
    value = float(count * step)
    assert floor_count(value / float(step)) == ceil_count(value / float(step)) == count
    assert nearest_steps(value, step) == count
    assert booked(value, step) == count * step


@given(st.floats(0, 1e9), steps)
@example(615726511.8751506, Decimal("0.00001"))
def test_rounding_down_and_up_passes_the_value_by_no_more_than_noise(
    value: float, step: Decimal
) -> None:
    exact = Decimal(value)
    # A large number of steps misses a whole one by up to one part in 2**50 and still counts as it;
    # the division adds its own rounding.
    noise = step * Decimal(STEP_TOLERANCE) * 2 + exact * Decimal(2) ** -49
    floored = floor_count(value / float(step)) * step
    assert floored <= exact + noise
    assert floored > exact - step - noise
    raised = ceil_count(value / float(step)) * step
    assert raised >= exact - noise
    assert raised < exact + step + noise


@given(st.floats(0, 1e9), steps)
def test_rounding_to_the_nearest_is_off_by_half_a_step_at_most(value: float, step: Decimal) -> None:
    noise = Decimal(value) * Decimal(2) ** -51
    assert abs(nearest_steps(value, step) * step - Decimal(value)) <= step / 2 + noise


@given(st.floats(0, 1e9), steps)
def test_what_is_booked_is_an_exact_multiple_of_the_step(value: float, step: Decimal) -> None:
    assert booked(value, step) % step == 0


@given(st.floats(0, 1e15))
def test_without_a_step_a_value_is_booked_as_the_float_it_is(value: float) -> None:
    assert float(booked(value, None)) == value


def test_a_numpy_float_is_booked_like_any_other() -> None:
    assert booked(np.float64(0.1), None) == Decimal("0.1")
    assert booked(np.float64(0.1), Decimal("0.01")) == Decimal("0.10")


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
    assert decimal_text(Decimal(value)) == text


@given(st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False))
def test_the_text_of_a_decimal_reads_back_equal(value: Decimal) -> None:
    assert Decimal(decimal_text(value)) == value


def test_a_number_of_steps_is_the_float_that_a_person_would_write() -> None:
    assert [multiple(283, 0.001), multiple(3, 0.1), multiple(7, 25.0)] == [0.283, 0.3, 175.0]


@given(st.integers(0, 10**9), st.integers(0, 8))
def test_a_number_of_decimal_steps_is_the_nearest_float(count: int, digits: int) -> None:
    step = Decimal(1).scaleb(-digits)
    assert multiple(count, float(step)) == float(count * step)
