"""How long an account stays reserved for a trader that cannot be proven to have ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from onetape.core.errors import SafetyRefusal
from onetape.store.database import open_store
from onetape.store.leases import acquire_lease, renew_lease
from onetape.store.process_lock import ProcessLock
from session_harness import open_market, open_session
from trader.lease import LEASE_SECONDS, Lease


def test_an_account_of_another_computer_is_free_twenty_seconds_after_the_last_renewal(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "lease.db", create=True) as store:
        old = acquire_lease(store, "a", "elsewhere", now_ms=0, seconds=LEASE_SECONDS)
        renew_lease(store, "a", old, now_ms=5_000, seconds=LEASE_SECONDS)
        with store.write() as connection:
            connection.execute("UPDATE leases SET kernel_lock = 'boot of another computer'")
        lock = ProcessLock(store.path, "a")
        assert lock.acquire()

        def take(now_ms: int) -> int:
            return acquire_lease(
                store, "a", "here", now_ms=now_ms, seconds=LEASE_SECONDS, lock=lock
            )

        with pytest.raises(SafetyRefusal, match="its lease ends in 1 s"):
            take(24_499)
        assert take(25_000) == old + 1
        with pytest.raises(SafetyRefusal, match="another process took over"):
            renew_lease(store, "a", old, now_ms=25_001, seconds=LEASE_SECONDS)
        lock.release()


def test_a_held_lease_is_renewed_once_a_second(
    run: Callable[[Any], None], db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 5_000_000_000_000
    monkeypatch.setattr("trader.lease._get_wall_ms", lambda: now_ms)

    async def scene() -> None:
        nonlocal now_ms
        async with open_market(0.25) as opened, open_session(opened, db) as trading:
            session = structs.replace(trading.context.session, account="other")
            lease = Lease(structs.replace(trading.context, session=session))
            lease.renew()
            renewed: list[int] = []
            # At last the computer's clock is set back.
            for later_ms in (999, 1_000, 1_999, 2_000, 500):
                now_ms = 5_000_000_000_000 + later_ms
                lease.renew_if_due()
                [(found,)] = trading.query("SELECT renewed_ms FROM leases WHERE name LIKE 'other%'")
                renewed.append(found - 5_000_000_000_000)
            assert renewed == [0, 1_000, 1_000, 2_000, 500]
            lease.release()

    run(scene())
