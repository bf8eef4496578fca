"""The simulator's market time: real, accelerated, or stepped by a driver.

A driver is the program that moves the clock: a test, a drill or the demo.
"""

from typing import Final

from onetape.core.clock import Clock, ScaledClock, SteppedClock, SystemClock
from onetape.core.errors import UsageError
from onetape.simulator.market.price_path import END_SECONDS, ORIGIN_SECONDS

REAL: Final = "real"
ACCELERATED: Final = "accelerated"
STEPPED: Final = "stepped"


class PacedClock(ScaledClock):
    """Market time that runs fast, but not past the time that its driver has allowed.

    So a program under test cannot fall behind on a slow machine: the driver allows more time after
    the program has printed its lines for the time before.
    """

    def __init__(self, anchor_ms: int, speed: float) -> None:
        """Start at `anchor_ms`, epoch milliseconds; the driver must allow time before it runs."""
        super().__init__(anchor_ms, speed)
        self._limit_ms = anchor_ms
        self._lost_ms = 0

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        return min(super().now_ms() - self._lost_ms, self._limit_ms)

    def allow_until(self, limit_ms: int) -> None:
        """Let time run on to `limit_ms`; a time that is allowed already changes nothing."""
        # The clock does not jump over the time in which it stood still.
        self._lost_ms += max(0, super().now_ms() - self._lost_ms - self._limit_ms)
        self._limit_ms = max(self._limit_ms, limit_ms)


def make_clock(*, start_ms: int | None = None, speed: float = 1.0, stepped: bool = False) -> Clock:
    """Return the market clock of these settings.

    Args:
        start_ms: Market time at the start, epoch milliseconds; None takes the computer's time.
        speed: Speed of market time as a multiple of wall time; above zero.
        stepped: Stand still until a driver moves the clock.

    Raises:
        UsageError: the speed is not above zero, a stepped clock has a speed, or the market
            has no prices at that time.
    """
    if not 0 < speed < float("inf"):
        raise UsageError(f"speed must be above 0, found {speed:g}")
    if stepped and speed != 1:
        raise UsageError(f"a stepped clock has no speed, found {speed:g}; leave one out")
    now_ms = SystemClock().now_ms() if start_ms is None else start_ms
    if not ORIGIN_SECONDS * 1_000 <= now_ms < END_SECONDS * 1_000:
        raise UsageError(
            "the simulated market has prices from 2010-01-01 to 2041-11-24 only; "
            "choose a start between them"
        )
    if stepped:
        return SteppedClock(now_ms)
    if start_ms is None and speed == 1:
        return SystemClock()
    return ScaledClock(now_ms, speed)


def get_clock_kind(clock: Clock) -> str:
    """Return `stepped`, `real` (the computer's time) or `accelerated` (every other running one)."""
    if isinstance(clock, SteppedClock):
        return STEPPED
    return REAL if isinstance(clock, SystemClock) else ACCELERATED


def get_clock_speed(clock: Clock) -> float:
    """Return the speed of a clock as a multiple of wall time.

    For a stepped clock it is the pace that its driver states, 0 if it states none.
    """
    if isinstance(clock, SteppedClock):
        return clock.pace
    return clock.speed if isinstance(clock, ScaledClock) else 1.0


def is_steady(clock: Clock) -> bool:
    """Return whether a clock runs by itself: no driver moves or stops it."""
    return isinstance(clock, SystemClock | ScaledClock) and not isinstance(clock, PacedClock)
