"""Read and write the table `latecomers`: symbols whose decision came too late for the entries.

The entries of an account at one open wait for the decisions of all symbols, but only for a limited
time. A backtest always has all decisions, so entries without a late symbol may differ from it.
"""

from collections.abc import Mapping

from msgspec import Struct

from onetape.core.clock import format_utc
from onetape.store.database import Store


class Latecomer(Struct, frozen=True):
    """A symbol for whose decision the entries of its account at one open did not wait longer."""

    symbol: str
    timestamp: int
    """Open at which the entries went on without the symbol, epoch SECONDS."""
    noted_ms: int
    """Market time at which the entries went on, epoch milliseconds."""
    waited_seconds: float
    """Time that the entries had waited for the symbol, seconds of the wall clock."""
    reason: str
    """Cause of the delay, such as a missing decision, as a text."""

    @property
    def text(self) -> str:
        """Return the description of the late symbol, one line."""
        return (
            f"the entries at {format_utc(self.timestamp)} went on without {self.symbol} after "
            f"{self.waited_seconds:g} s: {self.reason}"
        )


def insert_latecomers(
    store: Store,
    reasons: Mapping[str, str],
    timestamp: int,
    *,
    noted_ms: int,
    waited_seconds: float,
) -> None:
    """Store the symbols that were late at an open; a stored symbol is not changed.

    Args:
        store: The open database.
        reasons: Cause of the delay by id of the late symbol's session.
        timestamp: The open, epoch SECONDS.
        noted_ms: Market time, epoch milliseconds.
        waited_seconds: Time that the entries have waited, wall clock.

    Raises:
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO latecomers VALUES (?, ?, ?, ?, ?)",
            [
                (session, timestamp, noted_ms, waited_seconds, reason)
                for session, reason in reasons.items()
            ],
        )


def read_latecomers(
    store: Store, account: str, start: int = 0, end: int = 2**40, *, symbol: str | None = None
) -> list[Latecomer]:
    """Return the latecomers of an account at opens of a range, oldest first.

    Args:
        store: The open database.
        account: Name of the account.
        start: First open, epoch SECONDS.
        end: End of the range, exclusive, epoch SECONDS.
        symbol: Symbol that was late; None: any symbol.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT s.symbol, l.timestamp, l.noted_ms, l.waited_seconds, l.reason "
            "FROM latecomers l JOIN sessions s USING (session) "
            "WHERE s.account = ? AND s.symbol = ifnull(?, s.symbol) "
            "AND l.timestamp >= ? AND l.timestamp < ? ORDER BY l.timestamp, s.symbol",
            (account, symbol, start, end),
        ).fetchall()
    return [Latecomer(*row) for row in rows]


def read_last_latecomer(store: Store, account: str, symbol: str) -> Latecomer | None:
    """Return the last time at which entries of an account went on without a symbol; None: never.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT symbol, timestamp, noted_ms, waited_seconds, reason FROM latecomers "
            "JOIN sessions USING (session) WHERE account = ? AND symbol = ? "
            "ORDER BY noted_ms DESC LIMIT 1",
            (account, symbol),
        ).fetchall()
    return Latecomer(*rows[0]) if rows else None
