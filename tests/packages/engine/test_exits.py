"""Exits within one bar, and the amounts that sizings spend."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.errors import UsageError
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    Levels,
    OrderContext,
    compute_levels,
    find_exit_in_bar,
    find_final_exit,
    simulate_buy,
)
from onetape.engine.exits import STOP_LOSS, TARGET, TRAILING_STOP
from onetape.engine.fills import ModelFill
from plain_engine import draw_exit_rules

BOTH = ExitConfig(stop_loss=0.1, take_profit=0.1)


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ((100, 105, 95), None),
        ((100, 105, 89), (90, STOP_LOSS, False)),
        ((85, 95, 80), (85, STOP_LOSS, False)),
        ((100, 111, 95), (110, TARGET, False)),
        ((115, 120, 80), (115, TARGET, False)),
        ((100, 111, 89), (90, STOP_LOSS, True)),
        ((90, 120, 85), (90, STOP_LOSS, False)),
    ],
)
def test_a_bar_ends_a_position_at_its_open_or_at_the_worse_level(
    bar: tuple[float, float, float], expected: tuple[float, int, bool] | None
):
    levels = compute_levels(BOTH, 100.0, 100.0, 0, 0.0)
    found = find_exit_in_bar(*bar, levels._replace(stop=90.0, target=110.0))
    assert found == expected


def test_a_trailing_stop_follows_the_highest_price_and_never_falls_under_the_stop_loss():
    exits = ExitConfig(stop_loss=0.1, trailing_stop=0.2)
    assert compute_levels(exits, 100.0, 100.0, 0, 0.0)[:2] == (pytest.approx(90.0), STOP_LOSS)
    assert compute_levels(exits, 100.0, 150.0, 3, 0.0)[:2] == (pytest.approx(120.0), TRAILING_STOP)


TRAIL = ExitConfig(trailing_stop=0.05)


@pytest.mark.parametrize(
    ("bar", "highest", "expected"),
    [
        # The bar sets no high: the stop is where it was before.
        ((100, 100, 95), 100, (95, TRAILING_STOP, False)),
        ((99, 100, 95.5), 100, None),
        # The open is the first price, so a high there moves the stop for certain.
        ((110, 110, 104), 100, (104.5, TRAILING_STOP, False)),
        # A low that only the bar's own high has put under the stop: the worst is the low itself.
        ((100, 130, 96.5), 100, (96.5, TRAILING_STOP, True)),
        ((100, 103, 97.85), 100, (97.85, TRAILING_STOP, True)),
        ((100, 103, 97.86), 100, None),
        # The stop was reached either way, and a high before it would have been better.
        ((100, 104, 94), 100, (95, TRAILING_STOP, True)),
        ((94, 104, 90), 100, (94, TRAILING_STOP, False)),
    ],
)
def test_a_bar_that_moves_its_own_trailing_stop_exits_at_the_worst_possible_price(
    bar: tuple[float, float, float],
    highest: float,
    expected: tuple[float, int, bool] | None,
):
    found = find_exit_in_bar(*bar, compute_levels(TRAIL, 100.0, highest, 1, 0.0))
    assert found is None if expected is None else found is not None
    if found is not None and expected is not None:
        assert found == (pytest.approx(expected[0], rel=1e-12), *expected[1:])


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        # The stop that the target's price would move lies under the low: nothing but the target.
        ((100, 120, 99), (102, TARGET, False)),
        ((100, 120, 96.5), (96.5, TRAILING_STOP, True)),
        ((100, 101, 96.5), None),
        ((100, 102, 96), (96, TRAILING_STOP, True)),
    ],
)
def test_a_trailing_stop_follows_the_price_no_further_than_the_target(
    bar: tuple[float, float, float], expected: tuple[float, int, bool] | None
):
    exits = ExitConfig(trailing_stop=0.05, take_profit=0.02)
    found = find_exit_in_bar(*bar, compute_levels(exits, 100.0, 100.0, 0, 0.01))
    assert found == expected


def find_exit_on_path(prices: list[float], levels: Levels) -> tuple[float, int] | None:
    """Return price and kind of the exit on a path of prices, each reached from the one before."""
    if prices[0] <= levels.stop:
        return prices[0], levels.stop_kind
    if prices[0] >= levels.target:
        return prices[0], TARGET
    for price in prices:
        levels = levels.follow_price(min(price, levels.target))
        if price >= levels.target:
            return levels.target, TARGET
        if price <= levels.stop:
            return levels.stop, levels.stop_kind
    return None


@given(
    draw_exit_rules().filter(lambda exits: exits.has_levels),
    st.integers(9_000, 13_000),
    st.integers(10_000, 12_000),
    st.lists(st.integers(9_000, 13_000), max_size=9),
)
def test_no_path_through_a_bar_ends_a_position_lower_than_the_bar_states(
    exits: ExitConfig, first: int, highest: int, path: list[int]
):
    prices = [cents / 100 for cents in (first, *path)]
    levels = compute_levels(exits, 100.0, highest / 100, 3, 0.01)
    found = find_exit_in_bar(prices[0], max(prices), min(prices), levels)
    followed = find_exit_on_path(prices, levels)
    if found is None or not found.is_ambiguous:
        assert followed == (found and found[:2])
    elif followed is not None:
        assert found.price <= followed[0]
    else:
        assert found.price <= prices[-1]


@given(
    draw_exit_rules().filter(lambda exits: exits.has_levels),
    st.integers(9_000, 13_000),
    st.lists(st.integers(9_000, 13_000), max_size=4),
    st.lists(st.integers(9_000, 13_000), max_size=4),
)
def test_a_final_exit_in_a_forming_bar_equals_that_of_the_closed_bar(
    exits: ExitConfig, first: int, seen: list[int], later: list[int]
):
    levels = compute_levels(exits, 100.0, 105.0, 3, 0.01)
    open_, *prices = (cents / 100 for cents in (first, *seen, *later))
    so_far = [open_, *prices[: len(seen)]]
    final = find_final_exit(open_, max(so_far), min(so_far), levels)
    if final is not None:
        closed = find_exit_in_bar(open_, max([open_, *prices]), min([open_, *prices]), levels)
        assert closed is not None
        assert final[:2] == closed[:2]


@pytest.mark.parametrize(
    ("exits", "bar", "expected"),
    [
        # The price may still fall to the stop, which comes first then.
        (ExitConfig(stop_loss=0.05, take_profit=0.02), (100.0, 103.0, 99.0), None),
        # Its own high moved the stop over its low, and a lower low would be taken.
        (ExitConfig(trailing_stop=0.05), (100.0, 110.0, 103.0), None),
        (ExitConfig(stop_loss=0.05), (100.0, 101.0, 94.0), (95.0, STOP_LOSS)),
        (ExitConfig(trailing_stop=0.05), (100.0, 101.0, 94.0), (95.0, TRAILING_STOP)),
        (ExitConfig(stop_loss=0.05, take_profit=0.02), (103.0, 104.0, 94.0), (103.0, TARGET)),
        (ExitConfig(stop_loss=0.05, take_profit=0.02), (94.0, 103.0, 94.0), (94.0, STOP_LOSS)),
    ],
)
def test_a_forming_bar_ends_a_position_only_if_no_later_price_can_change_that(
    exits: ExitConfig, bar: tuple[float, float, float], expected: tuple[float, int] | None
):
    final = find_final_exit(*bar, compute_levels(exits, 100.0, 100.0, 0, 0.01))
    assert (final and (round(final.price, 9), final.kind)) == expected


@given(
    st.integers(1, 10**7),
    st.sampled_from(["0.005", "0.01", "0.03", "0.05", "0.07", "0.1", "0.15"]),
    st.sampled_from([0.0, 0.01]),
)
def test_a_price_that_equals_a_level_reaches_it(cents: int, part: str, step: float):
    entry, ratio = Decimal(cents) / 100, Decimal(part)
    exits = ExitConfig(stop_loss=float(ratio), take_profit=float(ratio))
    levels = compute_levels(exits, float(entry), float(entry), 0, step)
    low, high = entry * (1 - ratio), entry * (1 + ratio)
    # Floats alone put the target of 10 % above 100 to 110.00000000000001.
    assert float(low) <= levels.stop
    if not step or high == high.quantize(Decimal("0.01")):
        assert float(high) >= levels.target


def test_a_high_on_the_price_step_of_a_target_reaches_it():
    # 1,058 times 0.1 is 105.80000000000001 in floats.
    levels = compute_levels(ExitConfig(take_profit=0.05), 100.7, 100.7, 0, 0.1)
    assert find_exit_in_bar(100.7, 105.8, 100.0, levels) == (105.8, TARGET, False)


def test_a_roi_target_falls_with_time_and_is_rounded_to_the_price_step():
    exits = ExitConfig(target_table={1: 0.05, 3: 0.013})
    targets = [compute_levels(exits, 100.0, 100.0, age, 0.5).target for age in range(5)]
    assert targets == [np.inf, 105.0, 105.0, 101.5, 101.5]


def compute_spent(rules: AccountConfig, market: OrderContext) -> float:
    fill = simulate_buy(rules, 1_000.0, 10.0, market)
    assert isinstance(fill, ModelFill), fill
    return fill.amount


@pytest.mark.parametrize(
    ("given", "market", "amount"),
    [
        ({"sizing": "base_amount", "base_amount": 3.0}, OrderContext(), 3.0),
        ({"sizing": "equity_share", "equity_share": 0.2}, OrderContext(equity=2_000.0), 40.0),
        ({"sizing": "equity_share", "equity_share": 0.9}, OrderContext(equity=9_000.0), 100.0),
        (
            {"sizing": "volatility_target", "volatility_target": 0.2},
            OrderContext(volatility=0.8),
            25.0,
        ),
        (
            {"sizing": "volatility_target", "volatility_target": 0.2},
            OrderContext(volatility=0.1),
            100.0,
        ),
    ],
)
def test_a_sizing_spends_its_amount(given: dict[str, Any], market: OrderContext, amount: float):
    assert compute_spent(AccountConfig(fee_rate=0.0, **given), market) == pytest.approx(amount)


def test_an_order_pays_impact_by_its_fraction_of_the_volume_and_a_fixed_size_is_unchanged():
    rules = AccountConfig(fee_rate=0.0, volume_impact=0.1, sizing="base_amount", base_amount=5.0)
    fill = simulate_buy(rules, 1_000.0, 10.0, OrderContext(volume=50.0))
    assert isinstance(fill, ModelFill)
    assert (fill.amount, fill.price) == (5.0, pytest.approx(10.1))


def test_all_cash_is_spent_at_the_price_after_the_orders_own_impact():
    fill = simulate_buy(AccountConfig(volume_impact=0.2), 1_000.0, 10.0, OrderContext(volume=500.0))
    assert isinstance(fill, ModelFill)
    assert fill.cash_change == pytest.approx(-1_000.0)
    assert fill.price == pytest.approx(10.0 * (1 + 0.2 * fill.amount / 500.0))


def test_all_cash_is_spent_even_for_more_than_the_volume_of_the_candle():
    fill = simulate_buy(AccountConfig(volume_impact=0.2), 1_000.0, 10.0, OrderContext(volume=0.5))
    assert isinstance(fill, ModelFill)
    assert fill.cash_change == pytest.approx(-1_000.0)
    assert fill.price == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"stop_loss": 1.0}, "stop_loss must be above 0 and under 1"),
        ({"take_profit": 0.0}, "take_profit must be above 0"),
        ({"trailing_stop": float("nan")}, "trailing_stop must be above 0"),
        ({"time_stop_bars": 0}, "time_stop_bars must be 1 or more, found 0"),
        ({"time_stop_bars": 2**63 - 1}, "time_stop_bars must be at most 1,000,000,000, found"),
        ({"target_table": {2**64: 0.01}}, "target_table must have fractions above -1"),
        ({"target_table": {0: 0.01, 5: 0.02}}, "target_table must fall with time"),
        ({"target_table": {0: -0.01}}, "target_table must begin above 0"),
    ],
)
def test_invalid_exits_are_refused(given: dict[str, Any], text: str):
    with pytest.raises(UsageError, match=text):
        ExitConfig(**given)


def test_a_risk_per_trade_needs_a_stop():
    with pytest.raises(UsageError, match="risk_per_trade needs a stop that limits the loss"):
        AccountConfig(sizing="risk_per_trade", risk_per_trade=0.01)
