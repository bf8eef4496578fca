"""Limits of entries, obstacles of exits, and breaches that last until a person clears them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.errors import UsageError
from onetape.execution.limit_checks import (
    EntryTerms,
    ExitTerms,
    MarketView,
    check_entry_limits,
    check_exit_limits,
    limit_entry_cost,
    limit_sell_amount,
)
from onetape.execution.reservations import PendingOrder, subtract_reserved, sum_reserved_amounts
from onetape.execution.risk import OK, find_obstacle
from onetape.execution.risk_limits import DEFAULT_LIMITS, RiskLimits
from onetape.execution.risk_state import (
    RiskState,
    advance_risk,
    clear_breaches,
    start_risk,
)

#: 2024-03-01 12:00 UTC.
NOON_MS = 1_709_294_400_000
DAY_MS = 86_400_000
CALM = RiskState("2024-03-01", Decimal(1_000), Decimal(1_000), Decimal(1_000))
MARKET = MarketView(Decimal("99.9"), Decimal("100.1"), 0.5, 1.0, 0.1)
TERMS = EntryTerms(
    cost=Decimal(100), min_cost=Decimal(5), stop_cost=Decimal(95), free=Decimal(1_000),
    position=Decimal(0), positions=0,
)  # fmt: skip

money = st.decimals("-1e9", "1e9", places=2)
amounts = st.decimals(0, "1e6", places=4)
ages = st.none() | st.floats()


def replace_fields(record: Any, **changes: Any) -> Any:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**fields | changes)


def find_entry_obstacle(
    limits: RiskLimits = DEFAULT_LIMITS,
    state: RiskState | None = CALM,
    terms: EntryTerms = TERMS,
    market: MarketView = MARKET,
) -> str | None:
    return find_obstacle(check_entry_limits(limits, state, terms, market))


def test_an_entry_inside_all_limits_passes() -> None:
    assert set(check_entry_limits(DEFAULT_LIMITS, CALM, TERMS, MARKET).values()) == {OK}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cost": Decimal(2_000)}, "is more than limits and free money allow"),
        ({"cost": Decimal(4)}, "below the market's minimum"),
        ({"cost": Decimal(0)}, "below the market's minimum"),
        ({"stop_cost": Decimal("4.99")}, "its stop would sell for 4.99"),
        ({"positions": 10}, "10 positions are open"),
    ],
)
def test_an_entry_over_a_limit_is_refused(changes: dict[str, Any], text: str) -> None:
    found = find_entry_obstacle(terms=replace_fields(TERMS, **changes))
    assert found is not None
    assert text in found


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bid": None}, "bid and ask are not known"),
        ({"bid": Decimal(101)}, "bid and ask are not known"),
        ({"bid": Decimal(0)}, "bid and ask are not known"),
        ({"quote_age_seconds": None}, "age of bid and ask is not known"),
        ({"quote_age_seconds": 5.1}, "bid and ask 5 s old"),
        ({"quote_age_seconds": float("nan")}, "bid and ask nan s old"),
        ({"quote_age_seconds": -90.0}, "bid and ask -90 s old"),
        ({"bid": Decimal(99)}, "spread 1.10%"),
        ({"data_age_seconds": 61.0}, "market data 61 s old"),
        ({"data_age_seconds": None}, "age of market data is not known"),
        ({"clock_skew_seconds": None}, "time is not known"),
        ({"clock_skew_seconds": -2.5}, "clock -2.5 s off"),
        ({"clock_skew_seconds": float("nan")}, "clock +nan s off"),
    ],
)
def test_an_entry_needs_a_fresh_and_narrow_market(changes: dict[str, Any], text: str) -> None:
    found = find_entry_obstacle(market=replace_fields(MARKET, **changes))
    assert found is not None
    assert text in found


def test_an_entry_without_a_known_equity_is_refused() -> None:
    assert find_entry_obstacle(state=None) == "the equity is not known"


def test_an_entry_is_made_smaller_by_each_cap() -> None:
    limits = RiskLimits(max_order=Decimal(50), max_position=Decimal(120))
    assert limit_entry_cost(limits, TERMS) == 50
    assert limit_entry_cost(limits, replace_fields(TERMS, position=Decimal(90))) == 30
    assert limit_entry_cost(limits, replace_fields(TERMS, position=Decimal(200))) == 0
    assert limit_entry_cost(DEFAULT_LIMITS, replace_fields(TERMS, free=Decimal(20))) == 20
    assert limit_entry_cost(DEFAULT_LIMITS, TERMS) == 100


@given(
    cost=money, free=money, position=money, positions=st.integers(0, 20),
    order=st.none() | st.decimals("0.01", 1000, places=2),
    largest=st.none() | st.decimals("0.01", 1000, places=2),
)  # fmt: skip
def test_an_entry_that_passes_is_within_every_limit(
    cost: Decimal,
    free: Decimal,
    position: Decimal,
    positions: int,
    order: Decimal | None,
    largest: Decimal | None,
) -> None:
    limits = RiskLimits(max_order=order, max_position=largest)
    terms = replace_fields(TERMS, cost=cost, free=free, position=position, positions=positions)
    allowed = limit_entry_cost(limits, terms)
    assert 0 <= allowed <= max(cost, 0)
    after = replace_fields(terms, cost=allowed)
    if find_entry_obstacle(limits, terms=after) is None:
        assert allowed <= free
        assert order is None or allowed <= order
        assert largest is None or position + allowed <= largest
        assert positions < limits.max_positions
        assert allowed >= TERMS.min_cost


@given(
    quote=ages, data=ages, skew=ages, bid=st.none() | money, ask=st.none() | money,
    cost=money, stop=st.none() | money,
)  # fmt: skip
def test_no_value_raises_an_error_in_a_verdict(
    quote: float | None,
    data: float | None,
    skew: float | None,
    bid: Decimal | None,
    ask: Decimal | None,
    cost: Decimal,
    stop: Decimal | None,
) -> None:
    market = MarketView(bid, ask, quote, data, skew)
    terms = replace_fields(TERMS, cost=cost, stop_cost=stop)
    assert all(check_entry_limits(DEFAULT_LIMITS, CALM, terms, market).values())


def test_an_exit_is_stopped_only_by_reasons_that_make_it_wrong() -> None:
    sell = ExitTerms(Decimal(1), held=Decimal(1), free=Decimal(1), selling=Decimal(0))
    assert find_obstacle(check_exit_limits(sell)) is None
    assert find_obstacle(check_exit_limits(replace_fields(sell, free=None))) is None
    resting_stop = replace_fields(sell, selling=Decimal("0.4"))
    assert find_obstacle(check_exit_limits(resting_stop)) == "only 0.6 of the position is left"
    assert (
        find_obstacle(check_exit_limits(replace_fields(sell, free=Decimal("0.5"))))
        == "only 0.5 is free"
    )
    nothing = replace_fields(sell, amount=Decimal(0))
    assert find_obstacle(check_exit_limits(nothing)) == "there is nothing to sell"


@given(amount=amounts, held=amounts, free=st.none() | amounts, selling=amounts)
def test_executed_and_open_sells_never_exceed_what_was_bought(
    amount: Decimal, held: Decimal, free: Decimal | None, selling: Decimal
) -> None:
    terms = ExitTerms(amount, held, free, selling)
    sold = limit_sell_amount(terms)
    assert 0 <= sold <= amount
    assert sold == 0 or sold + selling <= held
    assert free is None or sold <= free
    verdict = find_obstacle(check_exit_limits(replace_fields(terms, amount=sold)))
    assert verdict is None or sold == 0


def test_a_loss_of_the_day_stays_a_breach_until_it_is_cleared() -> None:
    state = start_risk(DEFAULT_LIMITS, Decimal(1_000), NOON_MS)
    state = advance_risk(DEFAULT_LIMITS, state, Decimal("950.01"), NOON_MS)
    assert state.reason is None
    state = advance_risk(DEFAULT_LIMITS, state, Decimal(950), NOON_MS)
    assert state.reason == "daily loss 5.00%, allowed under 5.00%"
    recovered = advance_risk(DEFAULT_LIMITS, state, Decimal(1_200), NOON_MS + 3 * DAY_MS)
    assert recovered.reason == state.reason
    assert find_entry_obstacle(state=recovered) == state.reason
    cleared = clear_breaches(state)
    assert cleared == RiskState("2024-03-01", Decimal(950), Decimal(950), Decimal(950))
    again = advance_risk(DEFAULT_LIMITS, cleared, Decimal(950), NOON_MS + 120_000)
    assert again.reason is None


def test_a_drawdown_is_measured_from_the_highest_equity_of_all_days() -> None:
    state = start_risk(DEFAULT_LIMITS, Decimal(1_000), NOON_MS)
    for day, equity in enumerate((1_400, 1_350, 1_300, 1_250, 1_200, 1_150, 1_100)):
        state = advance_risk(DEFAULT_LIMITS, state, Decimal(equity), NOON_MS + day * DAY_MS)
        assert state.reason is None
    state = advance_risk(DEFAULT_LIMITS, state, Decimal(1_050), NOON_MS + 7 * DAY_MS)
    assert state.reason == "drawdown 25.00%, allowed under 25.00%"


def test_too_many_orders_of_a_minute_are_a_breach() -> None:
    state = advance_risk(DEFAULT_LIMITS, CALM, Decimal(1_000), NOON_MS, orders=30)
    assert state.reason is None
    state = advance_risk(DEFAULT_LIMITS, state, Decimal(1_000), NOON_MS, orders=31)
    assert state.reason == "31 orders in a minute, allowed 30"
    later = advance_risk(DEFAULT_LIMITS, state, Decimal(1_000), NOON_MS + DAY_MS)
    assert later.reason == state.reason


def parse_time_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def test_a_day_begins_at_midnight_of_the_stated_time_zone_also_where_it_has_23_hours() -> None:
    berlin = RiskLimits(time_zone="Europe/Berlin")
    # On 2024-03-31 clocks there went from 02:00 to 03:00: the day began at 23:00 UTC, and its end
    # is at 22:00 UTC.
    state = start_risk(berlin, Decimal(1_000), parse_time_ms("2024-03-30T22:59:59"))
    assert state.day == "2024-03-30"
    state = advance_risk(berlin, state, Decimal(990), parse_time_ms("2024-03-30T23:00:00"))
    assert (state.day, state.day_equity) == ("2024-03-31", 990)
    state = advance_risk(berlin, state, Decimal(980), parse_time_ms("2024-03-31T21:59:59"))
    assert state.day_equity == 990
    state = advance_risk(berlin, state, Decimal(970), parse_time_ms("2024-03-31T22:00:00"))
    assert (state.day, state.day_equity) == ("2024-04-01", 970)


def test_a_clock_that_is_set_back_keeps_all_losses() -> None:
    state = advance_risk(DEFAULT_LIMITS, CALM, Decimal(970), NOON_MS - 2 * DAY_MS)
    assert (state.day, state.day_equity) == ("2024-03-01", 1_000)
    assert advance_risk(DEFAULT_LIMITS, state, Decimal(940), NOON_MS).reason is not None


@given(looks=st.lists(st.tuples(st.integers(-3 * DAY_MS, 3 * DAY_MS), money), max_size=30))
def test_no_later_equity_ends_a_breach(looks: list[tuple[int, Decimal]]) -> None:
    state, now_ms = start_risk(DEFAULT_LIMITS, Decimal(1_000), NOON_MS), NOON_MS
    for step, equity in looks:
        now_ms += step
        after = advance_risk(DEFAULT_LIMITS, state, equity, now_ms)
        assert after.breaches[: len(state.breaches)] == state.breaches
        assert len({one.limit for one in after.breaches}) == len(after.breaches)
        assert after.peak_equity >= equity
        assert after.day >= state.day
        if equity <= after.day_equity * Decimal("0.95"):
            assert after.reason is not None
        state = after


def test_an_account_that_has_lost_everything_is_a_breach() -> None:
    broke = replace_fields(CALM, day_equity=Decimal(0), peak_equity=Decimal(0))
    assert advance_risk(DEFAULT_LIMITS, broke, Decimal(0), NOON_MS).reason is None
    assert advance_risk(DEFAULT_LIMITS, broke, Decimal(-1), NOON_MS).reason is not None


def test_an_unknown_order_keeps_its_reservation_until_it_is_done() -> None:
    order = PendingOrder("BTC", "USDT", "buy", "unknown", Decimal(2), Decimal("0.5"), Decimal(100))
    sell = replace_fields(order, side="sell", stage="open")
    done = replace_fields(order, stage="done")
    assert sum_reserved_amounts([order, sell, done]) == {"USDT": 150, "BTC": Decimal("1.5")}
    assert subtract_reserved(Decimal(200), Decimal(150)) == 50
    assert subtract_reserved(Decimal(100), Decimal(150)) == 0


def test_limits_outside_their_bounds_and_unknown_zones_are_refused() -> None:
    refused: list[dict[str, Any]] = [
        {"max_daily_loss": 0.0}, {"max_daily_loss": 1.5}, {"max_order": Decimal(0)},
        {"max_positions": 0}, {"max_spread": 1.0}, {"time_zone": "Mars/Base"},
        {"time_zone": "../etc/passwd"},
    ]  # fmt: skip
    for changes in refused:
        with pytest.raises(UsageError):
            RiskLimits(**changes)
