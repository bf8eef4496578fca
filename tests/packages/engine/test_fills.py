"""The fill model: prices and amounts on the steps of the market, money that adds up."""

from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onetape.core.errors import UsageError
from onetape.core.trading_rules import TradingRules
from onetape.engine import (
    AccountConfig,
    RefusedOrder,
    make_booked_fill,
    simulate_buy,
    simulate_sell,
)
from onetape.engine.fills import ModelFill
from repeatable import count_examples

BTC = TradingRules(Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), Decimal(5))
EXACT = Context(prec=80)


@st.composite
def draw_rules(draw: st.DrawFn) -> AccountConfig:
    """Return any rules, markets without trading rules included."""
    step = st.sampled_from([None, *(Decimal(1).scaleb(-digits) for digits in range(9))])
    steps = TradingRules(
        draw(step),
        draw(step),
        draw(st.sampled_from([Decimal(0), Decimal("0.001")])),
        draw(st.sampled_from([Decimal(0), Decimal(5)])),
    )
    return AccountConfig(
        cash=draw(st.floats(1, 1e7)),
        fee_rate=draw(st.sampled_from([0.0, 0.001, 0.00075, 0.01])),
        fee_currency=draw(st.sampled_from(["quote", "base"])),
        slippage_bps=draw(st.sampled_from([0.0, 1.0, 12.5])),
        trading_rules=steps,
    )


prices = st.floats(0.01, 200_000)


def require_fill(fill: ModelFill | RefusedOrder) -> ModelFill:
    assert isinstance(fill, ModelFill), fill
    return fill


def test_a_buy_with_all_cash_pays_its_fee_out_of_it():
    fill = require_fill(simulate_buy(AccountConfig(cash=1001.0), 1001.0, 10.0))
    assert (fill.amount, fill.cash_change) == (pytest.approx(100.0), -1001.0)
    assert (fill.fee, fill.fee_in) == (pytest.approx(1.0), "quote")


def test_a_fee_in_the_received_coin_is_deducted_from_the_coins_bought():
    fill = require_fill(simulate_buy(AccountConfig(fee_currency="base"), 1000.0, 10.0))
    assert (fill.amount, fill.fee, fill.fee_in) == (100.0, pytest.approx(0.1), "base")
    assert fill.base_change == pytest.approx(99.9)
    assert fill.fee_quote == pytest.approx(1.0)


def test_a_fixed_order_value_is_spent_fee_included():
    rules = AccountConfig(sizing="quote_amount", quote_amount=50.05)
    fill = require_fill(simulate_buy(rules, 10_000.0, 10.0))
    assert (fill.amount, fill.cash_change) == (pytest.approx(5.0), pytest.approx(-50.05))


def test_slippage_and_price_rounding_are_both_against_the_trader():
    rules = AccountConfig(
        slippage_bps=10, trading_rules=TradingRules(Decimal(1), None, Decimal(0), Decimal(0))
    )
    assert require_fill(simulate_buy(rules, 1e6, 1234.0)).price == 1236.0
    assert require_fill(simulate_sell(rules, 1.0, 1234.0)).price == 1232.0


def test_an_open_on_the_price_step_is_filled_at_exactly_the_open():
    rules = AccountConfig(trading_rules=BTC)
    assert require_fill(simulate_buy(rules, 1e4, 61_240.07)).price == pytest.approx(
        61_240.07, rel=1e-15
    )


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (
            simulate_buy(AccountConfig(trading_rules=BTC), 4.0, 60_000.0),
            "buy value 3.6 is below the market's minimum",
        ),
        (
            simulate_buy(AccountConfig(trading_rules=BTC), 0.1, 60_000.0),
            "buy of 0 is below the market's minimum amount",
        ),
        (
            simulate_sell(AccountConfig(trading_rules=BTC), 0.000009, 60_000.0),
            "sell of 0 is below the market's minimum",
        ),
        (
            simulate_sell(AccountConfig(trading_rules=BTC), 0.00005, 60_000.0),
            "sell value 3 is below the market's",
        ),
        (
            simulate_buy(AccountConfig(sizing="quote_amount", quote_amount=100.0), 40.0, 10.0),
            "cash 40 is less than the order of 100",
        ),
    ],
)
def test_an_order_that_the_market_would_refuse_is_not_filled_and_has_the_reason(
    order: ModelFill | RefusedOrder, text: str
):
    assert isinstance(order, RefusedOrder)
    assert text in order.reason


def test_an_order_of_exactly_the_minimum_value_is_accepted_despite_float_rounding():
    # What is left of many buys and sells of 1.25 coins: times 4 it is 4.99999999999999.
    fill = require_fill(simulate_sell(AccountConfig(trading_rules=BTC), 1.2499999999999978, 4.0))
    assert make_booked_fill(fill, AccountConfig(trading_rules=BTC)).amount == Decimal("1.25")
    least = AccountConfig(trading_rules=TradingRules(None, None, Decimal(3), Decimal(0)))
    assert require_fill(simulate_sell(least, 0.1 * 3 * 10 - 2e-15, 1.0)).price == 1.0


def test_coins_below_the_amount_step_stay_as_dust_when_the_rest_is_sold():
    fill = require_fill(simulate_sell(AccountConfig(trading_rules=BTC), 0.123456789, 60_000.0))
    assert fill.amount == pytest.approx(0.12345, rel=1e-15)


@given(draw_rules(), prices)
def test_no_order_spends_more_than_the_cash_or_sells_more_than_the_coins(
    rules: AccountConfig, price: float
):
    buy = simulate_buy(rules, rules.cash, price)
    assume(isinstance(buy, ModelFill))
    bought = require_fill(buy)
    assert 0 <= rules.cash + bought.cash_change < rules.cash
    sell = simulate_sell(rules, bought.base_change, price)
    assert isinstance(sell, RefusedOrder) or 0 < -sell.base_change <= bought.base_change


@given(draw_rules(), prices)
def test_cash_coins_and_fee_of_a_fill_add_up_at_its_price(rules: AccountConfig, price: float):
    buy = simulate_buy(rules, rules.cash, price)
    assume(isinstance(buy, ModelFill))
    bought = require_fill(buy)
    sell = simulate_sell(rules, bought.base_change, price)
    for fill in (bought, sell):
        if isinstance(fill, ModelFill):
            total = fill.cash_change + fill.base_change * fill.price + fill.fee_quote
            assert total == pytest.approx(0.0, abs=1e-9 * rules.cash)


@given(draw_rules(), prices)
def test_a_fill_is_never_better_than_the_open(rules: AccountConfig, price: float):
    noise = price * 1e-6 + float(rules.trading_rules.price_step or 0) * 1e-6
    buy, sell = simulate_buy(rules, rules.cash, price), simulate_sell(rules, 1e6, price)
    assert isinstance(buy, RefusedOrder) or buy.price >= price - noise
    assert isinstance(sell, RefusedOrder) or sell.price <= price + noise


@given(draw_rules(), prices)
def test_buying_and_selling_at_one_price_never_makes_money(rules: AccountConfig, price: float):
    buy = simulate_buy(rules, rules.cash, price)
    assume(isinstance(buy, ModelFill))
    sell = simulate_sell(rules, require_fill(buy).base_change, price)
    assume(isinstance(sell, ModelFill))
    gain = require_fill(buy).cash_change + require_fill(sell).cash_change
    assert (
        gain <= rules.cash * 1e-6 * (rules.trading_rules.price_step is not None) + 1e-9 * rules.cash
    )


@settings(max_examples=count_examples(300))
@given(draw_rules(), st.lists(st.floats(0.95, 1.06), min_size=2, max_size=20))
def test_booked_decimals_add_up_to_the_cash_in_floats(rules: AccountConfig, moves: list[float]):
    cash, base, price = rules.cash, 0.0, 1_000.0
    exact_cash, exact_base = Decimal(repr(cash)), Decimal(0)
    for number, move in enumerate(moves):
        price = round(price * move, 2)
        is_buy = number % 2 == 0
        fill = simulate_buy(rules, cash, price) if is_buy else simulate_sell(rules, base, price)
        if isinstance(fill, RefusedOrder):
            break
        cash, base = cash + fill.cash_change, base + fill.base_change
        booked = make_booked_fill(fill, rules)
        value = EXACT.multiply(booked.price, booked.amount)
        sign = 1 if is_buy else -1
        exact_cash = EXACT.subtract(exact_cash, sign * value)
        exact_base = EXACT.add(exact_base, sign * booked.amount)
        if booked.fee_in == "quote":
            exact_cash = EXACT.subtract(exact_cash, booked.fee)
        else:
            exact_base = EXACT.subtract(exact_base, booked.fee)
    assert cash == pytest.approx(float(exact_cash), abs=1e-9 * rules.cash)
    assert base == pytest.approx(float(exact_base), abs=1e-9 * rules.cash / 1_000.0)


@given(st.integers(1_00, 100_000_00), st.integers(10_00, 200_000_00))
def test_amounts_in_steps_equal_a_decimal_recomputation(cents: int, price_cents: int):
    rules = AccountConfig(
        trading_rules=TradingRules(BTC.price_step, BTC.amount_step, Decimal(0), Decimal(0))
    )
    fill = simulate_buy(rules, cents / 100, price_cents / 100)
    price, cash = Decimal(price_cents) / 100, Decimal(cents) / 100
    most = EXACT.divide(cash, price * Decimal("1.001"))
    expected = most.quantize(Decimal("0.00001"), rounding=ROUND_FLOOR)
    if isinstance(fill, RefusedOrder):
        assert expected == 0
    else:
        booked = make_booked_fill(fill, rules)
        assert (booked.price, booked.amount) == (price, expected)
        assert booked.fee == price * expected * Decimal("0.001")


@pytest.mark.parametrize(
    ("given_rules", "text"),
    [
        ({"cash": 0.0}, "cash must be above 0, found 0.0"),
        ({"cash": float("nan")}, "cash must be above 0, found nan"),
        ({"cash": float("inf")}, "cash must be above 0"),
        ({"fee_rate": 1.0}, "fee_rate must be 0 or more and under 1, found 1.0"),
        ({"fee_rate": -0.001}, "fee_rate must be 0 or more"),
        ({"slippage_bps": -1.0}, "slippage_bps must be 0 or more"),
        ({"cooldown_bars": 2**64}, "cooldown_bars must be at most 1,000,000,000, found"),
        ({"volatility_bars": 2**64}, "volatility_bars must be at most 1,000,000,000, found"),
        ({"fee_currency": "qoute"}, "one of quote, base, found 'qoute'; did you mean"),
        ({"sizing": "all-in"}, "volatility_target, found 'all-in'; did you mean 'all_in'?"),
        ({"sizing": "quote_amount"}, "sizing quote_amount needs a number above 0"),
        ({"quote_amount": 5.0}, "quote_amount must be left out with sizing all_in"),
    ],
)
def test_invalid_rules_are_refused(given_rules: dict[str, Any], text: str):
    with pytest.raises(UsageError) as caught:
        AccountConfig(**given_rules)
    assert text in str(caught.value)
