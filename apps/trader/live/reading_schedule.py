"""Decides when an account is read again: regularly, at once after an own order, soon after events.

Events of the account may arrive many times a second, and after each of them every symbol reads the
account. So there is a pause between such readings, which grows with the number of symbols.
"""

import time

from trader.live.book import LiveBook
from trader.live.reading_pause import ReadingPause


class ReadingSchedule:
    """Decides when one symbol's account is read next."""

    def __init__(self, book: LiveBook) -> None:
        """Begin; the account is due to be read at once."""
        self._book = book
        self._pause = ReadingPause(book.times.read_again)
        self._requested_at = -1e9
        self._is_soon = True
        self._has_event = False

    @property
    def has_failed(self) -> bool:
        """Return whether the last completed reading failed."""
        return self._pause.has_failed

    def read_soon(self) -> None:
        """Request a reading of the account at once; after failed readings, after their pause."""
        self._is_soon = True

    def note_event(self) -> None:
        """Request a reading of the account after an event, unless the last one was a moment ago."""
        self._has_event = True

    def note_begun(self) -> None:
        """Note that a reading begins."""
        self._requested_at, self._is_soon, self._has_event = time.monotonic(), False, False
        self._pause.note_begun()

    def note_read(self) -> None:
        """Note that the account was read."""
        self._pause.note_read()

    def note_ended(self) -> None:
        """Note that no reading is under way: a reading without a result has failed."""
        self._pause.note_ended(self._regular_pause_seconds)

    def is_due(self, *, is_again: bool) -> bool:
        """Return whether a reading of the account is due.

        Args:
            is_again: Whether missing coins require a second reading now.
        """
        if not self._pause.is_over:
            return False
        book = self._book
        waited = time.monotonic() - self._requested_at
        after_event = book.times.after_event * max(book.broker.symbols, 1)
        is_soon = self._is_soon or is_again or (self._has_event and waited >= after_event)
        return is_soon or waited >= self._regular_pause_seconds

    @property
    def _regular_pause_seconds(self) -> float:
        """Return the time between two regular readings, wall seconds."""
        book = self._book
        has_stream = book.broker.stream_opened_ms is not None
        return max(
            book.times.poll_with_stream if has_stream else book.times.poll,
            book.times.poll_per_symbol * book.broker.symbols,
        )
