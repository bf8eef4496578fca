"""A pause that grows while an operation keeps failing. Wall time."""

import time


class Backoff:
    """Times when a failed operation may be tried again."""

    def __init__(self, *, first_seconds: float, longest_seconds: float) -> None:
        """Initialise without a pause; the first lasts `first_seconds`, each next one doubles."""
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
            known_seconds: Time in which a retry is known to fail; this pause is as long.
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
