"""The first stop of an entry: a risk per trade is exact, and no position is unsellable."""

from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.core.trading_rules import TradingRules
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    OrderContext,
    RefusedOrder,
    compute_levels,
    simulate_buy,
    simulate_sell,
)
from onetape.engine.fills import ModelFill
from plain_engine import STEPS, draw_exit_rules
from repeatable import count_examples


@pytest.mark.parametrize("coin", ["quote", "base"])
def test_a_risk_per_trade_is_the_loss_at_the_first_stop(coin: Literal["quote", "base"]):
    rules = AccountConfig(
        fee_rate=0.001, fee_currency=coin, slippage_bps=10, sizing="risk_per_trade",
        risk_per_trade=0.01, exits=ExitConfig(stop_loss=0.05),
    )  # fmt: skip
    bought = simulate_buy(rules, 1_000.0, 10.0)
    assert isinstance(bought, ModelFill), bought
    sold = simulate_sell(rules, bought.base_change, 9.5)
    assert isinstance(sold, ModelFill), sold
    assert bought.cash_change + sold.cash_change == pytest.approx(-10.0)


#: A market that takes no order of a value below 10, or of less than 2 coins.
LEAST = TradingRules(None, Decimal(1), Decimal(2), Decimal(10))


@pytest.mark.parametrize(
    ("given_rules", "text"),
    [
        (
            {"exits": ExitConfig(stop_loss=0.05)},
            "buy of value 10 could not be sold at its stop, where the sell value 9.5 is below the "
            "market's minimum value 10",
        ),
        (
            {"exits": ExitConfig(trailing_stop=0.2), "slippage_bps": 100},
            "could not be sold at its stop, where the sell value 7.92 is below the market's",
        ),
        ({"fee_currency": "base", "fee_rate": 0.9}, "would leave 1 after its fee, below the"),
    ],
)
def test_an_entry_that_could_not_be_sold_again_is_refused(given_rules: dict[str, Any], text: str):
    merged: dict[str, Any] = {"cash": 10.2, "fee_rate": 0.0, "trading_rules": LEAST}
    rules = AccountConfig(**(merged | given_rules))
    refused = simulate_buy(rules, 10.2, 1.0)
    assert isinstance(refused, RefusedOrder)
    assert text in refused.reason


@settings(max_examples=count_examples(300))
@given(
    st.floats(4.9, 6.0),
    st.integers(100, 300_000),
    st.sampled_from(["quote", "base"]),
    st.sampled_from([0.0, 0.001, 0.01]),
    st.sampled_from([0.0, 30.0]),
    st.sampled_from([0.0, 0.1]),
    draw_exit_rules().filter(lambda exits: exits.first_stop is not None),
)
def test_the_coins_of_any_entry_can_be_sold_at_its_first_stop(
    cash: float,
    cents: int,
    coin: Literal["quote", "base"],
    fee: float,
    slippage: float,
    impact: float,
    exits: ExitConfig,
):
    rules = AccountConfig(
        cash=cash, fee_rate=fee, fee_currency=coin, slippage_bps=slippage, volume_impact=impact,
        exits=exits, trading_rules=STEPS,
    )  # fmt: skip
    market, price = OrderContext(volume=3.0), cents / 100
    bought = simulate_buy(rules, cash, price, market)
    if isinstance(bought, ModelFill):
        stop = compute_levels(rules.exits, price, price, 0, 0.01).stop
        assert isinstance(simulate_sell(rules, bought.base_change, stop, market), ModelFill)
