"""Wall time, and the rate limit bans of an exchange: what a read waits by, and for whom.

Wall time is the computer's. Market time decides no pause.
"""

import asyncio
import time
from typing import Protocol


class Wall(Protocol):
    """The computer's time; a test gives one that passes at once."""

    def seconds(self) -> float:
        """Return seconds that never run back, from no particular beginning."""
        ...

    def epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC, which processes share."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class ComputerWall:
    """Wall time as it is."""

    def seconds(self) -> float:
        """Return seconds that never run back."""
        return time.monotonic()

    def epoch_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class RateLimitBans(Protocol):
    """Until when no request is sent to one exchange: it counts by address, not by program.

    Whoever shares one obeys it: clients in one process share the object, processes a file.
    """

    def until_ms(self) -> int | None:
        """Return the end (epoch milliseconds, computer's time), past or not, or None."""
        ...

    def extend(self, until_ms: int, reason: str) -> None:
        """Add a ban; one that ends later stays."""
        ...


class ProcessRateLimitBans:
    """Rate limit bans that only this process knows."""

    def __init__(self) -> None:
        """Begin with none."""
        self._until_ms: int | None = None

    def until_ms(self) -> int | None:
        """Return the end, or None."""
        return self._until_ms

    def extend(self, until_ms: int, reason: str) -> None:
        """Add a ban; one that ends later stays."""
        del reason
        self._until_ms = max(until_ms, self._until_ms or 0)
