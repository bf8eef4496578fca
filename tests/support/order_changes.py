"""Changes of an order by a broker's events, for an order of which only the intent is stored."""

from decimal import Decimal
from typing import Any

from onetape.core.trading import Fill
from onetape.execution.events import (
    Acknowledged,
    FillReport,
    OrderEvent,
    ReportedStatus,
    StatusReport,
    Submitted,
    encode_event,
    get_event_kind,
)
from onetape.execution.orders import fold
from onetape.store.orders import OrderChange


def change_of(
    client_order_id: str, events: list[OrderEvent], *, at_ms: int, **more: Any
) -> OrderChange:
    """Return the change of an order by events; only its intent is stored."""
    state = fold(events)
    return OrderChange(
        client_order_id=client_order_id,
        events=tuple((get_event_kind(event), encode_event(event)) for event in events),
        stored_event_count=1,
        before="intent",
        status=state.status,
        filled=state.filled,
        booked=state.booked,
        is_cancel_requested=state.is_cancel_requested,
        exchange_order_id=state.exchange_order_id,
        at_ms=at_ms,
        source="test",
        is_finished_and_booked=state.is_finished_and_booked,
        **more,
    )


def fill_of(trade: Fill, *, at_ms: int, **more: Any) -> OrderChange:
    """Return the change of an order that was sent, acknowledged and filled whole by a trade."""
    events: list[OrderEvent] = [
        Submitted(),
        Acknowledged("x1"),
        FillReport(
            trade.exchange_trade_id, trade.price, trade.amount, trade.fee, trade.fee_currency
        ),
        StatusReport("closed", trade.amount),
    ]
    return change_of(trade.client_order_id, events, at_ms=at_ms, fills=(trade,), **more)


def end_of(client_order_id: str, status: ReportedStatus, *, at_ms: int, note: str) -> OrderChange:
    """Return the change of an order that ended without a fill: `canceled` or `rejected`."""
    events: list[OrderEvent] = [Submitted(), StatusReport(status, Decimal(0), note)]
    end = f"refused: {note}" if status == "rejected" else None
    return change_of(client_order_id, events, at_ms=at_ms, note=note, obligation_end=end)
