"""Events of an order, as records. Amounts are in base currency, times epoch milliseconds.

Events arrive from an exchange in any order, twice or not at all; `orders.advance` computes one
state from them. In the database an event is a row: its kind, and the other fields as a JSON
document.
"""

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

#: Status of an order at an exchange, in CCXT's words.
ReportedStatus = Literal["open", "closed", "canceled", "expired", "rejected"]


class Intended(Struct, frozen=True, tag="intended"):
    """The order is stored, and no request was sent."""


class Submitted(Struct, frozen=True, tag="submitted", omit_defaults=True):
    """The request is on its way to the exchange."""

    deadline_ms: int | None = None
    """Exchange time after which the exchange refuses the request as too late; None: no limit."""
    total_before: Decimal | None = None
    """Balance of the base currency before the send; None: unknown."""
    read_ms: int | None = None
    """Exchange time of the reading of `total_before`, which lacks later executions.

    None: the total includes all executions that were booked before the send.
    """


class Unanswered(Struct, frozen=True, tag="unanswered"):
    """The request has no usable response: the order may exist or not."""

    reason: str


class Acknowledged(Struct, frozen=True, tag="acknowledged"):
    """The exchange has accepted the order."""

    exchange_order_id: str


class StatusReport(Struct, frozen=True, tag="status"):
    """The exchange has reported the status of the order."""

    status: ReportedStatus
    filled: Decimal = Decimal(0)
    """Total filled amount, base currency."""
    reason: str = ""


class FillReport(Struct, frozen=True, tag="fill", omit_defaults=True):
    """The exchange has executed a part of the order, or all of it."""

    trade_id: str
    """The exchange's id of the execution; equal ids denote one execution."""
    price: Decimal
    """Price of the fill, quote currency per unit of base currency."""
    amount: Decimal
    fee: Decimal
    fee_currency: str
    executed_ms: int | None = None
    """Exchange time of the execution; None: the time of the report counts."""


class CancelRequested(Struct, frozen=True, tag="cancel_requested"):
    """The request to cancel the order is on its way to the exchange."""

    reason: str


class CancelRefused(Struct, frozen=True, tag="cancel_refused"):
    """The exchange has not cancelled the order: it may be filled, or unknown there."""

    reason: str
    is_proven: bool = False
    """Whether the request has certainly had no effect; otherwise it had no clear response."""


class ProvenAbsent(Struct, frozen=True, tag="absent"):
    """The exchange does not have the order, whose deadline to arrive has passed."""

    reason: str


OrderEvent = (
    Intended
    | Submitted
    | Unanswered
    | Acknowledged
    | StatusReport
    | FillReport
    | CancelRequested
    | CancelRefused
    | ProvenAbsent
)

_DECODER: Final = msgspec.json.Decoder(OrderEvent)


def get_event_kind(event: OrderEvent) -> str:
    """Return the kind of an event, as stored."""
    return str(type(event).__struct_config__.tag)


def encode_event(event: OrderEvent) -> str:
    """Return an event with its kind as a JSON document."""
    return msgspec.json.encode(event).decode()


def decode_event(document: str) -> OrderEvent:
    """Return the event of a JSON document.

    Raises:
        ValueError: the document is no event of this version.
    """
    try:
        event: Any = _DECODER.decode(document)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an order event: {document[:200]} ({error})") from error
    return event
