"""The state of an order as the sum of its events, whatever the sequence in which they arrive.

`advance` adds one event to a state and returns the next state with the effects: actions that the
caller has to take, such as a look-up. The stages are INTENDED -> SENT -> OPEN -> DONE (filled,
canceled, expired, rejected, absent), or SENT -> UNKNOWN -> OPEN or DONE. The stage never goes
backwards and `filled` only grows, so late and doubled events change nothing. An order without a
usable response is UNKNOWN and looked up; it is never sent twice. An order that is over with
`booked` under `filled`, or filled without any fill, waits for its fills. Only `absent` is ever
taken back: it rests on responses that lack the order, so any later sign of the order counts more.
"""

from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.trading import OrderStatus
from onetape.execution.events import (
    Acknowledged,
    CancelRefused,
    CancelRequested,
    FillReport,
    Intended,
    OrderEvent,
    ProvenAbsent,
    StatusReport,
    Submitted,
    UnclearResponse,
)

Stage = Literal["intended", "sent", "unknown", "open", "done"]
Outcome = Literal["filled", "canceled", "expired", "rejected", "absent"]

_STAGES: Final[tuple[Stage, ...]] = ("intended", "sent", "unknown", "open", "done")
#: If reports contradict each other, the later status in this list holds.
_OUTCOMES: Final[tuple[Outcome, ...]] = ("absent", "rejected", "expired", "canceled", "filled")
_REPORTED: Final[dict[str, Outcome]] = {
    "closed": "filled",
    "canceled": "canceled",
    "expired": "expired",
    "rejected": "rejected",
}
_STATUS: Final[dict[Stage | Outcome, OrderStatus]] = {
    "intended": "intent",
    "sent": "sent",
    "unknown": "unknown",
    "open": "open",
    "filled": "closed",
    "canceled": "canceled",
    "expired": "expired",
    "rejected": "rejected",
    "absent": "absent",
}


class LookUp(Struct, frozen=True):
    """Effect: fetch the order, its fills and the balances from the exchange."""

    reason: str
    """Reason of the look-up, as a text."""


class FetchFills(Struct, frozen=True):
    """Effect: the exchange has filled more than is known; fetch the fills."""


class StoreFill(Struct, frozen=True):
    """Effect: store a fill, which is new."""

    fill: FillReport
    """The fill."""


class FinishedAndBooked(Struct, frozen=True):
    """Effect: the order is over and all of its fills are booked."""


class Warn(Struct, frozen=True):
    """Effect: the exchange has an order that was taken for absent; a person should check."""

    reason: str
    """Description of the contradiction, as a text."""


Effect = LookUp | FetchFills | StoreFill | FinishedAndBooked | Warn


class OrderState(Struct, frozen=True):
    """State of an order, as the sum of its events."""

    amount: Decimal | None = None
    """Ordered amount, base currency; None if it depends on the price, as for a buy by cost."""
    stage: Stage = "intended"
    """Progress of the order; `unknown`: it was sent and has no usable response yet."""
    outcome: Outcome | None = None
    """Outcome of the order; None before its end."""
    filled: Decimal = Decimal(0)
    """Filled amount by the largest report of the exchange, base currency."""
    booked: Decimal = Decimal(0)
    """Sum of the known fills, base currency."""
    trade_ids: frozenset[str] = frozenset()
    """The exchange's trade ids of the booked fills."""
    is_cancel_requested: bool = False
    """Whether the trader has requested the cancellation, and the exchange has not refused it."""
    exchange_order_id: str | None = None
    """The exchange's id of the order; None: not known yet."""
    deadline_ms: int | None = None
    """Exchange time after which the request cannot arrive any more; None: not sent."""
    total_before: Decimal | None = None
    """Balance of the base currency before the send; None: unknown."""
    read_ms: int | None = None
    """Exchange time of the reading of `total_before`, which lacks later executions.

    None: the total includes all executions that were booked before the send.
    """

    @property
    def is_done(self) -> bool:
        """Return whether the order is final at the exchange."""
        return self.stage == "done"

    @property
    def is_finished_and_booked(self) -> bool:
        """Return whether the order is over and its whole filled amount is booked.

        A filled order without a fill is not booked: some replies report the status without the
        amount.
        """
        has_fills = self.booked > 0 or self.outcome != "filled"
        return self.is_done and has_fills and self.booked >= self.filled

    @property
    def status(self) -> OrderStatus:
        """Return the status by the names of CCXT and of the table `orders`."""
        return _STATUS[self.outcome or self.stage]


def advance(state: OrderState, event: OrderEvent) -> tuple[OrderState, tuple[Effect, ...]]:
    """Return the state of an order after an event, and the effects: actions for the caller.

    Args:
        state: State before the event.
        event: An event of this order; one that is repeated or late has no effect.
    """
    match event:
        case Intended():
            after, effects = state, ()
        case Submitted(deadline_ms, total_before, read_ms):
            after, effects = _raise_stage(state, "sent"), ()
            after = replace(
                after, deadline_ms=deadline_ms, total_before=total_before, read_ms=read_ms
            )
        case UnclearResponse(reason):
            after, effects = _apply_unclear_response(state, reason)
        case Acknowledged(exchange_order_id):
            after, effects = _apply_existing(state)
            after = replace(after, exchange_order_id=exchange_order_id)
        case StatusReport():
            after, effects = _apply_report(state, event)
        case FillReport():
            after, effects = _apply_fill(state, event)
        case CancelRequested():
            after, effects = replace(state, is_cancel_requested=True), ()
        case CancelRefused(reason, is_proven):
            # If the order is cancelled after a proven refusal, others have cancelled it.
            is_requested = state.is_cancel_requested and not is_proven
            after = replace(state, is_cancel_requested=is_requested)
            effects = () if state.is_done else (LookUp(reason),)
        case ProvenAbsent():
            is_seen = _STAGES.index(state.stage) >= _STAGES.index("open")
            after, effects = state if is_seen else _apply_end(state, "absent"), ()
    return after, (*effects, *_compute_effects(state, after, event))


def fold(events: list[OrderEvent], amount: Decimal | None = None) -> OrderState:
    """Return the state of an order after all events.

    Args:
        events: Events in the order in which they were stored.
        amount: Ordered amount, base currency; None where it depends on the price.
    """
    state = OrderState(amount)
    for event in events:
        state, _ = advance(state, event)
    return state


def _apply_unclear_response(
    state: OrderState, reason: str
) -> tuple[OrderState, tuple[Effect, ...]]:
    if _STAGES.index(state.stage) >= _STAGES.index("open"):
        return state, ()
    return _raise_stage(state, "unknown"), (LookUp(reason),)


def _apply_existing(state: OrderState) -> tuple[OrderState, tuple[Effect, ...]]:
    """Return the state after a sign that the exchange has the order; `absent` is taken back."""
    if state.outcome == "absent":
        after = replace(state, stage="open", outcome=None)
        return after, (Warn("the order exists although it was taken for absent"),)
    return _raise_stage(state, "open"), ()


def _apply_report(state: OrderState, report: StatusReport) -> tuple[OrderState, tuple[Effect, ...]]:
    after, effects = _apply_existing(state)
    after = replace(after, filled=max(after.filled, report.filled))
    outcome = _REPORTED.get(report.status)
    return (after if outcome is None else _apply_end(after, outcome)), effects


def _apply_fill(state: OrderState, fill: FillReport) -> tuple[OrderState, tuple[Effect, ...]]:
    if fill.trade_id in state.trade_ids:
        return state, ()
    after, effects = _apply_existing(state)
    booked = after.booked + fill.amount
    after = replace(
        after,
        booked=booked,
        filled=max(after.filled, booked),
        trade_ids=after.trade_ids | {fill.trade_id},
    )
    if after.amount is not None and booked >= after.amount:
        after = _apply_end(after, "filled")
    return after, (*effects, StoreFill(fill))


def _raise_stage(state: OrderState, stage: Stage) -> OrderState:
    is_later = _STAGES.index(stage) > _STAGES.index(state.stage)
    return replace(state, stage=stage) if is_later else state


def _apply_end(state: OrderState, outcome: Outcome) -> OrderState:
    known = state.outcome
    if known is not None and _OUTCOMES.index(known) >= _OUTCOMES.index(outcome):
        return state
    return replace(state, stage="done", outcome=outcome)


def _compute_effects(
    before: OrderState, after: OrderState, event: OrderEvent
) -> tuple[Effect, ...]:
    if not after.is_done:
        return ()
    if not after.is_finished_and_booked:
        return () if isinstance(event, FillReport) else (FetchFills(),)
    return () if before.is_finished_and_booked else (FinishedAndBooked(),)
