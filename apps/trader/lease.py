"""The right to trade a symbol of an account: only one process has it at a time.

A lease is a row of the table `leases` that expires unless it is renewed, and a lock of the kernel,
which proves on one computer that the holder still runs.
"""

import os
import socket
import time
from contextlib import ExitStack

from onetape.store.database import Store
from onetape.store.leases import Fence, acquire_lease, make_lease_name, release_lease, renew_leases
from onetape.store.process_lock import ProcessLock
from trader.session_context import SessionContext

#: A lease that was not renewed for this time is free, wall seconds.
LEASE_SECONDS = 20.0
#: Time after a renewal in which `renew_if_due` writes nothing, because each write waits for other
#: processes.
RENEW_AFTER_MS = 1_000


class Lease:
    """Lease of an account and a symbol, renewed while the trader runs and checked before writes.

    With real orders there are two leases of the symbol: of the account by its name here, and of the
    account at the exchange, which may have another name in another trader. Each write proves that
    the second one is valid.
    """

    def __init__(self, context: SessionContext) -> None:
        """Take the lease.

        Args:
            context: Context of the traded symbol, with account and database.

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

        It is also called right before an order or a fill is written, because a strategy may compute
        for long. If the process is suspended after that and loses the lease, the fence refuses the
        write.

        Raises:
            SafetyRefusal: the lease ran out, and another process took it.
        """
        fences = [part.fence for part in self._parts]
        now_ms = _get_wall_ms()
        renew_leases(self._store, fences, now_ms=now_ms, seconds=LEASE_SECONDS)
        self._renewed_ms = now_ms

    def renew_if_due(self) -> None:
        """Renew the lease if its last renewal was a second ago or longer.

        Raises:
            SafetyRefusal: the lease ran out, and another process took it.
        """
        if not 0 <= _get_wall_ms() - self._renewed_ms < RENEW_AFTER_MS:
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
    """One lease: its row in the database, and the kernel's lock of its name."""

    def __init__(self, store: Store, name: str, *, prefix: str = "") -> None:
        """Take the lease.

        Args:
            store: The open database.
            name: Name of the lease, of `make_lease_name`.
            prefix: Beginning of the stored holder, such as `states.STARTING`.

        Raises:
            SafetyRefusal: another process holds the lease.
            StoreError: the file cannot be written.
        """
        self._store = store
        self._lock = ProcessLock(store.path, name)
        self._lock.acquire()
        holder = f"{prefix}process {os.getpid()} on {socket.gethostname()}"
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
