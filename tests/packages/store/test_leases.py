"""Leases: one holder at a time, and a token that distinguishes an old holder from the new one."""

import pytest

from onetape.core.errors import SafetyRefusal
from onetape.store.database import Store
from onetape.store.leases import acquire_lease, make_lease_name, release_lease, renew_lease
from onetape.store.live_accounts import LiveAccount, is_live_trader_running, open_live_account

NAME = "paper/binance/BTC/USDT"


def take(store: Store, holder: str, now_ms: int) -> int:
    return acquire_lease(store, NAME, holder, now_ms=now_ms, seconds=30)


def test_a_second_process_is_refused_with_the_name_of_the_holder(store: Store) -> None:
    take(store, "process 17", 0)
    with pytest.raises(SafetyRefusal, match=r"process 17 already.*ends in 20 s"):
        take(store, "process 18", 10_000)


def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_stops(store: Store) -> None:
    old = take(store, "process 17", 0)
    new = take(store, "process 18", 30_000)
    assert new > old
    with pytest.raises(SafetyRefusal, match="another process took over"):
        renew_lease(store, NAME, old, now_ms=31_000, seconds=30)
    renew_lease(store, NAME, new, now_ms=31_000, seconds=30)


def test_a_renewed_lease_holds_for_longer(store: Store) -> None:
    token = take(store, "process 17", 0)
    renew_lease(store, NAME, token, now_ms=20_000, seconds=30)
    with pytest.raises(SafetyRefusal):
        take(store, "process 18", 40_000)


def test_a_released_lease_is_free_at_once_and_its_token_increases(store: Store) -> None:
    token = take(store, "process 17", 0)
    release_lease(store, NAME, token)
    assert take(store, "process 18", 1) == token + 1


def test_an_old_holder_cannot_release_what_another_took(store: Store) -> None:
    old = take(store, "process 17", 0)
    take(store, "process 18", 30_000)
    release_lease(store, NAME, old)
    with pytest.raises(SafetyRefusal):
        take(store, "process 19", 31_000)


def test_leases_of_different_names_are_independent(store: Store) -> None:
    take(store, "process 17", 0)
    assert acquire_lease(store, "another", "process 18", now_ms=0, seconds=30) == 1


def test_a_live_trader_runs_while_it_holds_the_lease_of_a_live_account(store: Store) -> None:
    account = LiveAccount("real", "binance", "77", {}, 0, None)
    open_live_account(store, account)

    def is_running(now_ms: int, exchange: str = "binance") -> bool:
        return is_live_trader_running(store, exchange, now_ms)

    assert not is_running(0)
    # Another account, whose name begins in the same way.
    acquire_lease(store, make_lease_name("realistic", "BTC/USDT"), "paper", now_ms=0, seconds=30)
    assert not is_running(0)
    acquire_lease(store, make_lease_name("real", "BTC/USDT"), "live", now_ms=0, seconds=30)
    assert is_running(0)
    assert not is_running(0, "kraken")
    assert not is_running(30_000)
