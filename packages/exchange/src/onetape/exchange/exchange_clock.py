"""Market time of a real exchange, which no step of the computer's clock moves.

It is the exchange's own time at the last comparison, carried on by the computer's monotonic clock.
Before the first comparison it is the computer's time at the start, carried on in the same way.
"""

from typing import Final

from msgspec import Struct

from onetape.exchange.waiting import Wall

#: How often two clocks are read next to each other; the readings that are closest count.
_READINGS: Final = 3


class TimeSample(Struct, frozen=True):
    """One response of an exchange to the question for its time."""

    exchange_ms: int
    """Time of the exchange, epoch milliseconds."""
    at_seconds: float
    """Monotonic time at which the response arrived, seconds."""
    slack_ms: int = 0
    """Possible error of `exchange_ms`, milliseconds: an HTTP date has whole seconds."""


class ExchangeClock:
    """Clock of one exchange. Threads may share it: its state is replaced as a whole."""

    def __init__(self, wall: Wall) -> None:
        """Begin with the computer's time.

        Args:
            wall: The computer's time, both the one of day and the monotonic one.
        """
        self._wall = wall
        self._sample = TimeSample(wall.epoch_ms(), wall.seconds())
        self._step_base_ms = self._parting_ms()
        self.is_compared = False
        """Whether the exchange has named its time."""

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        return self.at_ms(self._wall.seconds())

    def at_ms(self, seconds: float) -> int:
        """Return the market time of a moment of the monotonic clock, epoch milliseconds."""
        sample = self._sample
        return sample.exchange_ms + round((seconds - sample.at_seconds) * 1_000)

    def wall_seconds(self, market_ms: int) -> float:
        """Return `market_ms` in seconds."""
        return market_ms / 1_000

    def departure_ms(self, sample: TimeSample) -> int:
        """Return how far a sample is ahead of this clock's time of the same moment.

        It is 0 where the slack of the sample explains the difference.
        """
        ahead_ms = sample.exchange_ms - self.at_ms(sample.at_seconds)
        return ahead_ms if ahead_ms > 0 else min(0, ahead_ms + sample.slack_ms)

    def set(self, sample: TimeSample) -> None:
        """Set the clock to a sample of the exchange's time.

        The response was on its way for a while, so this clock is behind the exchange by that at
        most, and never ahead: a clock that is ahead would take a forming candle for a closed one.
        """
        is_as_exact = self.is_compared and sample.slack_ms and self.departure_ms(sample) == 0
        self.is_compared = True
        if not is_as_exact:
            self._sample = sample

    def begin_again(self) -> None:
        """Carry on from the computer's time, as at the start."""
        self._sample = TimeSample(self._wall.epoch_ms(), self._wall.seconds())

    @property
    def skew_ms(self) -> int:
        """Return how far the computer's time of day is ahead of market time, milliseconds."""
        return self._wall.epoch_ms() - self.now_ms()

    def take_step_ms(self) -> int:
        """Return how far the time of day has parted from the monotonic clock since the last call.

        The clock was set, or a virtual machine stood still.
        """
        before, self._step_base_ms = self._step_base_ms, self._parting_ms()
        return self._step_base_ms - before

    def _parting_ms(self) -> int:
        """Read both clocks at one moment: a stop of the process between them is no step."""
        readings: list[tuple[float, int]] = []
        for _ in range(_READINGS):
            seconds = self._wall.seconds()
            parting_ms = self._wall.epoch_ms() - round(seconds * 1_000)
            readings.append((self._wall.seconds() - seconds, parting_ms))
        return min(readings)[1]
