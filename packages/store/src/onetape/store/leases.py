"""Leases: only one process at a time may trade an account. Times are wall-clock milliseconds."""

from msgspec import Struct

from onetape.core.errors import SafetyRefusal
from onetape.store.connection import Connection
from onetape.store.database import Store


class Fence(Struct, frozen=True):
    """A lease and the token of who took it; a write inside the fence proves first that it holds."""

    name: str
    token: int


def acquire_lease(store: Store, name: str, holder: str, *, now_ms: int, seconds: float) -> int:
    """Take a lease that is free or has run out, and return its fencing token.

    Args:
        store: The open database.
        name: What is leased, such as an account.
        holder: Who takes it, in words that help a person find the process.
        now_ms: Wall-clock epoch milliseconds.
        seconds: How long it lasts unless renewed.

    Raises:
        SafetyRefusal: another process holds it.
    """
    with store.write() as connection:
        rows = connection.execute(
            "SELECT holder, token, expires_ms FROM leases WHERE name = ?", (name,)
        ).fetchall()
        if rows and rows[0][2] > now_ms:
            left = (rows[0][2] - now_ms) / 1_000
            raise SafetyRefusal(
                f"{name} is traded by {rows[0][0]} already; stop that process first "
                f"(if it was killed, its lease ends in {left:.0f} s)"
            )
        token = rows[0][1] + 1 if rows else 1
        connection.execute(
            "INSERT OR REPLACE INTO leases (name, holder, token, expires_ms) VALUES (?, ?, ?, ?)",
            (name, holder, token, now_ms + int(seconds * 1_000)),
        )
        return token


def renew_lease(store: Store, name: str, token: int, *, now_ms: int, seconds: float) -> None:
    """Extend a lease.

    Raises:
        SafetyRefusal: it ran out and another process took it.
    """
    with store.write() as connection:
        connection.execute(
            "UPDATE leases SET expires_ms = ? WHERE name = ? AND token = ?",
            (now_ms + int(seconds * 1_000), name, token),
        )
        if connection.changes() != 1:
            raise _lost(name)


def check_lease(connection: Connection, fence: Fence) -> str:
    """Return the holder of a lease, inside the transaction of the write that needs it.

    Raises:
        SafetyRefusal: another process took it.
    """
    rows = connection.execute(
        "SELECT holder FROM leases WHERE name = ? AND token = ?", (fence.name, fence.token)
    ).fetchall()
    if not rows:
        raise _lost(fence.name)
    return rows[0][0]


def release_lease(store: Store, name: str, token: int) -> None:
    """Give a lease back; one that another process took is left alone."""
    with store.write() as connection:
        connection.execute(
            "UPDATE leases SET expires_ms = 0 WHERE name = ? AND token = ?", (name, token)
        )


def _lost(name: str) -> SafetyRefusal:
    return SafetyRefusal(f"{name}: another process took over; this one trades no more")
