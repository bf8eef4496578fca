"""How long an account is kept for a trader that cannot be proven dead."""

from pathlib import Path

import pytest

from onetape.core.errors import SafetyRefusal
from onetape.store.database import open_store
from onetape.store.leases import acquire_lease, renew_lease
from onetape.store.process_lock import ProcessLock
from trader.lease import LEASE_SECONDS


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
