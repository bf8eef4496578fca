"""Stores where a position's stop is, and for how long the exchange has had none.

A stop is at the exchange, watched by the trader ("here"), or nowhere ("none"). `trader status` and
reports read these rows.
"""

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

#: Time between two writes while only the time changes, wall seconds.
_WRITE_SECONDS: Final = 5.0
#: Reason why a position has no stop if the settings state none.
NO_RULE: Final = "the rules have no stop"


class StopLog:
    """The stored stop of one symbol's position."""

    def __init__(self, book: LiveBook) -> None:
        """Continue with the open position, if its stop was stored."""
        self._book = book
        entry = book.entry_order_id
        self._state = None if entry is None else read_stop_state(book.context.store, entry)
        self._written = -1e9

    @property
    def unprotected_ms(self) -> int:
        """Return how long the position has had no stop at the exchange, market milliseconds."""
        return 0 if self._state is None else self._state.unprotected_ms

    def note(self, place: StopPlaceName, price: Decimal | None, reason: str, now_ms: int) -> None:
        """Note where the stop of the open position is, and store a change.

        While the exchange has no stop, the time without one is stored every 5 s.

        Args:
            place: `exchange`, `here` (watched by the trader) or `none`.
            price: Level of the stop, quote currency; None: there is no stop.
            reason: Reason why the stop is not at the exchange, or not for all coins; empty: it is.
            now_ms: Market time, epoch milliseconds.

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
            opened_ms = min(self._find_opened_ms(entry, now_ms), now_ms)
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
            unprotected_ms=before.compute_unprotected_ms(now_ms),
            updated_ms=now_ms,
        )
        self._state = after
        if is_moved or is_due:
            self._write(after)

    def note_no_rule(self, now_ms: int) -> None:
        """Note that the rules no longer have a stop for the open position.

        For a position that never had a stop, no time without a stop is counted.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be written.
        """
        if self._state is not None:
            self.note("none", None, NO_RULE, now_ms)

    def note_closed(self) -> None:
        """Note that the position is closed, if one was open.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be written.
        """
        state = self._state
        if state is None:
            return
        closed_ms = max((fill.executed_ms for fill in self._book.fills), default=state.updated_ms)
        ended_ms = max(state.updated_ms, closed_ms)
        self._write(
            replace(
                state, unprotected_ms=state.compute_unprotected_ms(ended_ms), updated_ms=ended_ms
            )
        )
        self._state = None

    def _write(self, state: StopState) -> None:
        self._written = time.monotonic()
        store_stop_state(self._book.context.store, state, self._book.fence)

    def _find_opened_ms(self, entry: str, now_ms: int) -> int:
        """Return the time of a position's first buy, epoch milliseconds."""
        return min(
            (fill.executed_ms for fill in self._book.fills if fill.client_order_id == entry),
            default=now_ms,
        )
