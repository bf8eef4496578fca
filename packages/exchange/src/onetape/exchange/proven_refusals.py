"""Find out whether an error response proves that a private request had no effect.

Only known error codes of the exchange prove it. A page of HTML, an unknown code, a duplicate id and
an error of the server prove nothing: the order may exist.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from msgspec import Struct

from onetape.core.printable import escape_unprintable
from onetape.core.symbols import SIMULATOR_ID

#: Kind of a refusal: too late, no funds, a rule of the market, the API key, the request rate, a
#: market that is not traded, an order that does not exist, or a request that was never sent.
RefusalKind = Literal[
    "late", "funds", "rules", "key", "rate", "market", "no such order", "not sent"
]
#: Maximum number of characters of a message.
_LONGEST_MESSAGE: Final = 160


class Refused(Struct, frozen=True):
    """The request has had no effect and will have none."""

    kind: RefusalKind
    reason: str
    """Message of the exchange, one line."""
    code: str = ""
    """Error code of the exchange; empty: the request was never sent."""


class _ExchangeErrorCode(NamedTuple):
    """An error in a response; an empty code proves nothing."""

    code: str
    message: str


class _Codes(Struct, frozen=True):
    """Error codes of one exchange that prove a refusal, each with its kind."""

    kinds: Mapping[str, RefusalKind | Literal["other"]]
    """Kind of each code; `other`: the message decides."""
    ranges: tuple[tuple[int, int, RefusalKind], ...] = ()
    """First and last error code of each range, both included, and the kind of its codes."""
    doubtful: frozenset[str] = frozenset()
    """Error codes inside the ranges that prove nothing."""
    statuses: range = range(200, 500)
    """HTTP statuses of responses whose error codes prove a refusal."""


#: HTTP statuses after which a request may have had an effect, whatever the error code.
_DOUBTFUL_STATUSES: Final = frozenset({408, 409})
#: Parts of messages about an id that exists already: it may be the order that was sent.
_DUPLICATE: Final = ("uplicate", "already exist", "not unique")
#: Parts of messages, with the kind of the refusal, for codes with several meanings.
_MESSAGES: Final[tuple[tuple[str, RefusalKind], ...]] = (
    ("nsufficient", "funds"), ("arket is closed", "market"), ("not permitted", "market"),
    ("is restricted", "market"), ("iquidity is less", "market"), ("not support", "rules"),
    ("nsupported order", "rules"), ("trigger immediately", "rules"),
    ("immediately match", "rules"), ("zero or less", "rules"), ("elationship of the", "rules"),
    ("is disabled", "key"), ("may not place", "key"), ("is not enabled", "key"),
    ("nvalid nonce", "late"), ("eadline", "late"), ("ate limit", "rate"), ("nvalid key", "key"),
    ("nvalid signature", "key"), ("ermission denied", "key"), ("nknown order", "no such order"),
)  # fmt: skip
_CODES: Final = {
    "binance": _Codes(
        {
            "-1002": "key", "-1003": "rate", "-1013": "rules", "-1014": "rules", "-1015": "rate",
            "-1020": "rules", "-1021": "late", "-1022": "key", "-2010": "other",
            "-2011": "no such order", "-2014": "key", "-2015": "key", "-2016": "market",
        },
        ranges=((-1199, -1100, "rules"),),
        # Codes such as -1013 come with 400, rate limits with 418 and 429.
        statuses=range(400, 500),
    ),
    "okx": _Codes(
        {
            "50011": "rate", "50061": "rate", "50102": "late", "51008": "funds",
            "51400": "no such order", "51401": "no such order", "51402": "no such order",
            "51603": "no such order",
        },
        ranges=((50100, 50120, "key"), (51000, 51148, "rules")),
        doubtful=frozenset({"51016", "51065"}),
    ),
    "bybit": _Codes(
        {
            "10001": "rules", "10002": "late", "10003": "key", "10004": "key", "10005": "key",
            "10006": "rate", "10010": "key", "10018": "rate", "110001": "no such order",
            "170131": "funds", "170213": "no such order", "170222": "rate", "170033": "funds",
        },
        ranges=((170115, 170145, "rules"), (170190, 170210, "rules")),
        doubtful=frozenset({"170141"}),
    ),
    # Kraken's codes are texts that begin like this.
    "kraken": _Codes(
        {
            "EOrder:Insufficient funds": "funds", "EOrder:Unknown order": "no such order",
            "EOrder:Invalid": "rules", "EOrder:Order minimum not met": "rules",
            "EOrder:Cost minimum not met": "rules", "EOrder:Tick size check failed": "rules",
            "EOrder:Rate limit exceeded": "rate", "EOrder:Orders limit exceeded": "rules",
            "EOrder:Cannot open": "rules", "EGeneral:Invalid arguments": "rules",
            "EGeneral:Permission denied": "key", "EGeneral:Too many requests": "rate",
            "EGeneral:Temporary lockout": "rate", "EAPI:Invalid key": "key",
            "EAPI:Invalid signature": "key", "EAPI:Invalid nonce": "late",
            "EAPI:Rate limit exceeded": "rate", "EService:Deadline elapsed": "late",
            "EService:Market in cancel_only mode": "market", "EQuery:Unknown asset pair": "market",
        },
    ),
    "coinbase": _Codes(
        {
            "INSUFFICIENT_FUND": "funds", "INVALID_LIMIT_PRICE_POST_ONLY": "rules",
            "INVALID_LIMIT_PRICE": "rules", "INVALID_PRICE_PRECISION": "rules",
            "INVALID_SIZE_PRECISION": "rules", "UNSUPPORTED_ORDER_CONFIGURATION": "rules",
            "INVALID_SIDE": "rules", "INVALID_NO_LIQUIDITY": "market", "ORDER_ENTRY_DISABLED":
            "market", "INELIGIBLE_PAIR": "market", "UNAUTHENTICATED": "key", "unauthorized": "key",
            "PERMISSION_DENIED": "key", "RESOURCE_EXHAUSTED": "rate", "rate_limit_exceeded": "rate",
            "UNKNOWN_CANCEL_ORDER": "no such order",
        },
    ),
}  # fmt: skip


def find_proven_refusal(exchange: str, status: int | None, body: str) -> Refused | None:
    """Return the refusal that a response proves; None: it proves nothing.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        status: HTTP status; None: there was no response.
        body: Body of the response.
    """
    name = "binance" if exchange == SIMULATOR_ID else exchange
    codes = _CODES.get(name)
    if codes is None or status not in codes.statuses or status in _DOUBTFUL_STATUSES:
        return None
    errors = list(_iterate_errors(name, parse_json_body(body)))
    refusals = [_classify_error(codes, error) for error in errors]
    # With several errors, each of them must prove a refusal.
    return refusals[0] if refusals and None not in refusals else None


def is_no_such_order(exchange: str, status: int | None, body: str) -> bool:
    """Return whether a response to a look-up states that there is no such order."""
    name = "binance" if exchange == SIMULATOR_ID else exchange
    if name == "binance":
        errors = list(_iterate_errors(name, parse_json_body(body)))
        return status == 400 and [error.code for error in errors] == ["-2013"]
    found = find_proven_refusal(exchange, status, body)
    return found is not None and found.kind == "no such order"


def parse_json_body(body: str) -> Any:
    """Return the document of a body; None: the body is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _classify_error(codes: _Codes, error: _ExchangeErrorCode) -> Refused | None:
    """Return the refusal that an error proves; None: the order may have been accepted."""
    text = f"{error.code} {error.message}"
    if any(word in text for word in _DUPLICATE) or error.code in codes.doubtful:
        return None
    kind = (
        codes.kinds.get(error.code)
        or _find_kind_by_prefix(codes, error.code)
        or _find_kind_by_range(codes, error)
    )
    if kind is None:
        return None
    if kind == "other" and "order sent" in error.message:
        return None  # a part of "Duplicate order sent."
    if kind in ("other", "rules"):
        kind = _find_kind_by_message(error.message) or ("rules" if error.message else None)
    if kind is None:
        return None
    reason = escape_unprintable(" ".join((error.message or error.code).split()))[:_LONGEST_MESSAGE]
    return Refused(kind, reason, escape_unprintable(error.code)[:_LONGEST_MESSAGE])


def _find_kind_by_message(message: str) -> RefusalKind | None:
    return next((kind for word, kind in _MESSAGES if word in message), None)


def _find_kind_by_prefix(codes: _Codes, code: str) -> RefusalKind | Literal["other"] | None:
    prefixes = (prefix for prefix in codes.kinds if prefix[0] == "E" and code.startswith(prefix))
    return next((codes.kinds[prefix] for prefix in prefixes), None)


def _find_kind_by_range(codes: _Codes, error: _ExchangeErrorCode) -> RefusalKind | None:
    try:
        number = int(error.code)
    except ValueError:
        return None
    return next((kind for low, high, kind in codes.ranges if low <= number <= high), None)


def _iterate_errors(exchange: str, document: Any) -> Iterator[_ExchangeErrorCode]:
    """Yield the errors of a response; nothing if it has none or is no response of the exchange."""
    if isinstance(document, dict):
        yield from _READERS[exchange](cast("dict[str, Any]", document))


def _iterate_binance_errors(document: dict[str, Any]) -> Iterator[_ExchangeErrorCode]:
    code = document.get("code")
    # A document with an order in addition to the code is no plain error.
    if type(code) is int and code < 0 and "orderId" not in document and "data" not in document:
        yield _ExchangeErrorCode(str(code), _get_text(document.get("msg")))


def _iterate_okx_errors(document: dict[str, Any]) -> Iterator[_ExchangeErrorCode]:
    code, data = document.get("code"), document.get("data")
    if code == "0" or not isinstance(code, str):
        return
    rows = [row for row in cast("list[Any]", data) if row] if isinstance(data, list) else []
    if not rows:
        yield _ExchangeErrorCode(code, _get_text(document.get("msg")))
    for row in rows:
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        # A row without an error, or with an order's id, is no refusal.
        of_order = fields.get("ordId") or fields.get("algoId")
        yield _ExchangeErrorCode(
            "" if of_order else _get_text(fields.get("sCode")), _get_text(fields.get("sMsg"))
        )


def _iterate_bybit_errors(document: dict[str, Any]) -> Iterator[_ExchangeErrorCode]:
    code, result = document.get("retCode"), document.get("result")
    has_order = isinstance(result, dict) and "orderId" in result
    if type(code) is int and code != 0:
        yield _ExchangeErrorCode("" if has_order else str(code), _get_text(document.get("retMsg")))


def _iterate_kraken_errors(document: dict[str, Any]) -> Iterator[_ExchangeErrorCode]:
    errors, result = document.get("error"), document.get("result")
    if isinstance(errors, list) and not result:
        for error in cast("list[Any]", errors):
            yield _ExchangeErrorCode(_get_text(error), _get_text(error))


def _iterate_coinbase_errors(document: dict[str, Any]) -> Iterator[_ExchangeErrorCode]:
    if document.get("success") is True or document.get("success_response"):
        return
    inner = document.get("error_response")
    fields = cast("dict[str, Any]", inner) if isinstance(inner, dict) else document
    code = _get_text(fields.get("error")) or _get_text(fields.get("failure_reason"))
    if code:
        yield _ExchangeErrorCode(
            code, _get_text(fields.get("message")) or _get_text(fields.get("error_details"))
        )


def _get_text(value: object) -> str:
    return value if isinstance(value, str) else ""


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Iterator[_ExchangeErrorCode]]]] = {
    "binance": _iterate_binance_errors,
    "okx": _iterate_okx_errors,
    "bybit": _iterate_bybit_errors,
    "kraken": _iterate_kraken_errors,
    "coinbase": _iterate_coinbase_errors,
}
