"""A live order that is not over: the stored order, and the times of this process's requests.

Times of requests are monotonic and not stored; after a restart an order is looked up at once.
"""

import math
import time
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from onetape.core.trading import Order
from onetape.execution.orders import OrderState
from trader.live.times import LiveTimes
from trader.order_booking import TrackedOrder

#: Type of an order that is never sent: its fill removes coins from the position
#: (`order_adoption.py`).
CORRECTION: Final = "correction"


class LiveOrder:
    """A tracked order, and what this process has requested for it and when."""

    def __init__(self, tracked: TrackedOrder) -> None:
        """Initialise with an order that this process has neither sent nor looked up.

        Args:
            tracked: The stored order with its state.
        """
        self.tracked = tracked
        """The stored order, its state, and the number of its stored events."""
        self.begun = time.monotonic()
        """Time since this process tracks the order, monotonic seconds."""
        self.sent: float | None = None
        """Time of the send by this process, monotonic seconds; None: not sent by this process."""
        self.total_before: Decimal | None = tracked.state.total_before
        """Base currency on the account before the send, maybe by an earlier process; or None."""
        self.read_ms: int | None = tracked.state.read_ms
        """Exchange time of the reading of `total_before`, which lacks later executions.
        None: the total includes all executions that were booked before the send."""
        self.cancelled: float | None = None
        """Time of the last request to cancel the order, monotonic seconds; None: no request."""
        self.has_begun = False
        """Whether the stops are cancelled so that this exit can be sent."""
        self.unprotected_since: float | None = None
        """Time since no stop rests and this exit is not sent yet, monotonic seconds; None: a stop
        rests."""
        self.looked_up_at: float | None = None
        """Time of the last look-up, monotonic seconds; None: a look-up is due at once."""
        self.look_ups = 0
        """Number of look-ups since one was due at once; the pause grows with it."""
        self.absences: list[float] = []
        """Times of complete responses that lacked the order, monotonic seconds."""
        self._nowhere_since: float | None = None
        self._is_nowhere = False
        self.is_look_up_needed = False
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
        """Note whether a complete response shows no trace of the stop.

        Args:
            times: Time limits; `is_nowhere` is set after two such responses, `nowhere` apart.
            is_nowhere: Whether the response has no order, no execution and no locked coins.
        """
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

    def is_look_up_due(self, times: LiveTimes) -> bool:
        """Return whether a look-up of the order is due."""
        if self.looked_up_at is None:
            return True
        pause = min(times.first_look_up * 2 ** min(self.look_ups - 1, 10), times.longest_look_up)
        return time.monotonic() - self.looked_up_at >= pause

    def note_look_up(self) -> None:
        """Note that a look-up begins."""
        self.looked_up_at = time.monotonic()
        self.look_ups += 1

    def schedule_look_up(self) -> None:
        """Make the next look-up due at once."""
        self.looked_up_at, self.look_ups, self.is_look_up_needed = None, 0, True

    def set_order(self, **changes: object) -> None:
        """Change fields of the order in memory that are known only now, such as its amount."""
        order = replace(self.tracked.order, **changes)
        self.tracked = TrackedOrder(order, self.tracked.state, self.tracked.events)


def describe_order_kind(order: Order) -> str:
    """Return the kind of an order for a printed line: `entry`, `exit` or `stop at PRICE`."""
    if order.is_protection:
        return f"stop at {order.stop_price:f}"
    if order.type == CORRECTION:
        return "written off, nothing was sent"
    return "entry" if order.side == "buy" else "exit"
