"""Rate limit bans apply to every process on a database, the trader included."""

import time
from pathlib import Path

from busy_loop import BusyLoop
from held_lock import hold_write_lock
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.store.database import open_store
from onetape.store.rate_limit_bans import read_latest_rate_limit_ban, save_rate_limit_ban
from programs import Program
from trader.shared_rate_limit_bans import SharedRateLimitBans

BAN = RateLimitBan(5_000, "HTTP 418")


def test_a_ban_that_another_process_stored_is_obeyed(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    bans = SharedRateLimitBans(db, "binance")
    assert bans.find_latest() is None
    with open_store(db, create=True) as store:
        save_rate_limit_ban(store, "binance", RateLimitBan(5_000, "HTTP 418"))
        save_rate_limit_ban(store, "kraken", RateLimitBan(9_000, "HTTP 418"))
    assert bans.find_latest() == BAN
    bans.close()


def test_a_ban_is_stored_for_other_processes(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    with open_store(db, create=True) as store:
        bans = SharedRateLimitBans(db, "binance")
        bans.extend(RateLimitBan(5_000, "HTTP 418"))
        bans.extend(RateLimitBan(4_000, "HTTP 429"))
        assert read_latest_rate_limit_ban(store, "binance") == BAN
        bans.close()


def test_a_ban_while_the_database_is_locked_applies_at_once_and_is_stored_later(
    tmp_path: Path,
) -> None:
    db = tmp_path / "x.db"
    with open_store(db, create=True) as store:
        bans = SharedRateLimitBans(db, "binance")
        with hold_write_lock(db), BusyLoop() as busy_loop:
            bans.extend(RateLimitBan(5_000, "HTTP 418"))
            assert bans.find_latest() == BAN
            assert busy_loop.seconds < 0.5
        assert read_latest_rate_limit_ban(store, "binance") is None
        assert bans.find_latest() == BAN
        assert read_latest_rate_limit_ban(store, "binance") == BAN
        bans.close()


def test_a_ban_after_the_clock_was_set_back_is_stored_for_other_processes(tmp_path: Path) -> None:
    db = tmp_path / "x.db"
    with open_store(db, create=True) as store:
        bans = SharedRateLimitBans(db, "binance")
        bans.extend(RateLimitBan(4_720_000, "HTTP 418", 4_600_000))
        later = RateLimitBan(1_120_000, "HTTP 418", 1_000_000)
        bans.extend(later)
        assert bans.find_latest() == later
        assert read_latest_rate_limit_ban(store, "binance") == later
        bans.close()


def test_a_trader_sends_nothing_to_an_exchange_that_has_banned_another_process(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "data" / "onetape.db", create=True) as store:
        until_ms = time.time_ns() // 1_000_000 + 3_600_000
        save_rate_limit_ban(store, "binance", RateLimitBan(until_ms, "HTTP 418"))
    with Program("trader", "--exchange", "binance", folder=tmp_path) as program:
        assert program.ends() == 5
    assert "binance: rate limit ban (HTTP 418), no request until" in program.errors[0]
