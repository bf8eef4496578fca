"""Leases: the right of one process at a time to trade a symbol of an account.

A lease ends unless its holder renews it, and a new holder gets a new token. Each write for an
account checks the token in its own transaction (`check_lease`), so a process that lost the lease
while it was suspended cannot write any more. Times are the computer's, epoch milliseconds, because
all processes share them.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from onetape.core.errors import SafetyRefusal
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.process_lock import ProcessLock

#: A lease whose renewal is later than now by more than this, milliseconds, was written while the
#: computer's clock was ahead.
CLOCK_TOLERANCE_MS: Final = 1_000


class Fence(Struct, frozen=True):
    """A lease with the token of its holder, for `check_lease` in each write of the holder."""

    name: str
    """Name of the lease."""
    token: int
    """Number that `acquire_lease` returned; each new holder gets a higher number."""


def make_lease_name(account: str, symbol: str) -> str:
    """Return the name of the lease of one symbol of an account."""
    return f"{account}, {symbol}"


class _LeaseRow(Struct, frozen=True):
    """A row of the table leases."""

    holder: str
    token: int
    expires_ms: int
    renewed_ms: int | None
    kernel_lock: str | None


def acquire_lease(
    store: Store,
    name: str,
    holder: str,
    *,
    now_ms: int,
    seconds: float,
    lock: ProcessLock | None = None,
) -> int:
    """Take a lease that is free, has run out or belongs to a dead process; return its token.

    A lease whose renewal is later than now was written while the clock was ahead. It is taken over,
    unless the kernel lock proves that its process is alive.

    Args:
        store: The open database.
        name: Name of the lease, as `make_lease_name` returns it.
        holder: Description of this process with which a person can find it.
        now_ms: The computer's time, epoch milliseconds.
        seconds: Duration of the lease; it ends then unless it is renewed.
        lock: Kernel lock with the name of the lease, after a call of `acquire`; None: no lock.

    Raises:
        SafetyRefusal: another process holds the lease.
    """
    with store.write() as connection:
        rows = connection.execute(
            "SELECT holder, token, expires_ms, renewed_ms, kernel_lock FROM leases WHERE name = ?",
            (name,),
        ).fetchall()
        stored = _LeaseRow(*rows[0]) if rows else None
        if stored is not None and _is_held(stored, now_ms, seconds, lock):
            raise SafetyRefusal(_explain_refusal(name, stored, now_ms, lock))
        token = stored.token + 1 if stored is not None else 1
        connection.execute(
            "INSERT OR REPLACE INTO leases (name, holder, token, expires_ms, renewed_ms, "
            "kernel_lock) VALUES (?, ?, ?, ?, ?, ?)",
            (
                name,
                holder,
                token,
                now_ms + int(seconds * 1_000),
                now_ms,
                lock.identity if lock is not None else None,
            ),
        )
        return token


def _is_held(stored: _LeaseRow, now_ms: int, seconds: float, lock: ProcessLock | None) -> bool:
    """Return whether a stored lease is valid, so that no other process may take it."""
    if stored.expires_ms <= now_ms:
        return False
    if lock is not None and lock.is_taken:
        return True
    if lock is not None and lock.identity is not None and lock.identity == stored.kernel_lock:
        return False
    renewed_ms = stored.renewed_ms
    if renewed_ms is None:
        # An earlier version stored no renewal; its leases had the same duration.
        renewed_ms = stored.expires_ms - int(seconds * 1_000)
    return renewed_ms <= now_ms + CLOCK_TOLERANCE_MS


def _explain_refusal(name: str, stored: _LeaseRow, now_ms: int, lock: ProcessLock | None) -> str:
    text = f"{name} is traded by {stored.holder} already; stop that process first"
    if lock is not None and lock.is_taken:
        return text
    left_seconds = (stored.expires_ms - now_ms) / 1_000
    return f"{text} (if it was killed, its lease ends in {left_seconds:.0f} s)"


def renew_lease(store: Store, name: str, token: int, *, now_ms: int, seconds: float) -> None:
    """Extend a lease to `seconds` after now.

    Raises:
        SafetyRefusal: the lease ran out and another process took it.
    """
    renew_leases(store, [Fence(name, token)], now_ms=now_ms, seconds=seconds)


def renew_leases(store: Store, fences: Sequence[Fence], *, now_ms: int, seconds: float) -> None:
    """Extend several leases to `seconds` after now, all of them or none.

    Raises:
        SafetyRefusal: a lease ran out and another process took it.
    """
    with store.write() as connection:
        for fence in fences:
            connection.execute(
                "UPDATE leases SET expires_ms = ?, renewed_ms = ? WHERE name = ? AND token = ?",
                (now_ms + int(seconds * 1_000), now_ms, fence.name, fence.token),
            )
            if connection.changes() != 1:
                raise _make_lost_error(fence.name)


def check_lease(connection: DatabaseConnection, fence: Fence) -> str:
    """Return the description of a lease's holder; inside the transaction of the holder's write.

    Raises:
        SafetyRefusal: another process took the lease.
    """
    rows = connection.execute(
        "SELECT holder FROM leases WHERE name = ? AND token = ?", (fence.name, fence.token)
    ).fetchall()
    if not rows:
        raise _make_lost_error(fence.name)
    return rows[0][0]


def release_lease(store: Store, name: str, token: int) -> None:
    """Release a lease, unless another process has taken it."""
    with store.write() as connection:
        connection.execute(
            "UPDATE leases SET expires_ms = 0 WHERE name = ? AND token = ?", (name, token)
        )


def revoke_lease(connection: DatabaseConnection, name: str) -> None:
    """End a lease inside a write transaction, so that its holder cannot write any more."""
    connection.execute(
        "UPDATE leases SET token = token + 1, expires_ms = 0 WHERE name = ?", (name,)
    )


def _make_lost_error(name: str) -> SafetyRefusal:
    return SafetyRefusal(f"{name}: another process took over; this process trades it no longer")
