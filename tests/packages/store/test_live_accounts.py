"""Accounts with real orders that share the money of one account at an exchange."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

from onetape.store.accounts import AccountSeries, open_account
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.live_accounts import LiveAccount, open_live_account, read_live_account


def make_account(name: str, exchange_account: str = "7") -> LiveAccount:
    return LiveAccount(name, "binance", exchange_account, {}, 5, None)


def open_with_money(store: Store, name: str, currency: str) -> None:
    token = acquire_lease(store, name, "1@host", now_ms=0, seconds=60.0)
    symbol = f"BTC/{currency}"
    opened = AccountSeries(name, "live", "binance", symbol, "1h", "rsi", currency, Decimal(100), 5)
    open_account(store, opened, Fence(name, token))


def test_row_134_of_accounts_that_are_opened_at_once_with_all_money_one_is_stored(
    tmp_path: Path,
) -> None:
    path = tmp_path / "onetape.db"
    open_store(path, create=True).close()
    names = [f"account {number}" for number in range(8)]

    def open_one(name: str) -> str | None:
        with open_store(path, create=False) as store:
            return open_live_account(store, make_account(name), sole_currency="USDT")

    with ThreadPoolExecutor(len(names)) as threads:
        found = list(threads.map(open_one, names))
    (opened,) = [name for name, other in zip(names, found, strict=True) if other is None]
    assert set(found) == {None, opened}
    with open_store(path, create=False) as store:
        stored = [name for name in names if read_live_account(store, name) is not None]
    assert stored == [opened]


def test_an_account_may_take_all_money_of_another_currency_or_of_another_exchange_account(
    store: Store,
) -> None:
    assert open_live_account(store, make_account("first"), sole_currency="USDT") is None
    open_with_money(store, "first", "USDT")
    assert open_live_account(store, make_account("second"), sole_currency="EUR") is None
    open_with_money(store, "second", "EUR")
    assert open_live_account(store, make_account("third", "8"), sole_currency="USDT") is None
    assert open_live_account(store, make_account("fourth"), sole_currency="USDT") == "first"
    assert open_live_account(store, make_account("fourth")) is None
