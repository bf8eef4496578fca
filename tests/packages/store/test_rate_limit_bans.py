"""A stored rate limit ban applies to all processes on the database."""

from pathlib import Path
from typing import Any

from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import Store, open_store
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban


def test_no_ban_is_stored_before_the_first(store: Store) -> None:
    assert read_latest_rate_limit_ban(store, "binance") is None


def test_another_connection_reads_the_ban(store: Store, path: Path) -> None:
    save_rate_limit_ban(store, "binance", RateLimitBan(5_000, "418"))
    with open_store(path, create=False) as other:
        assert read_latest_rate_limit_ban(other, "binance") == RateLimitBan(5_000, "418")
        assert read_latest_rate_limit_ban(other, "kraken") is None


def test_the_ban_that_ends_last_stays_with_its_reason(store: Store, foreign: Any) -> None:
    save_rate_limit_ban(store, "binance", RateLimitBan(5_000, "418 until 5 s"))
    save_rate_limit_ban(store, "binance", RateLimitBan(3_000, "429, 3 s"))
    assert read_latest_rate_limit_ban(store, "binance") == RateLimitBan(5_000, "418 until 5 s")
    save_rate_limit_ban(store, "binance", RateLimitBan(9_000, "418 until 9 s"))
    rows = foreign(store.path, "SELECT exchange, until_ms, reason FROM rate_limit_bans")
    assert rows == [[["binance", 9_000, "418 until 9 s"]]]


def test_a_ban_is_stored_with_its_beginning(store: Store, foreign: Any) -> None:
    ban = RateLimitBan(1_120_000, "HTTP 418", 1_000_000)
    save_rate_limit_ban(store, "binance", ban)
    assert read_latest_rate_limit_ban(store, "binance") == ban
    rows = foreign(store.path, "SELECT reason FROM rate_limit_bans")
    assert rows == [[["HTTP 418; began 1000000"]]]


def test_a_ban_of_a_clock_that_was_ahead_keeps_no_new_one_out(store: Store) -> None:
    save_rate_limit_ban(store, "binance", RateLimitBan(4_720_000, "HTTP 418", 4_600_000))
    later = RateLimitBan(1_120_000, "HTTP 418", 1_000_000)
    save_rate_limit_ban(store, "binance", later)
    assert read_latest_rate_limit_ban(store, "binance") == later
