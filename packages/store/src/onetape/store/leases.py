"""Leases: one process at a time trades a symbol of an account. Times are wall-clock, ms."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from onetape.core.errors import SafetyRefusal
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store
from onetape.store.process_lock import ProcessLock

#: A lease renewed this much later than now was written by a clock that was ahead, milliseconds.
CLOCK_TOLERANCE_MS: Final = 1_000


class Fence(Struct, frozen=True):
    """A lease and its holder's token; a write inside the fence first proves the lease."""

    name: str
    token: int


def make_lease_name(account: str, symbol: str) -> str:
    """Return the lease name of an account's symbol; other processes may trade its other symbols."""
    return f"{account}, {symbol}"


class _Stored(Struct, frozen=True):
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

    A lease that was renewed later than now was written by a clock that was ahead. Such a lease is
    taken over, unless the kernel proves that its process lives.

    Args:
        store: The open database.
        name: Name of the lease, such as an account.
        holder: Description of the holder that helps a person find the process.
        now_ms: Wall-clock epoch milliseconds.
        seconds: Duration of the lease unless renewed.
        lock: The kernel's lock with the lease's name, after `acquire`; None: no lock is known.

    Raises:
        SafetyRefusal: another process holds the lease.
    """
    with store.write() as connection:
        rows = connection.execute(
            "SELECT holder, token, expires_ms, renewed_ms, kernel_lock FROM leases WHERE name = ?",
            (name,),
        ).fetchall()
        stored = _Stored(*rows[0]) if rows else None
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


def _is_held(stored: _Stored, now_ms: int, seconds: float, lock: ProcessLock | None) -> bool:
    """Return whether a stored lease is valid, so that no other process may take it."""
    if stored.expires_ms <= now_ms:
        return False
    if lock is not None and lock.is_taken:
        return True
    if lock is not None and lock.identity is not None and lock.identity == stored.kernel_lock:
        return False
    renewed_ms = stored.renewed_ms
    if renewed_ms is None:
        # A lease of an earlier version, which had this duration, too.
        renewed_ms = stored.expires_ms - int(seconds * 1_000)
    return renewed_ms <= now_ms + CLOCK_TOLERANCE_MS


def _explain_refusal(name: str, stored: _Stored, now_ms: int, lock: ProcessLock | None) -> str:
    text = f"{name} is traded by {stored.holder} already; stop that process first"
    if lock is not None and lock.is_taken:
        return text
    left_seconds = (stored.expires_ms - now_ms) / 1_000
    return f"{text} (if it was killed, its lease ends in {left_seconds:.0f} s)"


def renew_lease(store: Store, name: str, token: int, *, now_ms: int, seconds: float) -> None:
    """Extend a lease.

    Raises:
        SafetyRefusal: the lease ran out and another process took it.
    """
    renew_leases(store, [Fence(name, token)], now_ms=now_ms, seconds=seconds)


def renew_leases(store: Store, fences: Sequence[Fence], *, now_ms: int, seconds: float) -> None:
    """Extend several leases, all of them or none.

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
    """Return the holder of a lease, inside the transaction of the write that needs it.

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
    """End a lease inside a transaction, so that its former holder cannot write any more."""
    connection.execute(
        "UPDATE leases SET token = token + 1, expires_ms = 0 WHERE name = ?", (name,)
    )


def _make_lost_error(name: str) -> SafetyRefusal:
    return SafetyRefusal(f"{name}: another process took over; this one trades no more")
