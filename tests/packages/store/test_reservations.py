"""Money of an account that several processes trade is never spent twice.

`make reservations` runs the long form.
"""

import os
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path

import pytest

from onetape.core.errors import SafetyRefusal, StoreError
from onetape.store.database import Store
from onetape.store.leases import Fence
from onetape.store.reservations import AccountCash
from spenders import (
    count_positions_after_each_trade,
    read_cash_after_each_trade,
    run_spenders,
)
from traded_accounts import TradedAccount

PROCESSES = int(os.environ.get("ONETAPE_SPENDERS", "4"))
ORDERS = int(os.environ.get("ONETAPE_SPENDER_ORDERS", "400"))


@pytest.fixture
def account(tmp_path: Path) -> Generator[TradedAccount]:
    with TradedAccount(tmp_path / "data" / "onetape.db", cash="1000") as opened:
        yield opened


def read_free_money(account: TradedAccount) -> Decimal:
    """Return the money that another order may reserve."""
    seen: list[Decimal] = []

    def look(free: Decimal) -> Decimal:
        seen.append(free)
        return Decimal(0)

    AccountCash(account.store, account.name, "paper").reserve(
        "no order", account.fence, look, reserved_ms=0
    )
    return seen[0]


def reserve(account: TradedAccount, order_id: str, amount: str) -> Decimal:
    cash = AccountCash(account.store, account.name, "paper")
    return cash.reserve(order_id, account.fence, lambda _: Decimal(amount), reserved_ms=0)


def test_processes_on_one_account_never_spend_money_twice(tmp_path: Path) -> None:
    path = tmp_path / "data" / "onetape.db"
    refused = run_spenders(path, processes=PROCESSES, orders=ORDERS, seed=7)
    cash = read_cash_after_each_trade(path)
    assert len(cash) > ORDERS / 4
    assert min(cash) >= 0
    # Money was scarce all the time: some orders found nothing left.
    assert refused


def test_without_reservations_money_is_spent_twice(tmp_path: Path) -> None:
    path = tmp_path / "data" / "onetape.db"
    run_spenders(path, processes=4, orders=400, seed=7, is_guarded=False)
    assert min(read_cash_after_each_trade(path)) < 0


def test_processes_on_one_account_never_have_more_positions_than_slots(tmp_path: Path) -> None:
    path = tmp_path / "data" / "onetape.db"
    refused = run_spenders(path, processes=5, orders=150, seed=7, most_positions=2)
    counts = count_positions_after_each_trade(path)
    assert max(counts) == 2
    # Places were scarce all the time.
    assert refused > 20


def test_without_stored_slots_an_account_gets_too_many_positions(tmp_path: Path) -> None:
    path = tmp_path / "data" / "onetape.db"
    run_spenders(path, processes=5, orders=50, seed=7, is_guarded=False, most_positions=2)
    assert max(count_positions_after_each_trade(path)) > 2


def test_money_that_an_order_has_reserved_is_not_available_to_others(
    account: TradedAccount,
) -> None:
    order_id = account.intend("buy", 1)
    assert reserve(account, order_id, "600.5") == Decimal("600.5")
    assert read_free_money(account) == Decimal("399.5")
    with pytest.raises(StoreError, match=r"more than the 399\.5 that are free"):
        reserve(account, account.intend("buy", 2), "400")
    assert read_free_money(account) == Decimal("399.5")


def test_a_reservation_ends_with_its_order(account: TradedAccount) -> None:
    order_id = account.intend("buy", 1)
    reserve(account, order_id, "600")
    account.cancel(order_id, hours=2)
    assert read_free_money(account) == 1_000


def test_money_spent_by_the_fills_of_an_order_is_not_deducted_twice(
    account: TradedAccount,
) -> None:
    account.fill("buy", "2", "100", 1, fee="1")
    with account.store.write() as connection:
        connection.execute("INSERT INTO reservations VALUES ('test-1', 'test', 'paper', '250', 0)")
    assert read_free_money(account) == Decimal(1_000) - 250


def test_cash_includes_fees_in_quote_currency_and_later_fills(
    account: TradedAccount,
) -> None:
    cash = AccountCash(account.store, account.name, "paper")
    account.fill("buy", "2", "100", 1, fee="1.5")
    assert cash.read() == Decimal("798.5")
    account.fill("sell", "2", "110", 2, fee="0.001", fee_currency="BTC")
    assert cash.read() == Decimal("1018.5")


def test_a_process_that_lost_the_symbol_reserves_nothing(account: TradedAccount) -> None:
    cash = AccountCash(account.store, account.name, "paper")
    order_id = account.intend("buy", 1)
    lost = Fence(account.fence.name, account.fence.token + 1)
    with pytest.raises(SafetyRefusal, match="another process took over"):
        cash.reserve(order_id, lost, lambda free: free, reserved_ms=0)
    assert read_free_money(account) == 1_000


def test_an_unknown_account_has_no_money(store: Store) -> None:
    with pytest.raises(StoreError, match="account nobody has no start balance"):
        AccountCash(store, "nobody", "paper").read()
