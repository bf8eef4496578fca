"""A rate limit ban: until when an exchange gets no request from this computer, and why."""

from msgspec import Struct


class RateLimitBan(Struct, frozen=True):
    """A time in which no request is sent to one exchange."""

    until_ms: int
    """End of the ban, epoch milliseconds of the computer's time."""
    reason: str
    """The response that imposed the ban, such as `HTTP 418`."""
