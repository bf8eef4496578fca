"""Market time of a real exchange, which does not change if the computer's clock is set.

Market time is the exchange's own time in its last response, plus the time since then by the
computer's monotonic clock. Before the first response, it begins with the computer's time at the
start.
"""

from msgspec import Struct

from onetape.exchange.clock_steps import ClockSteps
from onetape.exchange.wall_clock import WallClock


class TimeSample(Struct, frozen=True):
    """One response of an exchange to a request for its time."""

    exchange_ms: int
    """Time of the exchange, epoch milliseconds."""
    at_seconds: float
    """Monotonic time at which the response arrived, seconds."""
    slack_ms: int = 0
    """Possible error of `exchange_ms`, milliseconds: an HTTP date has whole seconds."""


class ExchangeClock:
    """Clock of one exchange. Threads may share it, because its state is replaced as a whole."""

    def __init__(self, wall: WallClock) -> None:
        """Initialise with the computer's time.

        Args:
            wall: The computer's clocks: the time of day, and the monotonic clock.
        """
        self._wall = wall
        self._sample = TimeSample(wall.get_epoch_ms(), wall.get_monotonic_seconds())
        self.steps = ClockSteps(wall)
        """Steps of the computer's time of day."""
        self.is_compared = False
        """Whether the exchange has returned its time since the start."""

    def now_ms(self) -> int:
        """Return the market time in epoch milliseconds UTC."""
        return self.convert_to_market_ms(self._wall.get_monotonic_seconds())

    def convert_to_market_ms(self, seconds: float) -> int:
        """Return the market time of a moment of the monotonic clock, epoch milliseconds."""
        sample = self._sample
        return sample.exchange_ms + round((seconds - sample.at_seconds) * 1_000)

    def wall_seconds(self, market_ms: int) -> float:
        """Return `market_ms` in seconds."""
        return market_ms / 1_000

    def compute_departure_ms(self, sample: TimeSample) -> int:
        """Return the milliseconds by which a sample is ahead of this clock; negative: behind.

        The result is 0 if the possible error of the sample explains the difference.
        """
        ahead_ms = sample.exchange_ms - self.convert_to_market_ms(sample.at_seconds)
        return ahead_ms if ahead_ms > 0 else min(0, ahead_ms + sample.slack_ms)

    def set(self, sample: TimeSample) -> None:
        """Set the clock to a sample of the exchange's time.

        The clock is behind the exchange by at most the transit time of the response, and never
        ahead: with a clock that is ahead, a forming candle would count as closed. A sample that is
        less exact than the clock and agrees with it changes nothing.
        """
        is_as_exact = (
            self.is_compared and sample.slack_ms and self.compute_departure_ms(sample) == 0
        )
        self.is_compared = True
        if not is_as_exact:
            self._sample = sample

    def begin_again(self) -> None:
        """Set the clock to the computer's time, as at the start."""
        self._sample = TimeSample(self._wall.get_epoch_ms(), self._wall.get_monotonic_seconds())

    @property
    def skew_ms(self) -> int:
        """Return the milliseconds by which the computer's time of day is ahead of market time."""
        return self._wall.get_epoch_ms() - self.now_ms()
