"""What a response to cancelReplace proves about each of the two orders."""

import json
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from onetape.exchange.outcomes import Accepted, Unknown
from onetape.exchange.proven_refusals import Refused
from onetape.exchange.replacements import read_replace
from onetape.exchange.request_tap import CallResult, RequestRecord

OLD = "0" * 32
CANCELLED = {"origClientOrderId": OLD, "orderId": 7, "status": "CANCELED", "executedQty": "0.02"}
GONE = {"code": -2011, "msg": "Unknown order sent."}
PLACED = {"orderId": 8, "clientOrderId": "1" * 32}


def make_call_result(status: int, body: Any, *, value: Any = None) -> CallResult:
    """Return the result of a call whose response had a body; an error where it has no value."""
    text = body if isinstance(body, str) else json.dumps(body)
    error = None if value is not None else ccxt.ExchangeError("binance refused")
    return CallResult(value, error, RequestRecord(True, "POST", status, text))


def make_replacement_body(cancel: str, cancelled: Any, new: str, placed: Any) -> dict[str, Any]:
    return {
        "cancelResult": cancel, "cancelResponse": cancelled, "newOrderResult": new,
        "newOrderResponse": placed,
    }  # fmt: skip


def test_a_response_with_both_orders_proves_both() -> None:
    body = make_replacement_body("SUCCESS", CANCELLED, "SUCCESS", PLACED)
    found = read_replace(
        "binance", make_call_result(200, body, value={"id": "8", "status": "open"}), OLD
    )
    assert found.old == Decimal("0.02")
    assert isinstance(found.new, Accepted)
    assert found.new.exchange_order_id == "8"


def test_a_cancel_without_the_new_order_leaves_no_order() -> None:
    refusal = {"code": -2010, "msg": "Order would trigger immediately."}
    body = {"code": -2021, "msg": "partially failed", "data": make_replacement_body(
        "SUCCESS", CANCELLED, "FAILURE", refusal)}  # fmt: skip
    found = read_replace("binance", make_call_result(409, body), OLD)
    assert found.old == Decimal("0.02")
    assert isinstance(found.new, Refused)


def test_a_cancel_that_failed_proves_that_nothing_was_placed() -> None:
    body = {
        "code": -2022,
        "msg": "failed",
        "data": make_replacement_body("FAILURE", GONE, "NOT_ATTEMPTED", None),
    }
    found = read_replace("binance", make_call_result(400, body), OLD)
    assert isinstance(found.old, Refused)
    assert isinstance(found.new, Refused)


def test_a_refusal_before_the_cancel_proves_that_both_are_as_they_were() -> None:
    body = {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}
    found = read_replace("binance", make_call_result(400, body), OLD)
    assert isinstance(found.old, Refused)
    assert isinstance(found.new, Refused)


@pytest.mark.parametrize(
    "body",
    [
        "<html>502</html>",
        "",
        '{"cancelResult": "SUCC',
        make_replacement_body(
            "SUCCESS", {**CANCELLED, "origClientOrderId": "2" * 32}, "SUCCESS", None
        ),
        make_replacement_body("SUCCESS", {"origClientOrderId": OLD}, "NOT_ATTEMPTED", None),
        make_replacement_body(
            "FAILURE", {"code": -1, "msg": "?"}, "FAILURE", {"code": -1, "msg": "?"}
        ),
        {"code": -2021, "msg": "partially failed", "data": None},
        {"code": -2021, "msg": "partially failed"},
    ],
)
@pytest.mark.parametrize("status", [200, 409, 503])
def test_row_57_an_unclear_response_proves_nothing_about_either_order(
    body: Any, status: int
) -> None:
    found = read_replace("binance", make_call_result(status, body), OLD)
    assert isinstance(found.old, Unknown)
    assert isinstance(found.new, Unknown)
