"""Finds steps of the computer's clock: its time of day against its monotonic clock."""

from typing import Final

from onetape.exchange.wall_clock import WallClock

#: Number of times that both clocks of the computer are read; the closest pair is used.
_READINGS: Final = 3


class ClockSteps:
    """Steps of the computer's time of day against its monotonic clock."""

    def __init__(self, wall: WallClock) -> None:
        """Initialise; steps are measured from now on.

        Args:
            wall: The computer's clocks: the time of day, and the monotonic clock.
        """
        self._wall = wall
        self._base_ms = self._read_offset_ms()

    def take_step_ms(self) -> int:
        """Return how far the time of day has moved against the monotonic clock since the last call.

        In milliseconds. A step means that the computer's clock was set, or that a virtual machine
        was suspended.
        """
        before, self._base_ms = self._base_ms, self._read_offset_ms()
        return self._base_ms - before

    def _read_offset_ms(self) -> int:
        """Return the time of day minus the monotonic clock, milliseconds.

        Of several readings of both clocks, the one in which the process was interrupted least is
        used.
        """
        readings: list[tuple[float, int]] = []
        for _ in range(_READINGS):
            seconds = self._wall.get_monotonic_seconds()
            offset_ms = self._wall.get_epoch_ms() - round(seconds * 1_000)
            readings.append((self._wall.get_monotonic_seconds() - seconds, offset_ms))
        return min(readings)[1]
