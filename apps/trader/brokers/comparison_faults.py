"""The last error that comparing an account with its exchange has raised, and the pause after it.

The error ends the session's tasks, which are built again (`supervisor`), and the next comparison
may raise it again. So the pause before the next comparison grows; the protection of a position does
not wait for it.
"""

import time
from typing import Final

from onetape.core.errors import OnetapeError, StoreError
from onetape.core.message_text import format_error

_LONGEST_PAUSE_SECONDS: Final = 300.0


class ComparisonFaults:
    """The error that comparing an account in one market has raised, until a comparison succeeds."""

    def __init__(self) -> None:
        """Initialise without an error."""
        self.text = ""
        """The last error in one line; empty if the last comparison succeeded."""
        self._failures = 0
        """Number of errors since the last success."""
        self._not_before = 0.0
        """End of the pause, monotonic seconds."""

    @property
    def is_over(self) -> bool:
        """Return whether the pause after an error of a comparison is over."""
        return time.monotonic() >= self._not_before

    def note_raised(self, error: Exception, first_seconds: float) -> None:
        """Note an error of an account comparison, and begin the pause before the next one.

        Errors that do not come from the comparison are left out, such as a file that is locked or
        full, or an order that another process has changed.

        Args:
            error: The raised error.
            first_seconds: Pause after the first error, seconds; it doubles with each further error,
                up to 300 s.
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
