"""Read and write the table `stop_states`: where the stop of each live position is.

A stop is an order at the exchange, or a level that only the running trader watches. The time in
which a position had no stop at the exchange is counted.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from onetape.core.trading_rules import format_decimal
from onetape.store.database import Store
from onetape.store.leases import Fence, check_lease

#: Place of a stop. `here`: only the running trader watches the level; `none`: no stop exists.
StopPlaceName = Literal["exchange", "here", "none"]


class StopState(Struct, frozen=True):
    """The stop of one position, stored by the last trader that held the position."""

    entry_order_id: str
    """Client order id of the order that opened the position."""
    place: StopPlaceName
    """`here`: only the running trader watches the level; `none`: no stop sells."""
    price: Decimal | None
    """Price of the stop order or of the watched level, quote currency; None: not known."""
    reason: str
    """Reason why no stop is at the exchange, or the part that it covers; otherwise empty."""
    since_ms: int
    """Market time from which the stop is at this place, epoch milliseconds."""
    unprotected_ms: int
    """Time that the position had no stop at the exchange, until `updated_ms`, milliseconds."""
    updated_ms: int
    """Market time of the last change of the row, epoch milliseconds."""

    def compute_unprotected_ms(self, now_ms: int) -> int:
        """Return the time that an open position had no stop at the exchange, milliseconds.

        Args:
            now_ms: Market time, epoch milliseconds.
        """
        added = 0 if self.place == "exchange" else max(0, now_ms - self.updated_ms)
        return self.unprotected_ms + added


class UnprotectedTime(Struct, frozen=True):
    """Time in which the positions of an account had no stop at the exchange."""

    positions: int
    """Number of positions with a stored stop state."""
    total_ms: int
    """Sum over these positions, milliseconds."""
    longest_ms: int
    """Time of the position with the longest time, milliseconds."""


def store_stop_state(store: Store, state: StopState, fence: Fence) -> None:
    """Store where the stop of a position is; the stored state of the position is replaced.

    Raises:
        SafetyRefusal: another process took the account over.
        StoreError: the file cannot be written.
    """
    with store.write() as connection:
        check_lease(connection, fence)
        connection.execute(
            "INSERT OR REPLACE INTO stop_states (entry_order_id, place, price, reason, since_ms, "
            "unprotected_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                state.entry_order_id,
                state.place,
                None if state.price is None else format_decimal(state.price),
                state.reason,
                state.since_ms,
                state.unprotected_ms,
                state.updated_ms,
            ),
        )


def read_stop_state(store: Store, entry_order_id: str) -> StopState | None:
    """Return the stop state of a position; None if no trader has stored it.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT entry_order_id, place, price, reason, since_ms, unprotected_ms, updated_ms "
            "FROM stop_states WHERE entry_order_id = ?",
            (entry_order_id,),
        ).fetchall()
    if not rows:
        return None
    entry, place, price, *rest = rows[0]
    return StopState(entry, place, None if price is None else Decimal(price), *rest)


def read_unprotected_time(store: Store, account: str) -> UnprotectedTime | None:
    """Return the time without a stop of an account's positions; None: no state is stored.

    Raises:
        StoreError: the file cannot be read.
    """
    with store.read() as connection:
        rows = connection.execute(
            "SELECT count(*), sum(s.unprotected_ms), max(s.unprotected_ms) FROM stop_states s "
            "JOIN orders o ON o.client_order_id = s.entry_order_id WHERE o.account = ?",
            (account,),
        ).fetchall()
    count, total, longest = rows[0]
    return UnprotectedTime(count, total, longest) if count else None
