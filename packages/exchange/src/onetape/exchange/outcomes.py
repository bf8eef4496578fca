"""Decide from the response to a private request what has become of the order.

Accepted    the exchange has the order, with an id
Refused     it is proven that nothing was done: an error code of the exchange, or never sent
Absent      after a look-up: complete responses do not contain the order
Unknown     everything else: the order may exist or not; it is looked up, and never sent again
"""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import ccxt
from msgspec import Struct

from onetape.core.printable import escape_unprintable
from onetape.exchange.order_calls import CcxtCall
from onetape.exchange.proven_refusals import (
    Refused,
    find_proven_refusal,
    is_no_such_order,
    parse_json_body,
)
from onetape.exchange.redaction import redact
from onetape.exchange.request_tap import CallResult, RequestRecord

#: Maximum number of characters of a reason.
_LONGEST_REASON: Final = 160
#: Keys of the client order id in CCXT's rows and in the exchange's own fields (`info`).
_CLIENT_ID_KEYS: Final = (
    "clientOrderId", "origClientOrderId", "cl_ord_id", "clOrdId", "algoClOrdId", "orderLinkId",
    "client_order_id",
)  # fmt: skip


#: Last keys of paths at which a response has a dictionary by id instead of a list.
_TABLES: Final = (("open",), ("closed",), ("trades",))


class Accepted(Struct, frozen=True):
    """The exchange has the order, or had it."""

    row: Mapping[str, Any]
    """Order as CCXT has parsed it; numbers may be missing."""
    exchange_order_id: str
    """The exchange's id of the order."""

    @property
    def has_status(self) -> bool:
        """Return whether the response has the status of the order; otherwise look it up."""
        return self.row.get("status") in ("open", "closed", "canceled", "expired", "rejected")


class Unknown(Struct, frozen=True):
    """The response proves nothing."""

    reason: str
    """Reason why the outcome is unknown: one line without addresses or signatures."""


class Absent(Struct, frozen=True):
    """Complete responses of the exchange do not contain the order at this moment."""


def read_send(
    exchange: str, result: CallResult, client_order_id: str
) -> Accepted | Refused | Unknown:
    """Return the outcome of the call that sent an order.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        result: Result of the call.
        client_order_id: Client order id of the order.
    """
    if result.error is not None:
        return read_failure(exchange, result.error, result.record)
    # From some errors with status 200, CCXT returns an order without an id.
    refused = find_proven_refusal(exchange, result.record.status, result.record.body)
    row = _get_row(result.value)
    if row is None or not _get_id(row):
        return refused or Unknown("the response holds no order")
    if not _has_client_order_id(row, client_order_id):
        return Unknown("the response is about another order")
    return Accepted(row, _get_id(row))


def read_cancel(
    exchange: str, result: CallResult, client_order_id: str
) -> Accepted | Refused | Unknown:
    """Return the outcome of the call that cancelled an order.

    Only `Accepted` with a status states how the order ended; otherwise look up the order.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        result: Result of the call.
        client_order_id: Client order id of the order.
    """
    return read_send(exchange, result, client_order_id)


def read_look_up(
    exchange: str, calls: Sequence[CcxtCall], results: Sequence[CallResult], client_order_id: str
) -> Accepted | Absent | Unknown:
    """Return the outcome of a look-up.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        calls: Calls of the look-up.
        results: Results of these calls, in the same order; the calls after the one that found the
            order may be missing.
        client_order_id: Client order id of the order.
    """
    doubts: list[Unknown] = []
    for call, result in zip(calls, results, strict=False):
        found = _read_found_order(exchange, call, result, client_order_id)
        if isinstance(found, Accepted):
            return found
        if isinstance(found, Unknown):
            doubts.append(found)
    if doubts:
        return doubts[0]
    return Absent() if len(results) == len(calls) > 0 else Unknown("not all lists were read")


def read_list(call: CcxtCall, result: CallResult) -> list[Mapping[str, Any]] | Unknown:
    """Return the rows of a list, or the reason why the response is not a complete list.

    CCXT returns an empty list for HTML, for a cut body and for an error.

    Args:
        call: Call with the keys that lead to the list in the response.
        result: Result of that call.
    """
    if result.error is not None:
        return Unknown(describe_failure(result.error, result.record))
    if not _has_list(result.record, call.list_path or (), is_page=call.is_page):
        return Unknown("the response holds no list")
    rows = [_get_row(row) for row in cast("list[Any]", result.value or [])]
    if None in rows:
        return Unknown("the list holds something else")
    return [row for row in rows if row is not None]


def read_failure(exchange: str, error: BaseException, record: RequestRecord) -> Refused | Unknown:
    """Return the outcome of a request whose call raised an error.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        error: Error that CCXT, or a library that it uses, has raised.
        record: Record of the HTTP request.
    """
    refused = find_proven_refusal(exchange, record.status, record.body)
    if refused is not None:
        return refused
    reason = describe_failure(error, record)
    if not record.is_sent and isinstance(error, ccxt.BaseError):
        return Refused("not sent", reason)
    if record.status is None and record.http_method == "POST" and _is_unconnected(error):
        # aiohttp may repeat a GET or DELETE, of which the first may have arrived; never a POST.
        return Refused("not sent", reason)
    return Unknown(reason)


def describe_failure(error: BaseException, record: RequestRecord) -> str:
    """Return the reason why a call has failed, in one line without addresses."""
    status = "" if record.status is None else f"HTTP {record.status}, "
    text = redact(str(error)) if record.status is None else ""
    text = escape_unprintable(text)[:_LONGEST_REASON]
    return f"{status}{type(error).__name__}{f': {text}' if text else ''}"


def _read_found_order(
    exchange: str, call: CcxtCall, result: CallResult, client_order_id: str
) -> Accepted | Absent | Unknown:
    """Return the outcome of one call of a look-up."""
    record = result.record
    if call.list_path is None:
        if result.error is not None:
            if is_no_such_order(exchange, record.status, record.body):
                return Absent()
            return Unknown(describe_failure(result.error, record))
        row = _get_row(result.value)
        if row is None or not _get_id(row) or not _has_client_order_id(row, client_order_id):
            return Unknown("the response holds no order, or another one")
        return Accepted(row, _get_id(row))
    rows = read_list(call, result)
    if isinstance(rows, Unknown):
        return rows
    found = next((row for row in rows if client_order_id in _collect_client_order_ids(row)), None)
    if found is not None:
        return Accepted(found, _get_id(found)) if _get_id(found) else Unknown("no order id")
    # CCXT leaves out rows of markets that it does not know.
    return Unknown("CCXT left the order out") if client_order_id in record.body else Absent()


def _get_row(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _get_row_or_empty(value: object) -> Mapping[str, Any]:
    return _get_row(value) or {}


def _get_id(row: Mapping[str, Any]) -> str:
    found = row.get("id")
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _collect_client_order_ids(row: Mapping[str, Any]) -> set[str]:
    info = _get_row_or_empty(row.get("info"))
    found = [row.get("clientOrderId"), *(info.get(name) for name in _CLIENT_ID_KEYS)]
    return {value for value in found if isinstance(value, str) and value}


def _has_client_order_id(row: Mapping[str, Any], client_order_id: str) -> bool:
    """Return whether a row has this client order id, or no client order id at all."""
    found = _collect_client_order_ids(row)
    return not found or client_order_id in found


def has_list_or_table(record: RequestRecord, path: tuple[str, ...]) -> bool:
    """Return whether a response with status 200 has a JSON list or object at a path.

    Args:
        record: Record of the request.
        path: Keys that lead to it; empty: the document itself.
    """
    return record.status == 200 and isinstance(
        _get_at_path(parse_json_body(record.body), path), list | dict
    )


def _get_at_path(document: Any, path: tuple[str, ...]) -> Any:
    value = document
    for name in path:
        value = _get_row_or_empty(value).get(name)
    return value


def _has_list(record: RequestRecord, path: tuple[str, ...], *, is_page: bool) -> bool:
    """Return whether a response has a list at a path that is complete, or one page of many."""
    if record.status != 200:
        return False
    document: Any = parse_json_body(record.body)
    value = _get_at_path(document, path)
    if not isinstance(value, dict if path[-1:] in _TABLES else list):
        return False
    if is_page:
        return True
    # Coinbase states whether there are more rows; Kraken states the number of all rows.
    count = _get_row_or_empty(_get_row_or_empty(document).get("result")).get("count")
    is_cut = isinstance(count, int) and count > len(cast("list[Any]", value))
    return not is_cut and _get_row_or_empty(document).get("has_next") is not True


def _is_unconnected(error: BaseException) -> bool:
    """Return whether no connection was made, so that nothing can have been sent."""
    link: BaseException | None = error
    while link is not None:
        names = {kind.__name__ for kind in type(link).__mro__}
        if isinstance(link, socket.gaierror) or "ClientConnectorError" in names:
            return True
        link = link.__cause__ or link.__context__
    return False
