"""A stated price step holds in the months whose candles are whole numbers of it."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.price_steps import (
    add_month_steps,
    find_finer_step,
    find_price_step,
    get_rules_at,
    make_price_step_column,
)
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules

DAY = 86_400


def second(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())


def daily(start: int, closes: list[float]) -> Candles:
    prices = np.array(closes)
    times = start + np.arange(len(prices), dtype=np.int64) * DAY
    return Candles.from_columns(times, prices, prices, prices, prices, np.ones(len(prices)))


def stated(step: str | None) -> TradingRules:
    price_step = None if step is None else Decimal(step)
    return TradingRules(price_step, Decimal("0.001"), Decimal(0), Decimal(5))


def shown(step: str, candles: Candles) -> list[tuple[int, Decimal | None]]:
    months = add_month_steps(stated(step), candles).months
    assert months is not None
    return [(month.start, month.price_step) for month in months]


def test_a_month_of_finer_prices_has_the_step_of_their_digits():
    candles = daily(second(2020, 5), [1.6183, 1.62] * 15 + [1.61] * 31)
    steps = add_month_steps(stated("0.01"), candles)
    assert steps.months is not None
    (may,) = steps.months
    assert (may.start, may.end, may.price_step) == (
        second(2020, 5),
        second(2020, 6),
        Decimal("0.0001"),
    )
    assert find_price_step(steps, second(2020, 6) - 1) == 0.0001
    assert find_price_step(steps, second(2020, 6)) == 0.01
    assert get_rules_at(steps, second(2020, 5)).price_step == Decimal("0.0001")


def test_prices_with_fewer_digits_than_the_step_by_chance_leave_it():
    assert shown("0.0001", daily(second(2024, 1), [1.5, 2.0, 3.0])) == []


def test_a_step_that_is_no_power_of_ten_holds_where_prices_are_multiples_of_it():
    assert shown("0.25", daily(second(2024, 1), [100.25, 100.5, 101.75])) == []
    assert shown("0.25", daily(second(2024, 1), [100.25, 100.3])) == [
        (second(2024, 1), Decimal("0.01"))
    ]
    assert shown("0.03", daily(second(2024, 1), [0.1, 0.4])) == [(second(2024, 1), Decimal("0.01"))]


def test_float_noise_is_no_finer_step():
    assert shown("0.1", daily(second(2024, 1), [0.1 + 0.2, 0.7 * 3, 1.1])) == []
    assert shown("0.00000001", daily(second(2024, 1), [3.1e-7, 61_240.12345678])) == []


def test_prices_below_the_stated_step_are_no_whole_number_of_it():
    assert shown("0.01", daily(second(2024, 1), [3.1e-7, 3.108e-7])) == [
        (second(2024, 1), Decimal("1E-10"))
    ]


def test_prices_that_were_computed_have_no_step():
    assert shown("0.01", daily(second(2024, 1), [100 / 3, 200 / 7])) == [(second(2024, 1), None)]


def test_each_month_in_utc_has_a_step_of_its_own():
    candles = daily(second(2023, 12), [1.123] * 31 + [1.1] * 31 + [1.12345] * 3)
    found = shown("0.1", candles)
    assert found == [(second(2023, 12), Decimal("0.001")), (second(2024, 2), Decimal("0.00001"))]
    column = make_price_step_column(add_month_steps(stated("0.1"), candles), candles.timestamp)
    assert column is not None
    assert column.tolist() == [0.001] * 31 + [0.1] * 31 + [0.00001] * 3


def test_a_market_without_a_price_step_stays_without_one():
    candles = daily(second(2024, 1), [1.123])
    assert add_month_steps(NO_TRADING_RULES, candles) is NO_TRADING_RULES
    assert make_price_step_column(NO_TRADING_RULES, candles.timestamp) is None


@pytest.mark.parametrize(
    ("step", "prices", "found"),
    [("0.01", [1.61], "0.01"), ("0.01", [1.6094], "0.0001"), ("0.01", [4e-9], "1E-9")],
)
def test_prices_at_hand_show_whether_the_stated_step_holds(
    step: str, prices: list[float], found: str
):
    assert find_finer_step(Decimal(step), np.array(prices)) == Decimal(found)


@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=100),
    st.integers(0, 12),
    st.sampled_from(["100", "1", "0.5", "0.05", "0.01", "0.0003", "0.00001"]),
)
def test_every_price_is_a_whole_number_of_the_step_of_its_month(
    counts: list[int], places: int, step: str
):
    candles = daily(second(2024, 1), [float(f"{count}e-{places}") for count in counts])
    steps = add_month_steps(stated(step), candles)
    for count, timestamp in zip(counts, candles.timestamp.tolist(), strict=True):
        held = get_rules_at(steps, timestamp).price_step
        assert held is not None
        assert held <= Decimal(step)
        assert Decimal(count).scaleb(-places) % held == 0
