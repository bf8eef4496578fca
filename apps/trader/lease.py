"""The right to trade a symbol of an account: only one process has it at a time."""

import os
import socket
import time
from contextlib import ExitStack

from onetape.store.database import Store
from onetape.store.leases import Fence, acquire_lease, make_lease_name, release_lease, renew_leases
from onetape.store.process_lock import ProcessLock
from trader.session_context import SessionContext

#: A symbol of a trader that cannot be proven dead is free again after this.
LEASE_SECONDS = 20.0
#: Time after a renewal in which `keep` writes nothing, because each write waits for other
#: processes.
KEEP_MS = 1_000


class Lease:
    """Lease of an account and a symbol, renewed while the trader runs and checked before writes.

    With real orders there are two: of our account, and of the account at the exchange, which may
    have another name in another trader. Each write proves that the second lease is valid.
    """

    def __init__(self, context: SessionContext) -> None:
        """Take the lease.

        Raises:
            SafetyRefusal: another process holds the lease.
        """
        self._store = context.store
        self._renewed_ms = 0
        names = [make_lease_name(context.session.account, context.key.symbol)]
        if context.exchange_account:
            names.append(make_lease_name(context.exchange_account, context.key.symbol))
        self._parts: list[NamedLease] = []
        try:
            for name in names:
                self._parts.append(NamedLease(context.store, name))
        except BaseException:
            self.release()
            raise
        self.fence = self._parts[-1].fence
        """Proof of the lease that each write to the account checks first."""

    def renew(self) -> None:
        """Prove that the lease still belongs to this process, and extend it.

        Called right before an order or a trade is written too: a strategy may compute for long. A
        process that is suspended even after that is stopped by the fence, inside the write.

        Raises:
            SafetyRefusal: the lease ran out, and another process took it.
        """
        fences = [part.fence for part in self._parts]
        now_ms = _get_wall_ms()
        renew_leases(self._store, fences, now_ms=now_ms, seconds=LEASE_SECONDS)
        self._renewed_ms = now_ms

    def keep(self) -> None:
        """Renew the lease if its last renewal was a second ago, by the clock of all processes.

        Raises:
            SafetyRefusal: the lease ran out, and another process took it.
        """
        if not 0 <= _get_wall_ms() - self._renewed_ms < KEEP_MS:
            self.renew()

    def release(self) -> None:
        """Release the lease.

        Raises:
            StoreError: the file cannot be written; the kernel's locks are given back anyway.
        """
        with ExitStack() as stack:
            for part in self._parts:
                stack.callback(part.release)


class NamedLease:
    """One lease with the kernel's lock of its name."""

    def __init__(self, store: Store, name: str) -> None:
        """Take the lease.

        Raises:
            SafetyRefusal: another process holds the lease.
            StoreError: the file cannot be written.
        """
        self._store = store
        self._lock = ProcessLock(store.path, name)
        self._lock.acquire()
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        try:
            token = acquire_lease(
                store,
                name,
                holder,
                now_ms=_get_wall_ms(),
                seconds=LEASE_SECONDS,
                lock=self._lock,
            )
        except BaseException:
            self._lock.release()
            raise
        self.fence = Fence(name, token)
        """Proof of the lease that each write to the leased account or symbol checks first."""

    def release(self) -> None:
        """Release the lease.

        Raises:
            StoreError: the file cannot be written; the kernel's lock is given back anyway.
        """
        try:
            release_lease(self._store, self.fence.name, self.fence.token)
        finally:
            self._lock.release()


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000
