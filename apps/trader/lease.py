"""The right to trade a symbol of an account: only one process has it at a time."""

import os
import socket
import time

from onetape.store.leases import Fence, acquire_lease, lease_name, release_lease, renew_lease
from onetape.store.process_lock import ProcessLock
from trader.job import Job

#: A symbol of a trader that cannot be proven dead is free again after this.
LEASE_SECONDS = 20.0


class Lease:
    """Kept alive by renewing it; whoever let it run out finds out before doing anything more."""

    def __init__(self, job: Job) -> None:
        """Take it.

        Raises:
            SafetyRefusal: another process holds it.
        """
        self._store = job.store
        name = lease_name(job.session.account, job.key.symbol)
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._lock = ProcessLock(job.store.path, name)
        self._lock.acquire()
        try:
            token = acquire_lease(
                job.store,
                name,
                holder,
                now_ms=_wall_ms(),
                seconds=LEASE_SECONDS,
                lock=self._lock,
            )
        except BaseException:
            self._lock.release()
            raise
        self.fence = Fence(name, token)
        """What each write to the account proves first."""

    def renew(self) -> None:
        """Prove that it is still ours, and extend it.

        Called right before an order or a trade is written too: a strategy may think for long. A
        process that is suspended even after that is stopped by the fence, inside the write.

        Raises:
            SafetyRefusal: it ran out, and another process took it.
        """
        fence = self.fence
        renew_lease(self._store, fence.name, fence.token, now_ms=_wall_ms(), seconds=LEASE_SECONDS)

    def release(self) -> None:
        """Give it back.

        Raises:
            StoreError: the file cannot be written; the kernel's lock is given back all the same.
        """
        try:
            release_lease(self._store, self.fence.name, self.fence.token)
        finally:
            self._lock.release()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
