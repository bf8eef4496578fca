"""Accounts: opened once, with an exact start balance that nothing changes afterwards."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from old_stores import make_old_store
from onetape.core.errors import OnetapeError, SafetyRefusal
from onetape.core.trading import Session
from onetape.store.accounts import AccountSeries, open_account, read_account
from onetape.store.database import Store, open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.sessions import read_newest_session, start_session

BALANCE = Decimal("123456789012.123456789012345678")
ACCOUNT = AccountSeries(
    "mine", "paper", "binance", "BTC/USDT", "1h", "rsi", "USDT", BALANCE, 1_700_000_000_000
)
FENCE = Fence("mine", 1)


@pytest.fixture
def leased(store: Store) -> Store:
    assert acquire_lease(store, "mine", "process 17", now_ms=0, seconds=30) == FENCE.token
    return store


def test_a_start_balance_is_exact_to_the_last_digit(leased: Store) -> None:
    open_account(leased, ACCOUNT, FENCE)
    assert read_account(leased, "mine") == ACCOUNT
    assert read_account(leased, "other") is None


def test_opening_an_account_again_changes_nothing(leased: Store) -> None:
    open_account(leased, ACCOUNT, FENCE)
    other = AccountSeries("mine", "paper", "kraken", "ETH/EUR", "1d", "macd", "EUR", Decimal(1), 5)
    open_account(leased, other, FENCE)
    assert read_account(leased, "mine") == ACCOUNT


def test_an_account_is_opened_under_the_fence_of_its_lease(leased: Store) -> None:
    with pytest.raises(SafetyRefusal, match="another process took over"):
        open_account(leased, ACCOUNT, Fence("mine", 2))
    assert read_account(leased, "mine") is None


def test_no_statement_changes_a_start_balance(leased: Store) -> None:
    open_account(leased, ACCOUNT, FENCE)
    with pytest.raises(OnetapeError, match="never changes"), leased.write() as connection:
        connection.execute("UPDATE accounts SET start_balance = '5'")
    assert read_account(leased, "mine") == ACCOUNT


def test_an_account_of_an_earlier_version_belongs_to_its_newest_session(tmp_path: Path) -> None:
    path = make_old_store(tmp_path / "data" / "onetape.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO sessions VALUES ('s2', 'trader', 'paper', 'a', 'kraken', 'ETH/EUR', "
            "'1d', 'macd', '{}', 'digest', 9, NULL, NULL)"
        )
        connection.commit()
    with open_store(path, create=False) as store:
        found = AccountSeries("a", "paper", "kraken", "ETH/EUR", "1d", "macd", "EUR", None, 1)
        assert read_account(store, "a") == found


def test_the_start_balance_of_an_account_of_an_earlier_version_is_stored_once(
    tmp_path: Path,
) -> None:
    path = make_old_store(tmp_path / "data" / "onetape.db")
    with open_store(path, create=False) as store:
        fence = Fence("a", acquire_lease(store, "a", "a test", now_ms=0, seconds=30))
        for balance in ("0.1", "7"):
            open_account(
                store,
                AccountSeries("a", "paper", "-", "-", "-", "-", "-", Decimal(balance), 0),
                fence,
            )
        found = read_account(store, "a")
    assert found is not None
    assert (found.symbol, found.start_balance) == ("BTC/USDT", Decimal("0.1"))


def test_the_last_session_of_an_account_is_read_with_its_settings(leased: Store) -> None:
    for number, rules in enumerate(({"fee_rate": 0.001}, {"stop_loss": None, "fee_rate": 0.1})):
        session = Session(
            f"s{number}", "trader", "paper", "mine", "binance", "BTC/USDT", "1h", "rsi",
            {"period": 14}, "digest", number, rules,
        )  # fmt: skip
        start_session(leased, session, FENCE, changes="fee_rate 0.001 -> 0.1")
        assert read_newest_session(leased, "mine", "BTC/USDT") == session
    assert read_newest_session(leased, "other", "BTC/USDT") is None
    with leased.read() as connection:
        assert connection.execute("SELECT DISTINCT changes FROM sessions").get == (
            "fee_rate 0.001 -> 0.1"
        )
