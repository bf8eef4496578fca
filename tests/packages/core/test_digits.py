"""Numbers of decimals of prices, amounts and money, free of float noise."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.digits import (
    Digits,
    choose_money_decimals,
    count_decimals,
    count_step_decimals,
    format_exact,
    format_number,
)
from onetape.core.market_digits import choose_market_digits, choose_market_price_decimals
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules


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
def test_the_number_of_decimals_is_that_of_the_written_values(
    values: list[float], decimals: int | None
):
    assert count_decimals(np.array(values)) == decimals


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50), st.integers(0, 14))
def test_decimal_texts_have_their_written_number_of_decimals(counts: list[int], places: int):
    values = np.array([float(f"{count}e-{places}") for count in counts])
    written = max(places - min(len(str(one)) - len(str(one).rstrip("0")) for one in counts), 0)
    assert count_decimals(values) == written


def test_one_price_with_more_decimals_late_in_a_long_column_counts():
    values = np.full(5_000, 1.25)
    values[4_999] = 1.2512
    assert count_decimals(values) == 4


@pytest.mark.parametrize(
    ("currency", "cash", "decimals"),
    [
        ("USDT", 10_000.0, 2),
        ("USDT", 100.0, 2),
        ("FDUSD", 5.0, 4),
        ("EUR", 1_000_000.0, 2),
        ("TRY", 1_000.0, 2),
        ("BTC", 0.5, 8),
        ("BTC", 10_000.0, 8),
        ("ETH", 3.0, 8),
        ("BTC", 0.000_01, 9),
    ],
)
def test_money_has_the_decimals_that_matter_in_its_currency(
    currency: str, cash: float, decimals: int
):
    assert choose_money_decimals(currency, cash) == decimals


@pytest.mark.parametrize(
    ("step", "decimals"), [("0.01", 2), ("0.010", 2), ("0.25", 2), ("5", 0), ("10", 0), ("1E-8", 8)]
)
def test_prices_have_the_decimals_of_the_price_step(step: str, decimals: int):
    assert count_step_decimals(Decimal(step)) == decimals


def make_flat_candles(*prices: float) -> Candles:
    column = np.array(prices)
    times = np.arange(len(prices), dtype=np.int64) * 3_600
    return Candles.from_columns(times, column, column, column, column, column)


@pytest.mark.parametrize(
    ("step", "prices", "decimals"),
    [
        ("0.0001", (1.08, 1.09), 4),
        ("0.01", (1.6094, 1.61), 4),
        (None, (1.0801, 1.08), 4),
        (None, (3.1e-7, 3.108e-7), 10),
        (None, (4e-9,), 9),
        (None, (100.0, 103.0, 96.5), 2),
        (None, (61_240.0,), 0),
        ("0.1", (100.0, 103.0, 96.5), 1),
        (None, (100 / 3,), 6),
        ("0.01", (100 / 3,), 6),
    ],
)
def test_prices_have_the_decimals_of_the_step_or_else_of_the_candles(
    step: str | None, prices: tuple[float, ...], decimals: int
):
    steps = TradingRules(None if step is None else Decimal(step), None, Decimal(0), Decimal(0))
    assert choose_market_price_decimals(steps, make_flat_candles(*prices)) == decimals


def test_amounts_have_the_decimals_of_the_step_or_else_ten_significant_digits():
    steps = TradingRules(None, Decimal("0.001"), Decimal(0), Decimal(0))
    assert choose_market_digits(steps, make_flat_candles(1.0801), "USDT", 10_000.0).amount == 3
    ideal = [
        choose_market_digits(NO_TRADING_RULES, make_flat_candles(price), "USDT", 1e4)
        for price in (1.08, 3e-7, 6e4)
    ]
    assert [one.amount for one in ideal] == [6, 0, 8]


def test_texts_have_the_decimals_of_their_market():
    digits = Digits(price=4, money=8, amount=3)
    assert digits.format_price(1_234.5) == "1,234.5000"
    assert digits.format_money(0.00012, signed=True) == "+0.00012000"
    assert digits.format_amount(4_488.7) == "4,488.700"


def test_money_that_rounds_to_zero_has_no_sign():
    assert Digits(price=2).format_money(-0.001) == "0.00"
    assert Digits(price=2).format_money(-0.001, signed=True) == "0.00"


def test_a_tiny_amount_is_not_written_as_zero():
    assert Digits(price=2, amount=6).format_amount(1e-9) == "0.000000001000"
    assert Digits(price=2, amount=6).format_amount(0.0) == "0.000000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.1e-7, "0.00000031"),
        (1e9, "1000000000"),
        (0.1 + 0.2, "0.3"),
        (-12.5, "-12.5"),
        (0.0, "0"),
        (float("nan"), "nan"),
    ],
)
def test_no_number_is_written_with_an_exponent(value: float, text: str):
    assert format_number(value) == text


@given(st.floats(1e-12, 1e12))
def test_an_exact_text_reads_back_as_the_same_number_and_has_no_exponent(value: float):
    assert float(format_exact(value)) == value
    assert "e" not in format_exact(value).lower()
