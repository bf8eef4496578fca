"""Compute the pauses before a stream is opened again.

An exchange may accept a connection and end it at once, again and again. So not only a failed dial
but also a connection that was open only for a short time makes the next pause longer.
"""

import time
from typing import Final

#: The first pause, wall seconds; each later pause is twice as long.
FIRST_PAUSE_SECONDS: Final = 0.2
#: Time that a connection must have been open, so that the next pause is the first again, wall
#: seconds.
STEADY_SECONDS: Final = 10.0


class RedialPause:
    """Growing pauses of one stream between attempts to open it."""

    def __init__(self, *, after_dials: float, after_connections: float) -> None:
        """Initialise; the next pause is the first.

        Args:
            after_dials: The longest pause after a failed dial, wall seconds.
            after_connections: The longest pause after a connection that was open for less than
                `STEADY_SECONDS`, wall seconds.
        """
        self._after_dials = after_dials
        self._after_connections = after_connections
        self._dials = 0
        self._connections = 0
        self._opened: float | None = None

    def note_open(self) -> None:
        """Note that the connection is open; further calls for a connection change nothing."""
        if self._opened is None:
            self._opened = time.monotonic()

    def take_next_seconds(self) -> float:
        """Return the next pause, seconds; called once after each failed dial or lost connection."""
        opened, self._opened = self._opened, None
        if opened is None:
            pause_seconds = min(FIRST_PAUSE_SECONDS * 2**self._dials, self._after_dials)
            self._dials = min(self._dials + 1, 20)
            return pause_seconds
        self._dials = 0
        if time.monotonic() - opened >= STEADY_SECONDS:
            self._connections = 0
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2**self._connections, self._after_connections)
        self._connections = min(self._connections + 1, 20)
        return pause_seconds
