"""Largest order of a market, and the parts in which an amount is sold."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.trading_rules import TradingRules
from onetape.execution.order_sizes import LargestOrder, compute_next_part

RULES = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal(5))


@given(st.integers(1, 100_000), st.integers(1, 5_000))
def test_parts_sell_the_whole_amount_and_none_exceeds_the_markets_maximum(
    steps: int, most: int
) -> None:
    step = Decimal("0.001")
    left, largest = steps * step, most * step
    parts: list[Decimal] = []
    while left:
        parts.append(compute_next_part(left, largest, RULES))
        assert 0 < parts[-1] <= largest
        assert not parts[-1] % step
        left -= parts[-1]
    assert len(parts) == -(-steps // most), "as few orders as possible"
    assert max(parts) - min(parts) <= step, "the last one is not smaller than the others"


@pytest.mark.parametrize("largest", [None, Decimal(0), Decimal("1.5")])
def test_an_amount_that_one_order_may_have_is_one_part(largest: Decimal | None) -> None:
    assert compute_next_part(Decimal("1.5"), largest, RULES) == Decimal("1.5")


def test_the_lowest_known_limit_is_used_in_whole_steps() -> None:
    largest = LargestOrder(Decimal(9), Decimal("2.00099"), Decimal(100))
    assert largest.compute_market_amount(RULES) == Decimal("2.000")
    assert largest.compute_limit_amount(Decimal(7), RULES) == 9
    assert largest.compute_limit_amount(Decimal(30), RULES) == Decimal("3.333")
    assert LargestOrder().compute_market_amount(RULES) is None
    assert LargestOrder().compute_limit_amount(Decimal(7), RULES) is None
    assert LargestOrder(Decimal(9)).compute_market_amount(RULES) == 9
