"""Measures times in which the trading thread did not run, so that the market was not watched.

A disk that hangs, SIGSTOP, `docker pause` and a computer that sleeps raise no error. The frames of
that time wait in the sockets, and are read at once when the thread runs again.
"""

from typing import Final

from onetape.core.clock import Clock
from onetape.exchange.wall_clock import ComputerWallClock

#: A thread that has not run for longer than this is a stall, seconds.
STALL_SECONDS: Final = 10.0
#: Time after a stall in which frames that waited in the sockets are read, seconds.
BACKLOG_SECONDS: Final = 5.0
_WALL: Final = ComputerWallClock()


def get_computer_seconds() -> float:
    """Return the computer's monotonic time, seconds, which also counts while it sleeps."""
    return _WALL.get_monotonic_seconds()


class StallWatch:
    """Measures how long the trading thread has not run."""

    def __init__(self, clock: Clock) -> None:
        """Initialise; nothing is measured before the first call of `note_running`.

        Args:
            clock: Market time. A stepped clock has no stalls, because it stands still as well.
        """
        self._clock = clock
        self._ran: float | None = None
        """Time when the thread last noted that it runs, seconds of the computer."""
        self._stall_ended: float | None = None
        """Time when the last stall was found, seconds of the computer; None: no stall yet."""

    def note_running(self) -> None:
        """Note that the thread runs; call it each second."""
        self._ran = get_computer_seconds()

    def take_stall(self) -> float:
        """Return the length of a stall that has just ended, seconds, once; 0: no stall."""
        if self._ran is None or self._clock.wall_seconds(1_000) <= 0:
            return 0.0
        now = get_computer_seconds()
        seconds = now - self._ran
        if seconds <= STALL_SECONDS:
            return 0.0
        self._ran = self._stall_ended = now
        return seconds

    @property
    def has_backlog(self) -> bool:
        """Return whether a stall has just ended, so that frames of that time may still arrive."""
        ended = self._stall_ended
        return ended is not None and get_computer_seconds() - ended < BACKLOG_SECONDS
