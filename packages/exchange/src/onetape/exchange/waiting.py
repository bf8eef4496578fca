"""Wall time, which the pauses of reads follow, and the rate limit bans of an exchange.

Wall time is the computer's. Market time decides no pause.
"""

import asyncio
import time
from typing import Final, Protocol

from onetape.core.rate_limit_ban import RateLimitBan

#: CLOCK_MONOTONIC of Linux stands still while the computer sleeps; that of macOS goes on.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Wall(Protocol):
    """Wall time and sleep; a test passes an object whose sleep takes no time."""

    def get_monotonic_seconds(self) -> float:
        """Return seconds that never run back, from no particular beginning."""
        ...

    def get_epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC, which processes share."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class ComputerWall:
    """Wall time and sleep of the computer."""

    def get_monotonic_seconds(self) -> float:
        """Return seconds that never run back; those that the computer sleeps count."""
        return time.clock_gettime(_CLOCK)

    def get_epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class RateLimitBans(Protocol):
    """Rate limit bans of one exchange, which counts by address and not by program.

    All clients that share the bans wait for their ends: clients in one process share the object,
    processes share a file.
    """

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban that ends last, past or not, or None."""
        ...

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban; one that ends later stays."""
        ...


class ProcessRateLimitBans:
    """Rate limit bans that only this process has."""

    def __init__(self) -> None:
        """Begin without a ban."""
        self._latest: RateLimitBan | None = None

    def find_latest(self) -> RateLimitBan | None:
        """Return the ban that ends last, past or not, or None."""
        return self._latest

    def extend(self, ban: RateLimitBan) -> None:
        """Add a ban; one that ends later stays."""
        if ban.replaces(self._latest):
            self._latest = ban
