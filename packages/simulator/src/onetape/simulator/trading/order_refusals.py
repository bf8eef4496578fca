"""Binance's errors for refused orders and signed requests, with its codes and texts.

Each function returns an exception that the server sends as a reply.
"""

from onetape.simulator.server.error_replies import Refusal
from onetape.simulator.server.wire import JsonObject


def make_filter_refusal(name: str) -> Refusal:
    """Return the reply to an order outside one of the market's filters."""
    return Refusal(-1013, f"Filter failure: {name}")


def make_market_closed_refusal() -> Refusal:
    """Return the reply to an order in a market that does not trade."""
    return Refusal(-2010, "Market is closed.")


def make_insufficient_balance_refusal() -> Refusal:
    """Return the reply to an order that the account cannot pay."""
    return Refusal(-2010, "Account has insufficient balance for requested action.")


def make_duplicate_order_refusal() -> Refusal:
    """Return the reply to a client order id that an open order has."""
    return Refusal(-2010, "Duplicate order sent.")


def make_would_trigger_refusal() -> Refusal:
    """Return the reply to a stop price that the market is already past."""
    return Refusal(-2010, "Order would trigger immediately.")


def make_would_take_refusal() -> Refusal:
    """Return the reply to a LIMIT_MAKER order that would fill at once."""
    return Refusal(-2010, "Order would immediately match and take.")


def make_price_relation_refusal() -> Refusal:
    """Return the reply to an order list whose prices are on the wrong sides of the market."""
    return Refusal(-2010, "The relationship of the prices for the orders is not correct.")


def make_trailing_stop_refusal() -> Refusal:
    """Return the reply to an order with `trailingDelta`."""
    return Refusal(-1013, "Trailing stop orders are not supported for this symbol.")


def make_iceberg_refusal() -> Refusal:
    """Return the reply to an order with `icebergQty`."""
    return Refusal(-1013, "Iceberg orders are not supported for this symbol.")


def make_pegged_order_refusal() -> Refusal:
    """Return the reply to an order with a pegged price."""
    return Refusal(-1013, "Pegged orders are not supported for this symbol.")


def make_cancel_restricted_refusal() -> Refusal:
    """Return the reply to a cancellation that its `cancelRestrictions` forbid."""
    text = "Order was not canceled due to cancel restrictions."
    return Refusal(-2011, text)


def make_invalid_restrictions_refusal() -> Refusal:
    """Return the reply to `cancelRestrictions` that do not exist."""
    return Refusal(-1145, "cancelRestrictions has to be either ONLY_NEW or ONLY_PARTIALLY_FILLED.")


def make_replace_failed_refusal(data: JsonObject, *, partially: bool) -> Refusal:
    """Return the reply to a cancelReplace whose cancellation or new order failed, or both.

    Args:
        data: Results of both parts, in Binance's form.
        partially: Whether one part has succeeded.
    """
    if partially:
        text = "Order cancel-replace partially failed."
        return Refusal(-2021, text, status=409, data=data)
    return Refusal(-2022, "Order cancel-replace failed.", data=data)


def make_unknown_order_refusal() -> Refusal:
    """Return the reply to the cancellation of an order that is not open."""
    return Refusal(-2011, "Unknown order sent.")


def make_no_such_order_refusal() -> Refusal:
    """Return the reply to a request for an order that does not exist."""
    return Refusal(-2013, "Order does not exist.")


def make_too_precise_refusal(parameter: str) -> Refusal:
    """Return the reply to a number with more digits than the asset has."""
    return Refusal(-1111, f"Parameter '{parameter}' has too much precision.")


def make_not_positive_refusal(name: str) -> Refusal:
    """Return the reply to a quantity or price of zero; `name` as in `Invalid quantity.`."""
    return Refusal(-1013, f"Invalid {name}.")


def make_not_required_refusal(parameter: str) -> Refusal:
    """Return the reply to a parameter that this kind of order does not take."""
    return Refusal(-1106, f"Parameter '{parameter}' sent when not required.")


def make_both_missing_refusal(first: str, second: str) -> Refusal:
    """Return the reply to a request that has neither of two parameters and needs one."""
    text = f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    return Refusal(-1102, text)


def make_duplicate_parameter_refusal() -> Refusal:
    """Return the reply to a parameter that a query or a body names more than once."""
    return Refusal(-1101, "Duplicate values for a parameter detected.")


def make_unread_parameters_refusal(read: int, sent: int) -> Refusal:
    """Return the reply to unknown parameters.

    Args:
        read: Number of known parameters of the request.
        sent: Number of all parameters of the request.
    """
    text = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
    return Refusal(-1104, text)


def make_invalid_side_refusal() -> Refusal:
    """Return the reply to a side that is neither BUY nor SELL."""
    return Refusal(-1117, "Invalid side.")


def make_invalid_order_type_refusal() -> Refusal:
    """Return the reply to an order type that is not offered."""
    return Refusal(-1116, "Invalid orderType.")


def make_invalid_time_in_force_refusal() -> Refusal:
    """Return the reply to a time in force that is not offered."""
    return Refusal(-1115, "Invalid timeInForce.")


def make_future_timestamp_refusal(allowed_ms: int) -> Refusal:
    """Return the reply to a timestamp that is ahead of the exchange by more than `allowed_ms`."""
    text = f"Timestamp for this request was {allowed_ms}ms ahead of the server's time."
    return Refusal(-1021, text)


def make_outside_window_refusal() -> Refusal:
    """Return the reply to a request that is too old."""
    return Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def make_window_too_long_refusal() -> Refusal:
    """Return the reply to a recvWindow above a minute."""
    return Refusal(-1131, "recvWindow must be less than 60000")


def make_invalid_signature_refusal() -> Refusal:
    """Return the reply to a signature made with another secret or of another text."""
    return Refusal(-1022, "Signature for this request is not valid.")


def make_invalid_key_format_refusal() -> Refusal:
    """Return the reply to a missing or malformed API key."""
    return Refusal(-2014, "API-key format invalid.", status=401)


def make_unauthorized_key_refusal() -> Refusal:
    """Return the reply to an unknown API key, or one without the permission."""
    return Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


def make_range_too_long_refusal() -> Refusal:
    """Return the reply to a range of own trades or orders above 24 hours."""
    return Refusal(-1127, "More than 24 hours between startTime and endTime.")
