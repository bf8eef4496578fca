"""A rate limit ban: the time in which no request is sent to an exchange, after HTTP 429 or 418.

All processes on the computer share the ban over the database.
"""

from typing import Final

from msgspec import Struct

#: A ban whose beginning is later than now by more than this, milliseconds, was stored while the
#: computer's clock was ahead.
CLOCK_TOLERANCE_MS: Final = 5_000


class RateLimitBan(Struct, frozen=True):
    """A time in which no request is sent to one exchange."""

    until_ms: int
    """End of the ban, epoch milliseconds of the computer's time."""
    reason: str
    """The response that imposed the ban, such as `HTTP 418`."""
    began_ms: int | None = None
    """Beginning of the ban, epoch milliseconds of the computer's time; None: not stored."""

    def compute_left_ms(self, now_ms: int) -> int:
        """Return the remaining time of the ban, milliseconds; 0 or less: the ban is over.

        A ban that began later than now does not count: the computer's clock was set back since.

        Args:
            now_ms: The computer's time, epoch milliseconds.
        """
        if self.began_ms is None:
            return self.until_ms - now_ms
        if self.began_ms > now_ms + CLOCK_TOLERANCE_MS:
            return 0
        return min(self.until_ms - now_ms, self.until_ms - self.began_ms)

    def replaces(self, known: "RateLimitBan | None") -> bool:
        """Return whether this newer ban replaces the known ban: the ban that ends later counts.

        If the computer's clock was set back since the known ban was stored, this ban always counts.
        """
        if known is None or self.until_ms > known.until_ms:
            return True
        if self.began_ms is None or known.began_ms is None:
            return False
        return known.began_ms > self.began_ms + CLOCK_TOLERANCE_MS
