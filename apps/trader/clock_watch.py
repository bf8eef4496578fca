"""Compares the computer's clock with the time of the exchange, and reports a wrong clock.

The clocks are compared at the start, every 3 minutes, and after the computer's clock was set.
Market time follows the exchange and the monotonic clock, so a wrong clock of the computer changes
no candle. A line is printed anyway, because leases, bans and other programs use that clock.
"""

from onetape.cli.output import print_line
from onetape.core.errors import ExchangeError
from onetape.exchange.clock_steps import ClockSteps
from onetape.exchange.exchange_clock import ExchangeClock
from onetape.exchange.rest import RestExchange
from onetape.exchange.wall_clock import ComputerWallClock, WallClock
from trader.stalls import get_computer_seconds
from trader.states import Problem, TraderStates

#: Interval between two comparisons of the clocks, wall seconds.
COMPARE_SECONDS = 180.0
#: Pause after a failed comparison, wall seconds.
RETRY_SECONDS = 10.0
#: Jump of the time of day against the monotonic clock that means that the clock was set, ms.
STEP_MS = 1_000
#: Error of the clock above which a line is printed, milliseconds.
SKEW_MS = 1_000
#: Error of the clock above which the trader is degraded, milliseconds.
DEGRADING_SKEW_MS = 60_000
#: Name under which the problem is reported to the trader's states.
CLOCK_PROBLEM = "clock"


class ClockWatch:
    """Compares the computer's clock with the time of one exchange."""

    def __init__(
        self, exchange: RestExchange, states: TraderStates, wall: WallClock | None = None
    ) -> None:
        """Initialise; the first comparison is due at once.

        Args:
            exchange: Exchange whose time is requested.
            states: States of the trader, which get the problem of a wrong clock.
            wall: The computer's clocks where the clock of the exchange is that of a simulator;
                None: those of this computer.
        """
        self._exchange = exchange
        self._states = states
        self._steps = ClockSteps(wall or ComputerWallClock())
        self._due = 0.0
        """Time of the next comparison, seconds of `get_computer_seconds`."""
        self._was_set = False
        """Whether the clock was set, and the exchange has not sent its time since."""
        self._warned_ms = 0
        """Error of the clock that was printed last, milliseconds; 0: none."""

    async def compare_if_due(self) -> None:
        """Compare the clocks if a comparison is due or the computer's clock was set.

        Raises:
            ExchangeError: the clock was set and the exchange does not send its time; call again.
        """
        clock = self._exchange.clock
        if not isinstance(clock, ExchangeClock):
            # The simulator's clock requests the time by itself.
            own_ms = self._steps.take_step_ms()
            if abs(own_ms) > STEP_MS:
                print_line(f"{_format_step(own_ms)}; candles go by the time of the simulator")
            return
        step_ms = clock.steps.take_step_ms()
        if abs(step_ms) > STEP_MS:
            self._was_set = True
            print_line(
                f"{_format_step(step_ms)}; candles go by {self._describe_time_source()}; "
                "the stream may be opened again"
            )
        if not self._was_set and get_computer_seconds() < self._due:
            return
        self._due = get_computer_seconds() + RETRY_SECONDS
        try:
            skew_ms = await self._exchange.compare_clocks()
        except ExchangeError:
            if self._was_set:
                raise
            return  # The monotonic clock is right for a long time; the request is repeated soon.
        was_set, self._was_set = self._was_set, False
        self._due = get_computer_seconds() + COMPARE_SECONDS
        if was_set and not self._exchange.states_time:
            clock.begin_again()
            self._report_unknown()
            return
        self._report(skew_ms)

    def _describe_time_source(self) -> str:
        """Return a text with the clock of candles after the computer's clock was set."""
        exchange = self._exchange.endpoint.exchange
        if self._exchange.states_time:
            return f"the time of {exchange}, which is requested again"
        return f"this computer's clock, because {exchange} does not state its time"

    def _report_unknown(self) -> None:
        """Report that the clock was set, and that the exchange does not state its time.

        The problem ends with the next comparison.
        """
        exchange = self._exchange.endpoint.exchange
        self._states.report(
            CLOCK_PROBLEM,
            Problem(
                f"this computer's clock was set, and {exchange} does not state its time",
                "no entries for 3 minutes, exits go on; candles go by this computer's clock",
                "check the clock (NTP)",
            ),
        )

    def _report(self, skew_ms: int) -> None:
        """Report, print or clear the error of the computer's clock.

        Args:
            skew_ms: Time of the computer minus time of the exchange, milliseconds.
        """
        exchange = self._exchange.endpoint.exchange
        where = f"this computer's clock is {_format_skew(skew_ms)} that of {exchange}"
        if abs(skew_ms) > DEGRADING_SKEW_MS:
            measure = "no entries meanwhile, exits go on; candles go by the time of the exchange"
            self._states.report(CLOCK_PROBLEM, Problem(where, measure, "set the clock (NTP)"))
            return
        self._states.clear_problem(CLOCK_PROBLEM)
        if abs(skew_ms) <= SKEW_MS:
            self._warned_ms = 0
        elif abs(skew_ms - self._warned_ms) > SKEW_MS:
            self._warned_ms = skew_ms
            print_line(f"{where}; candles go by the time of the exchange; set the clock (NTP)")


def _format_step(step_ms: int) -> str:
    span = f"by {abs(step_ms) / 1_000:,.1f} s"
    if step_ms < 0:
        return f"this computer's clock was set back {span}"
    return f"this computer's clock was set forward {span}"


def _format_skew(skew_ms: int) -> str:
    return f"{abs(skew_ms) / 1_000:,.1f} s {'ahead of' if skew_ms > 0 else 'behind'}"
