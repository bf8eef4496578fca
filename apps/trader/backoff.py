"""A pause before the next attempt that doubles with each failure, on the wall clock."""

import time


class Backoff:
    """Decides when a failed operation may be tried again; it waits for nothing itself."""

    def __init__(self, *, first_seconds: float, longest_seconds: float) -> None:
        """Initialise without a pause.

        Args:
            first_seconds: Length of the first pause; each next one is twice as long.
            longest_seconds: Maximum length of a pause.
        """
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self.reset()

    @property
    def is_over(self) -> bool:
        """Return whether the pause is over and the operation may be tried again."""
        return time.monotonic() >= self._until

    def begin_pause(self, known_seconds: float = 0.0) -> float:
        """Begin the next pause, and return its length in seconds.

        Args:
            known_seconds: Time in which another attempt is known to fail: the length of this pause.
                0: the pause has the usual length.
        """
        seconds = self._next_seconds
        self._next_seconds = min(2 * seconds, self._longest_seconds)
        if known_seconds > 0:
            seconds = known_seconds
        self._until = time.monotonic() + seconds
        return seconds

    def reset(self) -> None:
        """End the pause; the next pause has the first length again."""
        self._until = 0.0
        self._next_seconds = min(self._first_seconds, self._longest_seconds)
