"""The computer's clocks and sleep, for pauses of reads, and the rate limit bans of an exchange.

Pauses and bans count wall seconds, never market time. Tests pass other implementations.
"""

import asyncio
import time
from typing import Final, Protocol

from onetape.core.rate_limit_ban import RateLimitBan

#: A clock that goes on while the computer sleeps: CLOCK_MONOTONIC of Linux stops then, that of
#: macOS does not.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class WallClock(Protocol):
    """The computer's clocks and sleep; a test passes an object whose sleep takes no time."""

    def get_monotonic_seconds(self) -> float:
        """Return the seconds of a clock that never runs back; its zero has no meaning."""
        ...

    def get_epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC, which processes share."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class ComputerWallClock:
    """The clocks and sleep of this computer."""

    def get_monotonic_seconds(self) -> float:
        """Return the seconds of a clock that never runs back and goes on while asleep."""
        return time.clock_gettime(_CLOCK)

    def get_epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)


class RateLimitBans(Protocol):
    """Rate limit bans of one exchange, which all clients on an internet address share.

    Clients in one process share the object, processes share a file.
    """

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban that ends last, even if it is over; None: no ban yet."""
        ...

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban, unless a known ban ends later."""
        ...


class ProcessRateLimitBans:
    """Rate limit bans that only the clients of this process share."""

    def __init__(self) -> None:
        """Initialise without a ban."""
        self._latest: RateLimitBan | None = None

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban that ends last, even if it is over; None: no ban yet."""
        return self._latest

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban, unless a known ban ends later."""
        if ban.replaces(self._latest):
            self._latest = ban
