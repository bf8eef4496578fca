"""Clocks of market time that are passed to the code that needs the time; times as text.

Market time is the time of the exchange, which decides which candle is closed, and schedules. In a
simulation market time may run fast or stand still. Timeouts, pauses and idle timers count wall
seconds, the seconds of the computer's monotonic clock. A `Clock` converts market time into wall
seconds.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

from onetape.core.errors import UsageError


class Clock(Protocol):
    """Clock of market time: of the computer, of an exchange, or of the simulator."""

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        ...

    def wall_seconds(self, market_ms: int) -> float:
        """Return the wall-clock seconds that `market_ms` of market time take."""
        ...


class SystemClock:
    """Market time is the computer's time."""

    def now_ms(self) -> int:
        """Return the computer's time in epoch milliseconds UTC."""
        return time.time_ns() // 1_000_000

    def wall_seconds(self, market_ms: int) -> float:
        """Return `market_ms` in seconds."""
        return market_ms / 1_000


class ScaledClock:
    """Market time that began at an anchor and runs `speed` times as fast as the wall clock."""

    def __init__(self, anchor_ms: int, speed: float) -> None:
        """Start at `anchor_ms` (epoch milliseconds) now; a `speed` of 60 passes a minute a second.

        Raises:
            ValueError: speed is not above zero.
        """
        if not speed > 0:
            msg = f"speed must be above zero, found {speed}"
            raise ValueError(msg)
        self._anchor_ms = anchor_ms
        self._started = time.monotonic()
        self.speed = speed

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        elapsed = time.monotonic() - self._started
        return self._anchor_ms + int(elapsed * self.speed * 1_000)

    def wall_seconds(self, market_ms: int) -> float:
        """Return the wall-clock seconds that `market_ms` of market time take."""
        return market_ms / 1_000 / self.speed


class SteppedClock:
    """Market time that stands still until it is moved forward."""

    def __init__(self, now_ms: int, *, pace: float = 0.0) -> None:
        """Start at `now_ms`.

        Args:
            now_ms: Current time, epoch milliseconds.
            pace: Average speed at which the clock is moved, as a multiple of the wall clock; 0: not
                known.
        """
        self._now_ms = now_ms
        self.pace = pace

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        return self._now_ms

    def wall_seconds(self, market_ms: int) -> float:
        """Return the wall seconds that `market_ms` take at the pace of the clock.

        Without a pace the result is 0: only requests move the clock, so waiting is useless.
        """
        return market_ms / 1_000 / self.pace if self.pace else 0.0

    def advance_to(self, now_ms: int) -> None:
        """Move the clock to `now_ms`, unless that is earlier: the clock never runs back."""
        self._now_ms = max(self._now_ms, now_ms)


def format_utc(timestamp: int) -> str:
    """Return epoch seconds as `2024-01-31 14:00`, UTC."""
    return datetime.fromtimestamp(timestamp, tz=UTC).strftime("%Y-%m-%d %H:%M")


def format_day(timestamp: int) -> str:
    """Return epoch seconds as `2024-01-31`, with the time of day if it is not midnight."""
    moment = datetime.fromtimestamp(timestamp, tz=UTC)
    midnight = moment.hour == moment.minute == moment.second == 0
    return moment.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")


def check_range(start: int, end: int) -> None:
    """Refuse a range whose end is not after its start.

    Raises:
        UsageError: the end is not after the start; names the settings `to` and `from`.
    """
    if end <= start:
        raise UsageError(
            f"to {format_day(end)} is not after from {format_day(start)}; the end is exclusive, so "
            "name a later day",
            setting=("to", "from"),
        )
