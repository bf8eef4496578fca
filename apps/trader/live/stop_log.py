"""Stores where the stop of a position is, and how long the position had none at the exchange."""

import time
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from onetape.store.stop_states import (
    StopPlaceName,
    StopState,
    read_stop_state,
    store_stop_state,
)
from trader.live.book import LiveBook

#: Between two writes while nothing but the time changes, wall seconds.
_WRITE_SECONDS: Final = 5.0
#: Why a position has no stop where the settings give it none.
NO_RULE: Final = "the rules have no stop"


class StopLog:
    """The stop of one symbol's position, as it is stored."""

    def __init__(self, book: LiveBook) -> None:
        """Go on with the position that is open, if it was stored."""
        self._book = book
        entry = book.entry_order_id
        self._state = None if entry is None else read_stop_state(book.context.store, entry)
        self._written = -1e9

    @property
    def unprotected_ms(self) -> int:
        """Return how long the position has had no stop at the exchange, market milliseconds."""
        return 0 if self._state is None else self._state.unprotected_ms

    def note(self, place: StopPlaceName, price: Decimal | None, reason: str, now_ms: int) -> None:
        """Note where the stop of the open position is now; stored where that is new.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be written.
        """
        entry = self._book.protected_entry
        if entry is None:
            return
        if self._state is not None and self._state.entry_order_id != entry:
            self.note_closed()
        before = self._state
        if before is None:
            before = read_stop_state(self._book.context.store, entry)
        if before is None:
            opened_ms = min(self._opened_ms(entry, now_ms), now_ms)
            before = StopState(entry, "none", None, "", opened_ms, 0, opened_ms)
            self._written = -1e9
        is_moved = (before.place, before.price, before.reason) != (place, price, reason)
        is_due = place != "exchange" and time.monotonic() - self._written >= _WRITE_SECONDS
        after = replace(
            before,
            place=place,
            price=price,
            reason=reason,
            since_ms=before.since_ms if before.place == place else now_ms,
            unprotected_ms=before.unprotected_at(now_ms),
            updated_ms=now_ms,
        )
        self._state = after
        if is_moved or is_due:
            self._write(after)

    def note_no_rule(self, now_ms: int) -> None:
        """Note that the rules have no stop for the open position, where one of it was stored.

        A position that never had a stop has no time without one.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be written.
        """
        if self._state is not None:
            self.note("none", None, NO_RULE, now_ms)

    def note_closed(self) -> None:
        """Note that the position is closed, where one was open.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be written.
        """
        state = self._state
        if state is None:
            return
        closed_ms = max((one.executed_ms for one in self._book.fills), default=state.updated_ms)
        ended_ms = max(state.updated_ms, closed_ms)
        self._write(
            replace(state, unprotected_ms=state.unprotected_at(ended_ms), updated_ms=ended_ms)
        )
        self._state = None

    def _write(self, state: StopState) -> None:
        self._written = time.monotonic()
        store_stop_state(self._book.context.store, state, self._book.fence)

    def _opened_ms(self, entry: str, now_ms: int) -> int:
        """Return when the first of a position's coins were bought, epoch milliseconds."""
        return min(
            (one.executed_ms for one in self._book.fills if one.client_order_id == entry),
            default=now_ms,
        )
