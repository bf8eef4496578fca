"""Stores the error of an account comparison while the session is built again.

Each comparison may raise the error again. So later comparisons wait, longer each time; the
protection of a position does not wait for them.
"""

import time
from typing import Final

from onetape.core.errors import OnetapeError, StoreError
from onetape.core.message_text import format_error

_LONGEST_PAUSE_SECONDS: Final = 300.0


class ComparisonFaults:
    """Errors of the comparisons of one symbol's account since the last successful one."""

    def __init__(self) -> None:
        """Begin without an error."""
        self.text = ""
        """The last error in one line; empty if the last comparison succeeded."""
        self._failures = 0
        self._not_before = 0.0

    @property
    def is_over(self) -> bool:
        """Return whether the pause after an error of a comparison is over."""
        return time.monotonic() >= self._not_before

    def note_raised(self, error: Exception, first_seconds: float) -> None:
        """Note an error of an account comparison; the next comparison waits.

        A file that is locked or full, or an order that another process has changed, is no error of
        the reading.

        Args:
            error: The raised error.
            first_seconds: Pause after the first error; doubles with each one that follows.
        """
        if isinstance(error, OnetapeError) and type(error) is not StoreError:
            return
        pause = min(first_seconds * 2 ** min(self._failures, 20), _LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._not_before = time.monotonic() + pause
        self.text = f"{type(error).__name__}: {format_error(error)}"

    def note_compared(self) -> None:
        """Note that the account and its history were compared without an error."""
        self.text, self._failures, self._not_before = "", 0, 0.0
