"""Decide from the response to a stop's replacement what has become of the old and new order.

One request cancels a stop and places another. The response states both outcomes, with any HTTP
status: the old order is cancelled or not, and the new one is placed, refused, or was not attempted.
Any other response proves nothing.
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from onetape.exchange.outcomes import Accepted, Unknown, read_failure
from onetape.exchange.proven_refusals import Refused, find_proven_refusal, parse_json_body
from onetape.exchange.request_tap import CallResult
from onetape.exchange.trading_records import get_fields


class StopReplacementOutcome(Struct, frozen=True):
    """Outcomes of the old and of the new order of a replacement."""

    old: Decimal | Refused | Unknown
    """Filled amount of the old order, base currency, if it was cancelled; otherwise the reason why
    it is, or may be, open."""
    new: Accepted | Refused | Unknown
    """Outcome of the new order."""


def read_replace(exchange: str, result: CallResult, replaced_id: str) -> StopReplacementOutcome:
    """Return the outcomes of a replacement.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        result: Result of the call that sent the request.
        replaced_id: Client order id of the order to cancel.
    """
    found = _find_outcomes(result.record.body)
    if found is None:
        whole: Refused | Unknown = Unknown("the response does not state what became of the orders")
        if result.error is not None:
            whole = read_failure(exchange, result.error, result.record)
        return StopReplacementOutcome(whole, whole)
    old = _read_old_order(exchange, found, replaced_id)
    return StopReplacementOutcome(old, _read_new_order(exchange, found, result))


def _find_outcomes(body: str) -> Mapping[str, Any] | None:
    document = get_fields(parse_json_body(body))
    found = get_fields(document.get("data", document))
    return found if "cancelResult" in found else None


def _read_old_order(
    exchange: str, found: Mapping[str, Any], replaced_id: str
) -> Decimal | Refused | Unknown:
    """Return the filled amount of the cancelled order, or why it is not cancelled, or not known."""
    fields = get_fields(found.get("cancelResponse"))
    match found.get("cancelResult"):
        case "SUCCESS" if fields.get("origClientOrderId") == replaced_id:
            try:
                return Decimal(str(fields.get("executedQty")))
            except InvalidOperation:
                return Unknown(
                    "the response does not state how much the cancelled order had filled"
                )
        case "FAILURE":
            return _read_refusal(exchange, fields)
        case _:
            return Unknown("the response does not state what became of the order to cancel")


def _read_new_order(
    exchange: str, found: Mapping[str, Any], result: CallResult
) -> Accepted | Refused | Unknown:
    """Return the outcome of the new order."""
    fields = get_fields(found.get("newOrderResponse"))
    row = get_fields(result.value)
    match found.get("newOrderResult"):
        case "SUCCESS" if result.error is None and row.get("id"):
            return Accepted(row, str(row["id"]))
        case "FAILURE":
            return _read_refusal(exchange, fields)
        case "NOT_ATTEMPTED" if found.get("cancelResult") == "FAILURE":
            return Refused("not sent", "the order that it was to replace could not be cancelled")
        case _:
            return Unknown("the response does not state what became of the new order")


def _read_refusal(exchange: str, fields: Mapping[str, Any]) -> Refused | Unknown:
    """Return the outcome that an error inside the response proves."""
    refused = find_proven_refusal(exchange, 400, json.dumps(fields))
    return refused or Unknown(f"an error that proves nothing: {fields.get('code')}")
