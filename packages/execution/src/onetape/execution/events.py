"""Events of an order, as records, and their form in the database.

Some events are steps of the trader (`Intended`, `Submitted`, `CancelRequested`), the others are
reports of the exchange. Reports may arrive in any order, twice or not at all;
`execution/orders.py` computes one state from them. In the table `order_events` an event is a row
with its kind and a JSON document of its fields. Amounts are in base currency, times are epoch
milliseconds.
"""

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

#: Status of an order at an exchange, by CCXT's names.
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


class UnclearResponse(Struct, frozen=True, tag="unanswered"):
    """The request has no usable response: the order may exist at the exchange or not."""

    reason: str
    """Error of the request, as a text."""


class Acknowledged(Struct, frozen=True, tag="acknowledged"):
    """The exchange has accepted the order."""

    exchange_order_id: str
    """The exchange's id of the order."""


class StatusReport(Struct, frozen=True, tag="status"):
    """The exchange has reported the status of the order."""

    status: ReportedStatus
    """Status by CCXT's names; `closed`: filled."""
    filled: Decimal = Decimal(0)
    """Total filled amount, base currency."""
    reason: str = ""
    """Reason of a rejection, as the exchange states it; empty: the exchange stated none."""


class FillReport(Struct, frozen=True, tag="fill", omit_defaults=True):
    """The exchange has executed a part of the order, or all of it."""

    trade_id: str
    """The exchange's id of the execution; equal ids denote one execution."""
    price: Decimal
    """Price of the fill, quote currency per unit of base currency."""
    amount: Decimal
    """Filled amount, base currency."""
    fee: Decimal
    """Fee of this execution, in `fee_currency`; negative for a rebate."""
    fee_currency: str
    """Currency code of the fee: base, quote or a third currency such as BNB."""
    executed_ms: int | None = None
    """Exchange time of the execution; None: the time of the report counts."""


class CancelRequested(Struct, frozen=True, tag="cancel_requested"):
    """The request to cancel the order is on its way to the exchange."""

    reason: str
    """Reason of the cancellation, as a text."""


class CancelRefused(Struct, frozen=True, tag="cancel_refused"):
    """The exchange has not cancelled the order: it may be filled, or unknown there."""

    reason: str
    """Error of the cancel request, as a text."""
    is_proven: bool = False
    """Whether the request has certainly had no effect; otherwise it had no clear response."""


class ProvenAbsent(Struct, frozen=True, tag="absent"):
    """The exchange does not have the order, and cannot get it any more: its deadline has passed.

    An order that was stored and never sent gets this event, too.
    """

    reason: str
    """Proof that the order does not exist, as a text."""


OrderEvent = (
    Intended
    | Submitted
    | UnclearResponse
    | Acknowledged
    | StatusReport
    | FillReport
    | CancelRequested
    | CancelRefused
    | ProvenAbsent
)

_DECODER: Final = msgspec.json.Decoder(OrderEvent)


def get_event_kind(event: OrderEvent) -> str:
    """Return the kind of an event as it is stored, such as `submitted`."""
    return str(type(event).__struct_config__.tag)


def encode_event(event: OrderEvent) -> str:
    """Return an event with its kind as a JSON document."""
    return msgspec.json.encode(event).decode()


def decode_event(document: str) -> OrderEvent:
    """Return the event of a JSON document that `encode_event` has made.

    Raises:
        ValueError: this version has no event of this form.
    """
    try:
        event: Any = _DECODER.decode(document)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an order event: {document[:200]} ({error})") from error
    return event
