"""Responses to orders, cancels and look-ups are read as accepted, refused, absent or unknown."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.exchange.dialects import get_dialect
from onetape.exchange.order_calls import (
    OrderTerms,
    make_cancel_order_call,
    make_look_up_calls,
    make_market_order_call,
    make_own_trades_call,
)
from onetape.exchange.outcomes import (
    Absent,
    Accepted,
    Unknown,
    read_cancel,
    read_list,
    read_look_up,
    read_send,
)
from onetape.exchange.proven_refusals import RefusalKind, Refused
from order_server import NOW_MS, OrderServer, ServerResponse, open_private_client

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ORDER = "da8e4ad59b78481c93e589746b0cf91f"
OTHER = "00000000000000000000000000000001"
BUY = OrderTerms(ORDER, "BTC/USDT", "buy", Decimal("0.0123"))
SELL = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("0.0123"))
#: Binance's document of a filled order.
FILLED: dict[str, Any] = {
    "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": ORDER,
    "transactTime": NOW_MS, "price": "0.00000000", "origQty": "0.01230000",
    "executedQty": "0.01230000", "cummulativeQuoteQty": "752.76000000", "status": "FILLED",
    "timeInForce": "GTC", "type": "MARKET", "side": "BUY", "workingTime": NOW_MS,
    "fills": [
        {
            "price": "61200.00000000", "qty": "0.01230000", "commission": "0.00001230",
            "commissionAsset": "BTC", "tradeId": 57,
        }
    ],
    "selfTradePreventionMode": "NONE",
}  # fmt: skip
ACK = {key: FILLED[key] for key in ("symbol", "orderId", "orderListId", "clientOrderId")}


def encode_body(document: object) -> bytes:
    return (document if isinstance(document, str) else json.dumps(document)).encode()


async def send_order(
    response: ServerResponse, exchange: str = "binance", terms: OrderTerms = BUY
) -> Any:
    """Return the outcome of an order for this response of the exchange."""
    async with (
        OrderServer(lambda _, __: response) as server,
        open_private_client(exchange, server.url) as tap,
    ):
        call = make_market_order_call(get_dialect(exchange), terms, NOW_MS)
        return read_send(exchange, await tap.perform(call), ORDER)


async def look_up_order(*responses: ServerResponse, exchange: str = "binance") -> Any:
    left = list(responses)
    async with (
        OrderServer(lambda _, __: left.pop(0)) as server,
        open_private_client(exchange, server.url) as tap,
    ):
        calls = make_look_up_calls(get_dialect(exchange), ORDER, "BTC/USDT", since_ms=NOW_MS)
        results = [await tap.perform(call) for call in calls]
        return read_look_up(exchange, calls, results, ORDER)


def test_an_order_with_its_fills_is_accepted(run: Run) -> None:
    outcome = run(send_order(ServerResponse(encode_body(FILLED))))
    assert isinstance(outcome, Accepted)
    assert outcome.exchange_order_id == "28"
    assert outcome.has_status
    assert outcome.row["status"] == "closed"
    assert [trade["id"] for trade in outcome.row["trades"]] == ["57"]


def test_an_acknowledgement_without_fills_is_accepted_and_requests_a_look_up(run: Run) -> None:
    outcome = run(send_order(ServerResponse(encode_body(ACK))))
    assert isinstance(outcome, Accepted)
    assert not outcome.has_status


REFUSALS: dict[str, tuple[int, int, str, RefusalKind]] = {
    "too late": (400, -1021, "Timestamp for this request is outside of the recvWindow.", "late"),
    "notional": (400, -1013, "Filter failure: NOTIONAL", "rules"),
    "precision": (400, -1111, "Precision is over the maximum defined for this asset.", "rules"),
    "funds": (400, -2010, "Account has insufficient balance for requested action.", "funds"),
    "closed": (400, -2010, "Market is closed.", "market"),
    "stop": (400, -2010, "Stop price would trigger immediately.", "rules"),
    "weight": (429, -1003, "Too many requests; current limit is 1200.", "rate"),
    "ban": (418, -1003, "Way too much request weight used; IP banned.", "rate"),
    "orders": (429, -1015, "Too many new orders; current limit is 50.", "rate"),
    "key": (401, -2015, "Invalid API-key, IP, or permissions for action.", "key"),
    "signature": (400, -1022, "Signature for this request is not valid.", "key"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSALS))
def test_a_known_refusal_of_the_exchange_proves_that_no_order_exists(run: Run, name: str) -> None:
    status, code, message, kind = REFUSALS[name]
    outcome = run(send_order(ServerResponse(encode_body({"code": code, "msg": message}), status)))
    assert outcome == Refused(kind, message, str(code))


DOUBTS = {
    "unknown state": ServerResponse(
        encode_body({"code": -1006, "msg": "Execution status unknown."}), 400
    ),
    "timeout": ServerResponse(
        encode_body({"code": -1007, "msg": "Timeout waiting for response."}), 408
    ),
    "timeout as 400": ServerResponse(encode_body({"code": -1007, "msg": "Timeout."}), 400),
    "internal": ServerResponse(encode_body({"code": -1001, "msg": "Internal error."}), 400),
    "overloaded": ServerResponse(encode_body({"code": -1008, "msg": "Server is overloaded."}), 400),
    "gateway": ServerResponse(b"<html>504 Gateway Time-out</html>", 504),
    "5xx with a refusal": ServerResponse(encode_body({"code": -2010, "msg": "insufficient"}), 500),
    "page with 200": ServerResponse(b"<html>maintenance</html>"),
    "page with 403": ServerResponse(b"<html>blocked</html>", 403),
    "page with 429": ServerResponse(b"slow down", 429),
    "empty": ServerResponse(b""),
    "empty object": ServerResponse(b"{}"),
    "null": ServerResponse(b"null"),
    "list": ServerResponse(b"[]"),
    "number": ServerResponse(b"42"),
    "deep": ServerResponse(b"[" * 100_000),
    "truncated": ServerResponse(encode_body(FILLED)[:120]),
    "cut": ServerResponse(encode_body(FILLED), ending="cut"),
    "reset": ServerResponse(b"", ending="reset"),
    "duplicate": ServerResponse(encode_body({"code": -2010, "msg": "Duplicate order sent."}), 400),
    "rejected for no known reason": ServerResponse(encode_body({"code": -2010, "msg": ""}), 400),
    "code of a success": ServerResponse(encode_body({"code": 0, "msg": ""}), 400),
    "unknown code": ServerResponse(encode_body({"code": -9999, "msg": "?"}), 400),
    "conflict": ServerResponse(encode_body({"code": -2021, "msg": "partially failed"}), 409),
    "order with 400": ServerResponse(encode_body(FILLED), 400),
    "order and code": ServerResponse(encode_body({**FILLED, "code": -2010}), 400),
    "other order": ServerResponse(encode_body({**FILLED, "clientOrderId": OTHER})),
    "code as text": ServerResponse(encode_body({"code": "-2010", "msg": "insufficient"}), 400),
    "code in words": ServerResponse(encode_body({"code": [-2010], "msg": {}}), 400),
}


@pytest.mark.parametrize("name", list(DOUBTS))
def test_row_57_every_other_error_leaves_the_order_unknown(run: Run, name: str) -> None:
    outcome = run(send_order(DOUBTS[name]))
    assert isinstance(outcome, Unknown)
    assert "signature" not in outcome.reason
    assert "://" not in outcome.reason


def test_a_timeout_leaves_the_order_unknown_and_names_no_address(run: Run) -> None:
    async def work() -> Any:
        hanging = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hanging.wait()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_private_client("binance", url, timeout=1_000) as tap:
            result = await tap.perform(make_market_order_call(get_dialect("binance"), BUY, NOW_MS))
        hanging.set()
        server.close()
        return read_send("binance", result, ORDER)

    assert run(work()) == Unknown("RequestTimeout: binance POST (address)")


def test_an_order_is_refused_where_nothing_was_sent(run: Run) -> None:
    async def work(url: str, terms: OrderTerms) -> Any:
        async with open_private_client("binance", url) as tap:
            call = make_market_order_call(get_dialect("binance"), terms, NOW_MS)
            return read_send("binance", await tap.perform(call), ORDER)

    closed_port = run(work("http://127.0.0.1:9", BUY))
    assert (closed_port.kind, closed_port.code) == ("not sent", "")
    too_small = OrderTerms(ORDER, "BTC/USDT", "buy", Decimal("0.00000001"))
    assert run(work("http://127.0.0.1:9", too_small)).kind == "not sent"


def test_a_cancel_without_a_connection_is_unknown_because_aiohttp_repeats_requests(
    run: Run,
) -> None:
    async def work() -> Any:
        async with open_private_client("binance", "http://127.0.0.1:9") as tap:
            call = make_cancel_order_call(get_dialect("binance"), ORDER, "BTC/USDT")
            return read_cancel("binance", await tap.perform(call), ORDER)

    assert isinstance(run(work()), Unknown)


async def cancel_order(response: ServerResponse, exchange: str = "binance") -> Any:
    async with (
        OrderServer(lambda _, __: response) as server,
        open_private_client(exchange, server.url) as tap,
    ):
        call = make_cancel_order_call(
            get_dialect(exchange), ORDER, "BTC/USDT", exchange_order_id="28"
        )
        return read_cancel(exchange, await tap.perform(call), ORDER)


def test_a_cancel_is_accepted_refused_or_unknown(run: Run) -> None:
    ended: dict[str, Any] = {
        **FILLED, "status": "CANCELED", "origClientOrderId": ORDER, "clientOrderId": OTHER,
        "fills": [],
    }  # fmt: skip
    accepted = run(cancel_order(ServerResponse(encode_body(ended))))
    assert isinstance(accepted, Accepted)
    assert accepted.row["status"] == "canceled"
    no_such = run(
        cancel_order(
            ServerResponse(encode_body({"code": -2011, "msg": "Unknown order sent."}), 400)
        )
    )
    assert no_such == Refused("no such order", "Unknown order sent.", "-2011")
    assert isinstance(run(cancel_order(ServerResponse(b"<html>", 502))), Unknown)
    assert isinstance(run(cancel_order(ServerResponse(b"{}"))), Unknown)


def test_only_an_explicit_response_of_the_exchange_means_absence(run: Run) -> None:
    absent = ServerResponse(encode_body({"code": -2013, "msg": "Order does not exist."}), 400)
    assert run(look_up_order(absent)) == Absent()
    assert isinstance(run(look_up_order(ServerResponse(encode_body(FILLED)))), Accepted)


@pytest.mark.parametrize(
    "response",
    [
        ServerResponse(b"<html>"),
        ServerResponse(b"{}"),
        ServerResponse(b"", ending="reset"),
        ServerResponse(b"<html>not found</html>", 404),
        ServerResponse(encode_body({"code": -2013, "msg": "Order does not exist."}), 500),
        ServerResponse(encode_body({"code": -2015, "msg": "Invalid API-key."}), 401),
        ServerResponse(encode_body({"code": -1121, "msg": "Invalid symbol."}), 400),
        ServerResponse(
            encode_body({"code": -2026, "msg": "Order was canceled or expired, archived."}), 400
        ),
        ServerResponse(encode_body({**FILLED, "clientOrderId": OTHER})),
    ],
)
def test_row_59_a_look_up_without_a_response_is_never_read_as_not_found(
    run: Run, response: ServerResponse
) -> None:
    assert isinstance(run(look_up_order(response)), Unknown)


#: Empty lists as the exchanges send them, and responses from which CCXT reads an empty list, too.
EMPTY: dict[str, tuple[dict[str, Any], ...]] = {
    "kraken": ({"error": [], "result": {"open": {}}}, {"error": [], "result": {"closed": {}}}),
    "bybit": ({"retCode": 0, "result": {"list": []}},) * 2,
    "coinbase": ({"orders": [], "has_next": False},),
}
KRAKENS = {"cl_ord_id": ORDER, "status": "open", "descr": {"pair": "XXBTZUSD", "type": "buy"}}
ORDERS: dict[str, dict[str, Any]] = {
    "kraken": {"error": [], "result": {"open": {"O-1": KRAKENS}}},
    "bybit": {
        "retCode": 0,
        "result": {"list": [{"orderId": "O-1", "orderLinkId": ORDER, "symbol": "BTCUSDT"}]},
    },
    "coinbase": {
        "orders": [
            {
                "order_id": "O-1",
                "client_order_id": ORDER,
                "product_id": "BTC-USDT",
                "created_time": "2024-03-01T00:20:01Z",
            }
        ]
    },
}


@pytest.mark.parametrize("exchange", list(EMPTY))
def test_an_order_is_absent_if_every_list_is_complete_and_lacks_it(run: Run, exchange: str) -> None:
    empty = [ServerResponse(encode_body(one)) for one in EMPTY[exchange]]
    found = ServerResponse(encode_body(ORDERS[exchange]))
    assert run(look_up_order(*empty, exchange=exchange)) == Absent()
    outcome = run(look_up_order(found, *empty[1:], exchange=exchange))
    assert isinstance(outcome, Accepted)
    assert outcome.exchange_order_id == "O-1"
    for junk in (b"<html>", b"{}", b"null", b"[]", b'{"result": {}, "error": []}'):
        for place in range(len(empty)):
            responses = [*empty[:place], ServerResponse(junk), *empty[place + 1 :]]
            assert isinstance(run(look_up_order(*responses, exchange=exchange)), Unknown)


def test_an_order_that_ccxt_leaves_out_of_its_list_is_not_absent(run: Run) -> None:
    other_market = {**KRAKENS, "descr": {"pair": "NEWNAME", "type": "buy"}}
    response = ServerResponse(encode_body({"error": [], "result": {"open": {"O-1": other_market}}}))
    closed = ServerResponse(encode_body(EMPTY["kraken"][1]))
    assert run(look_up_order(response, closed, exchange="kraken")) == Unknown(
        "CCXT left the order out"
    )


def test_a_list_with_further_pages_is_not_complete(run: Run) -> None:
    more = ServerResponse(encode_body({"orders": [], "has_next": True}))
    assert isinstance(run(look_up_order(more, exchange="coinbase")), Unknown)
    kraken = [ServerResponse(encode_body(one)) for one in EMPTY["kraken"]]
    counted = ServerResponse(encode_body({"error": [], "result": {"closed": {}, "count": 60}}))
    assert isinstance(run(look_up_order(kraken[0], counted, exchange="kraken")), Unknown)


def test_own_trades_are_a_list_or_unknown(run: Run) -> None:
    async def work(body: bytes) -> Any:
        async with (
            OrderServer(lambda _, __: ServerResponse(body)) as server,
            open_private_client("binance", server.url) as tap,
        ):
            call = make_own_trades_call(get_dialect("binance"), "BTC/USDT", since_ms=1)
            return read_list(call, await tap.perform(call))

    trade = {
        "symbol": "BTCUSDT", "id": 57, "orderId": 28, "price": "61200", "qty": "0.0123",
        "commission": "0.1", "commissionAsset": "BNB", "time": NOW_MS, "isBuyer": True,
    }  # fmt: skip
    assert run(work(b"[]")) == []
    assert [row["id"] for row in run(work(encode_body([trade])))] == ["57"]
    for junk in (b"<html>", b"{}", b"null", b'{"code": 0}', b"[null]"):
        assert isinstance(run(work(junk)), Unknown)


SENT_ELSEWHERE: dict[tuple[str, str], dict[str, Any]] = {
    ("kraken", "late"): {"error": ["EService:Deadline elapsed"]},
    ("kraken", "funds"): {"error": ["EOrder:Insufficient funds"]},
    ("okx", "funds"): {
        "code": "1", "msg": "", "data": [{"ordId": "", "sCode": "51008", "sMsg": "Insufficient"}],
    },
    ("okx", "late"): {"code": "50102", "msg": "Timestamp request expired", "data": []},
    ("bybit", "late"): {"retCode": 10002, "retMsg": "invalid request", "result": {}},
    ("bybit", "funds"): {"retCode": 170131, "retMsg": "Balance insufficient", "result": {}},
    ("coinbase", "funds"): {
        "success": False, "error_response": {"error": "INSUFFICIENT_FUND", "message": "no funds"},
    },
}  # fmt: skip
DOUBTED_ELSEWHERE: list[tuple[str, object]] = [
    ("kraken", {"error": ["EService:Unavailable"]}),
    ("kraken", {"error": ["EService:Timeout"]}),
    ("kraken", {"error": ["EGeneral:Internal error"]}),
    ("kraken", {"error": ["EOrder:Invalid", "EService:Busy"]}),
    ("kraken", {"error": ["EOrder:Insufficient funds"], "result": {"txid": ["O-1"]}}),
    ("okx", {"code": "50004", "msg": "timeout", "data": []}),
    ("okx", {"code": "1", "data": [{"sCode": "51016", "sMsg": "Client order id exists"}]}),
    ("okx", {"code": "1", "data": [{"sCode": "51149", "sMsg": "Order timed out"}]}),
    ("okx", {"code": "1", "data": [{"ordId": "9", "sCode": "51008", "sMsg": ""}]}),
    ("bybit", {"retCode": 10016, "retMsg": "System error", "result": {}}),
    ("bybit", {"retCode": 170007, "retMsg": "Timeout", "result": {}}),
    ("bybit", {"retCode": 170141, "retMsg": "Duplicate clientOrderId", "result": {}}),
    ("coinbase", {"success": False, "error_response": {"error": "UNKNOWN_FAILURE_REASON"}}),
    ("coinbase", {"error": "internal_server_error"}),
]


@pytest.mark.parametrize(("exchange", "kind"), list(SENT_ELSEWHERE))
def test_refusals_of_other_exchanges_are_read(run: Run, exchange: str, kind: str) -> None:
    outcome = run(
        send_order(ServerResponse(encode_body(SENT_ELSEWHERE[exchange, kind])), exchange, SELL)
    )
    assert isinstance(outcome, Refused)
    assert outcome.kind == kind


@pytest.mark.parametrize(("exchange", "document"), DOUBTED_ELSEWHERE)
def test_unclear_errors_of_other_exchanges_are_not_refusals(
    run: Run, exchange: str, document: object
) -> None:
    assert isinstance(
        run(send_order(ServerResponse(encode_body(document)), exchange, SELL)), Unknown
    )


def test_recorded_errors_of_binance_are_read_as_their_meaning_states(
    run: Run, shared: Path
) -> None:
    items = json.loads((shared / "data/payloads/binance/errors.json").read_text())["items"]
    doubtful: set[int] = set()
    refused: set[int] = set()
    for item in items:
        code = item["body"].get("code") if isinstance(item["body"], dict) else None
        outcome = run(send_order(ServerResponse(encode_body(item["body"]), item["status"])))
        is_refused = isinstance(outcome, Refused)
        assert is_refused or isinstance(outcome, Unknown)
        (refused if is_refused else doubtful).add(int(code or 0))
    assert {-1021, -1013, -2010, -1003, -1015, -1022, -2014, -2015} <= refused
    assert not {-1000, -1001, -1006, -1007, -1008, -2013} & refused
