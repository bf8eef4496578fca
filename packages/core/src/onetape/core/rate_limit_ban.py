"""A rate limit ban: the time in which an exchange gets no request from this computer."""

from typing import Final

from msgspec import Struct

#: A ban that began this much later than now was stored by a clock that was ahead, milliseconds.
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
        """Return whether this newer ban replaces the known ban.

        The ban that ends later counts. If the clock was set back since the known ban was stored,
        its end belongs to another clock.
        """
        if known is None or self.until_ms > known.until_ms:
            return True
        if self.began_ms is None or known.began_ms is None:
            return False
        return known.began_ms > self.began_ms + CLOCK_TOLERANCE_MS
