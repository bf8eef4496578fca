"""Malformed bodies of responses and malformed WebSocket frames, by their shape.

A shape is the variant of a `wrong_body` or `ws_garbage` fault (`kinds.BODY_SHAPES`,
`kinds.FRAME_SHAPES`). Real exchanges have sent each of them to CCXT.
"""

import json
from typing import Final, cast

from onetape.simulator.server.wire import JsonObject, format_json

HTML: Final = (
    "<html>\r\n<head><title>Just a moment...</title></head>\r\n"
    "<body><h1>Checking your browser</h1></body>\r\n</html>\r\n"
)
#: Shapes that are made from the true body of the response.
_SHAPES_OF_TRUE_BODY: Final = frozenset({"truncated", "no_symbols"})
_FIXED_BODIES: Final = {
    "html": (HTML, "text/html"),
    "null": ("null", "application/json"),
    "empty_object": ("{}", "application/json"),
    "empty_list": ("[]", "application/json"),
    "octet_stream": ("\x00\x01not what was asked for", "application/octet-stream"),
    "empty": ("", "application/json"),
    "text": ("upstream connect error or disconnect/reset before headers", "text/plain"),
}
#: Binance's own texts of its most frequent errors.
ERROR_TEXTS: Final = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1003: "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; "
    "execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
    -1013: "Filter failure: NOTIONAL",
    -1015: "Too many new orders; current limit is 50 orders per 10 SECOND.",
    -1016: "This service is no longer available.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1111: "Parameter 'quantity' has too much precision.",
    -1121: "Invalid symbol.",
    -2010: "Account has insufficient balance for requested action.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    0: "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error.",
}


def make_proxy_page(status: int, reason: str) -> str:
    """Return the HTML page with which a proxy in front of an exchange responds."""
    title = f"{status} {reason}".strip()
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )


def make_wrong_body(shape: str, true_body: bytes) -> tuple[bytes, str]:
    """Return a wrong body and its content type.

    Args:
        shape: One of `kinds.BODY_SHAPES`.
        true_body: The right body, JSON; only "truncated" and "no_symbols" are made from it.
    """
    if shape not in _SHAPES_OF_TRUE_BODY:
        text, content_type = _FIXED_BODIES[shape]
        return text.encode(), content_type
    if shape == "truncated":
        return true_body[: max(len(true_body) * 2 // 3, 1)], "application/json"
    document = json.loads(true_body or b"{}")
    if isinstance(document, dict) and "symbols" in document:
        document["symbols"] = []
    return format_json(cast("object", document)).encode(), "application/json"


def make_bad_frame(shape: str, value: JsonObject) -> str | bytes:
    """Return a malformed frame that is sent in place of an event.

    Args:
        shape: One of `kinds.FRAME_SHAPES`.
        value: The event; some shapes are made from it.

    Returns:
        The frame's text, or its bytes if they are no valid text.
    """
    text = format_json(value)
    candle = cast("JsonObject", value.get("k", {}))
    symbol = value.get("s", "BTCUSDT")
    made: dict[str, str | bytes] = {
        "truncated": text[: len(text) // 2],
        "array": "[1,2,3]",
        "no_k": format_json({name: item for name, item in value.items() if name != "k"}),
        "k_list": format_json({**value, "k": [1, 2, 3]}),
        "unknown_interval": format_json({**value, "k": {**candle, "i": "7q"}}),
        "binary": b"\xff\xfe\x00",
        "invalid_utf8": b'{"e":"kline","s":"\xff\xfe"}',
        "nan": '{"e":"kline","E":NaN,"s":"' + str(symbol) + '","k":{"t":NaN}}',
        "deep": "[" * 100_000 + "]" * 100_000,
        "text": "hello",
        "null": "null",
        "number": "42",
        "empty": "",
        "unknown_symbol": format_json({**value, "s": "NOPENOPE", "k": {**candle, "s": "NOPENOPE"}}),
        "unknown_event": format_json({"e": "somethingNew", "E": value.get("E"), "s": symbol}),
        "error": format_json({"error": {"code": 2, "msg": "Invalid request: something broke"}}),
    }
    return made[shape]
