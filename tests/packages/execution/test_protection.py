"""The stop order that should rest: it covers the position, moves rarely, never sells more."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.trading_rules import TradingRules
from onetape.execution.protection import (
    CancelStop,
    PlaceStop,
    ProtectionStep,
    ReplaceStop,
    RestingStop,
    StopPolicy,
    Unprotectable,
    choose_protection_step,
    compute_sellable_amount,
)

STEPS = TradingRules(
    price_step=Decimal("0.01"), amount_step=Decimal("0.00001"), min_amount=Decimal("0.00001"),
    min_notional=Decimal(5),
)  # fmt: skip
POLICY = StopPolicy()
ONE = Decimal(1)
LEVEL = Decimal(95)

amounts = st.decimals(0, 2, places=7)
prices = st.none() | st.decimals("0.01", 200, places=4)
stops = st.lists(
    st.builds(
        RestingStop,
        st.sampled_from(["a", "b"]),
        st.decimals("0.00001", 2, places=5),
        st.decimals("0.01", 200, places=2),
    ),
    max_size=2,
)


def step(
    held: Decimal, level: Decimal | None, *resting: RestingStop, since: float = 60.0
) -> ProtectionStep:
    return choose_protection_step(held, level, resting, STEPS, POLICY, since)


def make_resting_stop(amount: str, price: str, name: str = "a") -> RestingStop:
    return RestingStop(name, Decimal(amount), Decimal(price))


def test_a_position_without_a_stop_gets_one_for_its_amount_rounded_down() -> None:
    held = Decimal("0.9990009")
    assert step(held, Decimal("95.129")) == PlaceStop(Decimal("0.99900"), Decimal("95.12"))


def test_a_stop_that_covers_the_position_is_unchanged() -> None:
    assert step(ONE, LEVEL, make_resting_stop("1", "95")) is None


@pytest.mark.parametrize("amount", ["0.5", "1.5"])
def test_a_stop_of_another_amount_is_replaced_by_one_that_covers_the_position(amount: str) -> None:
    found = step(ONE, LEVEL, make_resting_stop(amount, "95"))
    assert isinstance(found, ReplaceStop)
    assert (found.client_order_id, found.amount, found.price) == ("a", ONE, LEVEL)


def test_a_stop_grows_after_a_pause_and_shrinks_at_once() -> None:
    assert step(ONE, LEVEL, make_resting_stop("0.5", "95"), since=0.9) is None
    assert isinstance(step(ONE, LEVEL, make_resting_stop("0.5", "95"), since=1.0), ReplaceStop)
    assert isinstance(step(ONE, LEVEL, make_resting_stop("1.5", "95"), since=0.0), ReplaceStop)


def test_a_fixed_stop_grows_and_shrinks_and_does_not_rise() -> None:
    for amount, expected in (("1", None), ("0.5", ReplaceStop), ("1.5", ReplaceStop)):
        resting = (make_resting_stop(amount, "95"),)
        found = choose_protection_step(
            ONE, Decimal(99), resting, STEPS, POLICY, 60.0, is_fixed=True
        )
        assert found is None if expected is None else isinstance(found, expected)


def test_a_stop_for_more_than_is_held_is_cancelled_even_if_no_smaller_one_can_rest() -> None:
    # A position of 0.01 is under the least value at the stop.
    found = step(Decimal("0.01"), LEVEL, make_resting_stop("1", "95"))
    assert isinstance(found, CancelStop)
    assert isinstance(step(Decimal("0.01"), LEVEL), Unprotectable)


def test_a_small_rise_moves_nothing_and_a_large_one_waits_for_the_pause() -> None:
    stop = make_resting_stop("1", "95")
    assert step(ONE, Decimal("95.09"), stop) is None
    assert step(ONE, Decimal("95.1"), stop, since=9.9) is None
    assert isinstance(step(ONE, Decimal("95.1"), stop, since=10.0), ReplaceStop)


def test_a_lower_level_moves_nothing() -> None:
    assert step(ONE, Decimal(80), make_resting_stop("1", "95")) is None


def test_without_a_position_or_a_level_no_stop_rests() -> None:
    for held, level in ((Decimal(0), LEVEL), (ONE, None)):
        assert step(held, level) is None
        assert isinstance(step(held, level, make_resting_stop("1", "95")), CancelStop)


def test_one_of_two_stops_is_cancelled() -> None:
    found = step(ONE, LEVEL, make_resting_stop("1", "95"), make_resting_stop("1", "94", "b"))
    assert found == CancelStop("b", "more than one stop rests")


@given(held=amounts, level=prices, resting=stops, since=st.floats(0, 100))
def test_steps_end_with_one_stop_that_sells_at_most_what_is_held(
    held: Decimal, level: Decimal | None, resting: list[RestingStop], since: float
) -> None:
    """Carry the steps out, after any pause, until no step is left."""
    now = [*{one.client_order_id: one for one in resting}.values()]
    for _ in range(8):
        match choose_protection_step(held, level, tuple(now), STEPS, POLICY, since):
            case PlaceStop(amount, price):
                assert 0 < amount <= held
                assert level is not None
                assert price <= level
                now = [RestingStop("new", amount, price)]
            case CancelStop(identity):
                now = [one for one in now if one.client_order_id != identity]
            case ReplaceStop(identity, amount, price):
                assert [one.client_order_id for one in now] == [identity]
                assert 0 < amount <= held
                assert level is not None
                assert price <= level
                now = [RestingStop("new", amount, price)]
            case Unprotectable():
                assert now == []
                break
            case _:
                break
        since = 100.0
    else:
        raise AssertionError("the steps do not end")
    assert len(now) <= 1
    assert sum((one.amount for one in now), Decimal(0)) <= held


@given(held=amounts, free=amounts)
def test_the_sellable_amount_is_at_most_the_held_and_the_free_coins_in_whole_steps(
    held: Decimal, free: Decimal
) -> None:
    found = compute_sellable_amount(held, free, STEPS)
    assert 0 <= found <= min(held, free)
    assert found % Decimal("0.00001") == 0
