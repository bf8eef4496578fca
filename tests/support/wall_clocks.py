"""Wall clocks for tests of waits: time jumps to the end of each sleep."""

import asyncio

from onetape.exchange.wall_clock import ComputerWallClock

#: 2024-03-01 00:20 UTC.
START_MS = 1_709_252_400_000


class QuickWall:
    """Wall time that jumps to the end of each sleep."""

    def __init__(self) -> None:
        """Begin at a fixed time."""
        self.now = 0.0
        """Seconds since then."""
        self.slept: list[float] = []
        """Every pause, in seconds."""
        self.step_ms = 0
        """Milliseconds by which a test has set the time of day ahead."""

    def get_monotonic_seconds(self) -> float:
        """Return seconds that never run back."""
        return self.now

    def get_epoch_ms(self) -> int:
        """Return epoch milliseconds."""
        return START_MS + int(self.now * 1_000) + self.step_ms

    async def sleep(self, seconds: float) -> None:
        """Let the time pass; every other sleeper has slept as long."""
        self.slept.append(seconds)
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


class AdjustableWall(ComputerWallClock):
    """The computer's time, which a test adjusts."""

    def __init__(self) -> None:
        """Begin with the time as it is."""
        self.moved_seconds = 0.0
        """Seconds by which the test has moved the time."""

    def get_monotonic_seconds(self) -> float:
        """Return seconds that never run back."""
        return super().get_monotonic_seconds() + self.moved_seconds

    def get_epoch_ms(self) -> int:
        """Return epoch milliseconds."""
        return super().get_epoch_ms() + int(self.moved_seconds * 1_000)


class AdjustableSeconds:
    """Real time that a test moves."""

    def __init__(self) -> None:
        """Begin at ten minutes."""
        self.now = 600.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now
