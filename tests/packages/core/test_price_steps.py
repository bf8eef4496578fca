"""A stated price step is used in months whose candles are multiples of it."""

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


def make_month_start(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())


def make_daily_candles(start: int, closes: list[float]) -> Candles:
    prices = np.array(closes)
    times = start + np.arange(len(prices), dtype=np.int64) * DAY
    return Candles.from_columns(times, prices, prices, prices, prices, np.ones(len(prices)))


def make_rules(step: str | None) -> TradingRules:
    price_step = None if step is None else Decimal(step)
    return TradingRules(price_step, Decimal("0.001"), Decimal(0), Decimal(5))


def list_month_steps(step: str, candles: Candles) -> list[tuple[int, Decimal | None]]:
    months = add_month_steps(make_rules(step), candles).months
    assert months is not None
    return [(month.start, month.price_step) for month in months]


def test_a_month_of_prices_with_more_digits_has_the_step_of_these_digits():
    candles = make_daily_candles(make_month_start(2020, 5), [1.6183, 1.62] * 15 + [1.61] * 31)
    steps = add_month_steps(make_rules("0.01"), candles)
    assert steps.months is not None
    (may,) = steps.months
    assert (may.start, may.end, may.price_step) == (
        make_month_start(2020, 5),
        make_month_start(2020, 6),
        Decimal("0.0001"),
    )
    assert find_price_step(steps, make_month_start(2020, 6) - 1) == 0.0001
    assert find_price_step(steps, make_month_start(2020, 6)) == 0.01
    assert get_rules_at(steps, make_month_start(2020, 5)).price_step == Decimal("0.0001")


def test_prices_that_happen_to_have_fewer_digits_do_not_change_the_step():
    assert (
        list_month_steps("0.0001", make_daily_candles(make_month_start(2024, 1), [1.5, 2.0, 3.0]))
        == []
    )


def test_a_step_that_is_not_a_power_of_ten_holds_if_prices_are_multiples_of_it():
    assert (
        list_month_steps(
            "0.25", make_daily_candles(make_month_start(2024, 1), [100.25, 100.5, 101.75])
        )
        == []
    )
    assert list_month_steps(
        "0.25", make_daily_candles(make_month_start(2024, 1), [100.25, 100.3])
    ) == [(make_month_start(2024, 1), Decimal("0.01"))]
    assert list_month_steps("0.03", make_daily_candles(make_month_start(2024, 1), [0.1, 0.4])) == [
        (make_month_start(2024, 1), Decimal("0.01"))
    ]


def test_float_noise_does_not_make_the_step_smaller():
    assert (
        list_month_steps(
            "0.1", make_daily_candles(make_month_start(2024, 1), [0.1 + 0.2, 0.7 * 3, 1.1])
        )
        == []
    )
    assert (
        list_month_steps(
            "0.00000001", make_daily_candles(make_month_start(2024, 1), [3.1e-7, 61_240.12345678])
        )
        == []
    )


def test_prices_below_the_stated_step_get_a_smaller_step():
    assert list_month_steps(
        "0.01", make_daily_candles(make_month_start(2024, 1), [3.1e-7, 3.108e-7])
    ) == [(make_month_start(2024, 1), Decimal("1E-10"))]


def test_prices_that_were_computed_have_no_step():
    assert list_month_steps(
        "0.01", make_daily_candles(make_month_start(2024, 1), [100 / 3, 200 / 7])
    ) == [(make_month_start(2024, 1), None)]


def test_each_month_in_utc_has_its_own_step():
    candles = make_daily_candles(
        make_month_start(2023, 12), [1.123] * 31 + [1.1] * 31 + [1.12345] * 3
    )
    found = list_month_steps("0.1", candles)
    assert found == [
        (make_month_start(2023, 12), Decimal("0.001")),
        (make_month_start(2024, 2), Decimal("0.00001")),
    ]
    column = make_price_step_column(add_month_steps(make_rules("0.1"), candles), candles.timestamp)
    assert column is not None
    assert column.tolist() == [0.001] * 31 + [0.1] * 31 + [0.00001] * 3


def test_a_market_without_a_price_step_gets_none():
    candles = make_daily_candles(make_month_start(2024, 1), [1.123])
    assert add_month_steps(NO_TRADING_RULES, candles) is NO_TRADING_RULES
    assert make_price_step_column(NO_TRADING_RULES, candles.timestamp) is None


@pytest.mark.parametrize(
    ("step", "prices", "found"),
    [("0.01", [1.61], "0.01"), ("0.01", [1.6094], "0.0001"), ("0.01", [4e-9], "1E-9")],
)
def test_known_prices_show_whether_the_stated_step_holds(
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
    candles = make_daily_candles(
        make_month_start(2024, 1), [float(f"{count}e-{places}") for count in counts]
    )
    steps = add_month_steps(make_rules(step), candles)
    for count, timestamp in zip(counts, candles.timestamp.tolist(), strict=True):
        held = get_rules_at(steps, timestamp).price_step
        assert held is not None
        assert held <= Decimal(step)
        assert Decimal(count).scaleb(-places) % held == 0
