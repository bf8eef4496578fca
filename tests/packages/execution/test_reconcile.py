"""Differences between a live account's records and the exchange, and their consequences."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from onetape.execution.reconcile import (
    ExchangeOrder,
    ExchangeSnapshot,
    LedgerSnapshot,
    compute_covered_amount,
    find_differences,
)

TAG = "abcd1234"


def make_ledger(**changes: Any) -> LedgerSnapshot:
    fields: dict[str, Any] = {
        "tag": TAG, "client_order_ids": {"1": f"{TAG}0001"}, "open_orders": frozenset[str](),
        "trade_ids": frozenset({"t1"}), "position": Decimal(1), "base": "BTC",
    }  # fmt: skip
    return LedgerSnapshot(**fields | changes)


def make_exchange(**changes: Any) -> ExchangeSnapshot:
    fields: dict[str, Any] = {"base_total": Decimal(1), "orders": (), "fills": {"t1": "1"}}
    return ExchangeSnapshot(**fields | changes)


def list_kinds(ours: LedgerSnapshot, theirs: ExchangeSnapshot) -> list[str]:
    return [one.kind for one in find_differences(ours, theirs)]


def test_equal_records_and_more_coins_than_the_position_are_no_difference() -> None:
    assert list_kinds(make_ledger(), make_exchange()) == []
    assert list_kinds(make_ledger(), make_exchange(base_total=Decimal(5))) == []
    assert list_kinds(make_ledger(position=Decimal(0)), make_exchange(base_total=Decimal(0))) == []


def test_a_balance_below_the_position_halts() -> None:
    found = list_kinds(make_ledger(), make_exchange(base_total=Decimal("0.999")))
    assert found == ["missing coins"]


def test_coins_sold_by_others_are_missing_even_if_baseline_coins_hide_it() -> None:
    ours = make_ledger(baseline=Decimal(5), sold_by_others=Decimal("0.4"))
    assert list_kinds(ours, make_exchange(base_total=Decimal("5.6"))) == ["missing coins"]
    assert compute_covered_amount(ours, Decimal("5.6")) == Decimal("0.6")
    # Of what else is not there, a withdrawal may be the cause.
    assert compute_covered_amount(ours, Decimal(3)) == Decimal("0.6")
    # A deposit or a buy has made up for the sale.
    assert list_kinds(ours, make_exchange(base_total=Decimal(6))) == []
    assert compute_covered_amount(ours, Decimal("0.5")) == Decimal("0.5")


def test_a_withdrawal_of_baseline_coins_leaves_the_position_covered() -> None:
    ours = make_ledger(baseline=Decimal(5))
    assert list_kinds(ours, make_exchange(base_total=Decimal(1))) == []
    assert compute_covered_amount(ours, Decimal(1)) == 1


def test_an_own_order_that_the_database_lacks_is_taken_over() -> None:
    order = ExchangeOrder("9", f"{TAG}0009", is_open=True)
    assert list_kinds(make_ledger(), make_exchange(orders=(order,))) == ["own order"]
    filled = make_exchange(orders=(ExchangeOrder("9", f"{TAG}0009", False),), fills={"t9": "9"})
    assert list_kinds(make_ledger(), filled) == ["own fills"]


def test_an_order_or_fill_of_others_stops_entries() -> None:
    order = ExchangeOrder("9", "web_77", is_open=True)
    assert list_kinds(make_ledger(), make_exchange(orders=(order,))) == ["foreign order"]
    filled = make_exchange(orders=(ExchangeOrder("9", "web_77", False),), fills={"t9": "9"})
    assert list_kinds(make_ledger(), filled) == ["foreign fills"]


def test_an_order_of_others_that_is_over_without_a_fill_is_no_difference() -> None:
    over = ExchangeOrder("9", "web_77", is_open=False)
    assert list_kinds(make_ledger(), make_exchange(orders=(over,))) == []


def test_an_own_open_order_that_is_not_listed_is_looked_up() -> None:
    ours = make_ledger(open_orders=frozenset({f"{TAG}0001"}))
    assert list_kinds(ours, make_exchange()) == ["missing order"]
    listed = make_exchange(orders=(ExchangeOrder("1", f"{TAG}0001", True),))
    assert list_kinds(ours, listed) == []


@given(
    position=st.decimals(0, 10, places=5),
    total=st.decimals(0, 10, places=5),
    names=st.lists(st.sampled_from([f"{TAG}0001", f"{TAG}0002", "web_1", ""]), max_size=4),
    is_open=st.booleans(),
)
def test_coins_are_missing_exactly_if_there_are_fewer_than_the_position(
    position: Decimal, total: Decimal, names: list[str], is_open: bool
) -> None:
    orders = tuple(ExchangeOrder(str(n), name, is_open) for n, name in enumerate(names, 2))
    found = find_differences(
        make_ledger(position=position), make_exchange(base_total=total, orders=orders)
    )
    missing = [one for one in found if one.kind == "missing coins"]
    assert bool(missing) == (total < position)


def test_row_138_an_own_order_newer_than_the_start_belongs_to_another_copy() -> None:
    own = ExchangeOrder("2", f"{TAG}0002", True, created_ms=1_001)
    older, undated = (structs.replace(own, created_ms=moment) for moment in (1_000, 0))
    ours = make_ledger(began_ms=1_000)
    assert list_kinds(ours, make_exchange(orders=(own,))) == ["other copy"]
    filled = structs.replace(own, is_open=False)
    assert list_kinds(ours, make_exchange(orders=(filled,), fills={"t1": "1", "t2": "2"})) == [
        "other copy"
    ]
    for one in (older, undated):
        assert list_kinds(ours, make_exchange(orders=(one,))) == ["own order"]
    assert list_kinds(make_ledger(), make_exchange(orders=(own,))) == ["own order"]
    known = make_ledger(began_ms=1_000, client_order_ids={"1": f"{TAG}0001", "2": f"{TAG}0002"})
    assert list_kinds(known, make_exchange(orders=(own,))) == []


def test_row_139_an_own_order_older_than_the_account_is_not_taken_over() -> None:
    own = ExchangeOrder("2", f"{TAG}0002", True, created_ms=999)
    ours = make_ledger(began_ms=2_000, opened_ms=1_000)
    assert list_kinds(ours, make_exchange(orders=(own,))) == ["older order"]
    filled = structs.replace(own, is_open=False)
    assert list_kinds(ours, make_exchange(orders=(filled,), fills={"t1": "1", "t2": "2"})) == [
        "older order"
    ]
    for moment in (1_000, 2_000, 0):
        other = structs.replace(own, created_ms=moment)
        assert list_kinds(ours, make_exchange(orders=(other,))) == ["own order"]
    others = structs.replace(own, client_order_id="web_1")
    assert list_kinds(ours, make_exchange(orders=(others,))) == ["foreign order"]
