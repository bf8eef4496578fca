"""A live order that is not over, with its state in this process, and time limits."""

import math
import time
from decimal import Decimal

from msgspec.structs import replace

from onetape.core.trading import Order
from onetape.execution.orders import OrderState
from trader.live.times import LiveTimes
from trader.order_booking import TrackedOrder


class LiveOrder:
    """A tracked order and the requests about it."""

    def __init__(self, tracked: TrackedOrder) -> None:
        """Take an order that this process has not looked up yet."""
        self.tracked = tracked
        self.begun = time.monotonic()
        self.sent: float | None = None
        self.total_before: Decimal | None = tracked.state.total_before
        """Base currency on the account before the send, maybe by an earlier process; or None."""
        self.read_ms: int | None = tracked.state.read_ms
        """Exchange time of the reading of `total_before`, which lacks later executions.
        None: the total includes all executions that were booked before the send."""
        self.cancelled: float | None = None
        self.has_begun = False
        """Whether the stops are cancelled so that this exit can be sent."""
        self.bare_since: float | None = None
        """Time since this exit could not be sent although no stop rests, monotonic seconds."""
        self.looked: float | None = None
        self.looks = 0
        self.absences: list[float] = []
        self._nowhere_since: float | None = None
        self._is_nowhere = False
        self.is_look_needed = False
        """Whether the order has to be looked up at the exchange, although it may rest for days."""

    @property
    def order(self) -> Order:
        """Return the stored order."""
        return self.tracked.order

    @property
    def state(self) -> OrderState:
        """Return the state of the order by its events."""
        return self.tracked.state

    @property
    def identity(self) -> str:
        """Return the client order id of the order."""
        return self.tracked.order.client_order_id

    @property
    def is_unsent(self) -> bool:
        """Return whether the order is stored and was never sent."""
        return self.state.stage == "intended"

    @property
    def waited(self) -> float:
        """Return the time since the send, wall seconds; infinite if another process sent it."""
        return math.inf if self.sent is None else time.monotonic() - self.sent

    @property
    def is_nowhere(self) -> bool:
        """Return whether the exchange shows no trace of a stop whose send has no response.

        Two responses after its deadline have no order, no execution and no locked coins: the stop
        protects nothing, and locks no coins.
        """
        return self._is_nowhere and self.state.stage in ("sent", "unknown")

    def note_nowhere(self, times: LiveTimes, *, is_nowhere: bool) -> None:
        """Note the locked coins in a complete response without the stop."""
        now = time.monotonic()
        if not is_nowhere:
            self._nowhere_since, self._is_nowhere = None, False
        elif self._nowhere_since is None:
            self._nowhere_since = now
        elif now - self._nowhere_since >= times.nowhere:
            self._is_nowhere = True

    @property
    def is_resting_stop(self) -> bool:
        """Return whether the order is a stop that may be filled at any moment."""
        return self.order.is_protection and not self.state.is_done

    def is_look_due(self, times: LiveTimes) -> bool:
        """Return whether a look-up of the order is due."""
        if self.looked is None:
            return True
        pause = min(times.first_look * 2 ** min(self.looks - 1, 10), times.longest_look)
        return time.monotonic() - self.looked >= pause

    def note_look(self) -> None:
        """Note that a look-up begins."""
        self.looked = time.monotonic()
        self.looks += 1

    def schedule_look_up(self) -> None:
        """Make the next look-up due at once."""
        self.looked, self.looks, self.is_look_needed = None, 0, True

    def set_order(self, **changes: object) -> None:
        """Change fields of the order that are known only now."""
        order = replace(self.tracked.order, **changes)
        self.tracked = TrackedOrder(order, self.tracked.state, self.tracked.events)
