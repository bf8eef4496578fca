"""The pause after a failed reading of the account: a second, doubled with each further failure.

Many events require a reading at once. Without a pause, each of them would start another reading as
soon as the failed one ends, which would exceed the request rate and prolong a ban.
"""

import time


class ReadingPause:
    """Pause before the next reading of one symbol's account after failed readings."""

    def __init__(self, first_seconds: float) -> None:
        """Initialise; no reading has failed.

        Args:
            first_seconds: Pause after the first failure, wall seconds.
        """
        self._first_seconds = first_seconds
        self._failures = 0
        self._not_before = 0.0
        self._is_under_way = False

    @property
    def is_over(self) -> bool:
        """Return whether the pause is over and a reading may begin."""
        return time.monotonic() >= self._not_before

    @property
    def has_failed(self) -> bool:
        """Return whether the last completed reading failed."""
        return self._failures > 0

    def note_begun(self) -> None:
        """Note that a reading begins."""
        self._is_under_way = True

    def note_read(self) -> None:
        """Note that the account was read."""
        self._is_under_way = False
        self._failures, self._not_before = 0, 0.0

    def note_ended(self, longest_seconds: float) -> None:
        """Note that no reading is under way: a reading without a result has failed.

        Args:
            longest_seconds: Longest pause, wall seconds.
        """
        if not self._is_under_way:
            return
        self._is_under_way = False
        pause = min(self._first_seconds * 2 ** min(self._failures, 20), longest_seconds)
        self._failures += 1
        self._not_before = time.monotonic() + pause
