"""The right to trade an account: only one process has it at a time."""

import os
import socket
import time

from onetape.store.leases import acquire_lease, release_lease, renew_lease
from trader.job import Job

#: A killed trader's account is free again after this.
LEASE_SECONDS = 20.0


class Lease:
    """Kept alive by renewing it; whoever let it run out finds out before doing anything more."""

    def __init__(self, job: Job) -> None:
        """Take it.

        Raises:
            SafetyRefusal: another process holds it.
        """
        self._store = job.store
        self._name = job.session.account
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._token = acquire_lease(
            job.store, self._name, holder, now_ms=_wall_ms(), seconds=LEASE_SECONDS
        )

    def renew(self) -> None:
        """Prove that it is still ours, and extend it.

        Called right before an order or a trade is written too: a strategy may think for long, and
        a suspended process does not notice that time passes.

        Raises:
            SafetyRefusal: it ran out, and another process took it.
        """
        renew_lease(self._store, self._name, self._token, now_ms=_wall_ms(), seconds=LEASE_SECONDS)

    def release(self) -> None:
        """Give it back."""
        release_lease(self._store, self._name, self._token)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
