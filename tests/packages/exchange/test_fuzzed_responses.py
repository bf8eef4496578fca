"""Responses that no exchange sends: nothing raises, and an order that exists is never refused.

The short form; ONETAPE_FUZZED_RESPONSES=100000 (`make responses`) is the long one.
"""

import copy
import json
import os
import random
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from onetape.core.errors import ExchangeError
from onetape.exchange.clients import Endpoint
from onetape.exchange.dialects import get_dialect
from onetape.exchange.order_calls import (
    CcxtCall,
    OrderTerms,
    make_cancel_order_call,
    make_look_up_calls,
    make_market_order_call,
)
from onetape.exchange.outcomes import (
    Absent,
    Accepted,
    Unknown,
    read_cancel,
    read_look_up,
    read_send,
)
from onetape.exchange.proven_refusals import Refused
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import (
    Credentials,
    OrderRefused,
    OrderRequest,
    OrderUnknown,
)
from order_server import NOW_MS, OrderServer, ServerResponse, make_market, open_private_client

COUNT = int(os.environ.get("ONETAPE_FUZZED_RESPONSES", "1500"))
BATCH = 2_000
ORDER = "da8e4ad59b78481c93e589746b0cf91f"
STATUSES = (
    200, 200, 200, 200, 201, 204, 400, 400, 401, 403, 404, 408, 409, 418, 429, 451, 500, 502, 503,
    504, 520,
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, 0, -1, -2010, 2**63, 1e400, "", "NaN", "-2010", "x" * 3_000, [], {}, [[]], "\x00",
)  # fmt: skip
PAGES = (
    b"", b"null", b"[]", b"{}", b"42", b'"text"', b"<html>down</html>", b"\xff\xfe\x00", b"[null]",
    b"{" * 2_000, b'{"code":0}', b'{"msg":"ok"}', b"true", b"[" * 50_000,
)  # fmt: skip
#: Documents of an order that exists, by exchange; the last ones are errors that leave it unknown.
MADE: dict[str, list[dict[str, Any]]] = {
    "binance": [
        {
            "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": ORDER,
            "transactTime": NOW_MS, "price": "0.0", "origQty": "0.0123", "executedQty": "0.0123",
            "cummulativeQuoteQty": "752.76", "status": "FILLED", "type": "MARKET", "side": "BUY",
            "fills": [
                {
                    "price": "61200.0", "qty": "0.0123", "commission": "0.0000123",
                    "commissionAsset": "BTC", "tradeId": 57,
                }
            ],
        },
        {"symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": ORDER},
        {"code": -1006, "msg": "Execution status unknown."},
        {"code": -1007, "msg": "Timeout waiting for response from backend server."},
        {"code": -2010, "msg": "Duplicate order sent."},
    ],
    "kraken": [
        {"error": [], "result": {"descr": {"order": "buy 1 XBTUSD @ market"}, "txid": ["O-1"]}},
        {"error": ["EService:Timeout"]},
        {"error": ["EGeneral:Internal error"]},
    ],
    "okx": [
        {"code": "0", "data": [{"clOrdId": ORDER, "ordId": "312", "sCode": "0", "sMsg": ""}]},
        {"code": "50004", "data": [], "msg": "Endpoint request timeout"},
        {"code": "1", "data": [{"clOrdId": ORDER, "ordId": "", "sCode": "51149", "sMsg": ""}]},
    ],
    "bybit": [
        {"retCode": 0, "retMsg": "OK", "result": {"orderId": "1", "orderLinkId": ORDER}},
        {"retCode": 10016, "retMsg": "Server error", "result": {}},
        {"retCode": 170007, "retMsg": "Timeout", "result": {}},
    ],
    "coinbase": [
        {
            "success": True, "order_id": "1",
            "success_response": {"order_id": "1", "client_order_id": ORDER},
        },
        {"success": False, "error_response": {"error": "UNKNOWN_FAILURE_REASON"}},
    ],
}  # fmt: skip

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class OutcomeCounts(NamedTuple):
    """How often each outcome was read."""

    accepted: int
    refused: int
    absent: int
    unknown: int


def make_fuzzed_response(chosen: random.Random, exchange: str) -> ServerResponse:
    """Return a response to a request that the exchange has carried out."""
    if chosen.random() < 0.15:
        return ServerResponse(chosen.choice(PAGES), chosen.choice(STATUSES), choose_ending(chosen))
    document = copy.deepcopy(chosen.choice(MADE[exchange]))
    if chosen.random() < 0.6:
        mutate(chosen, document)
    body = json.dumps(document).encode()
    # Of the code -2010 the text alone shows whether the order exists: it is sent as it is.
    if chosen.random() < 0.3 and b"uplicate" not in body:
        place = chosen.randrange(len(body))
        body = body[:place] + chosen.choice((b"", b"\x00", b"<", body[place + 5 :]))
    return ServerResponse(body, chosen.choice(STATUSES), choose_ending(chosen))


def choose_ending(chosen: random.Random) -> str:
    return chosen.choices(("whole", "cut", "reset"), (40, 1, 1))[0]


def list_filled_tables(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in document.values() if isinstance(one, dict) and one]


def mutate(chosen: random.Random, document: dict[str, Any]) -> None:
    """Replace, nest or leave out some values; a code is never replaced by one that refuses."""
    for _ in range(chosen.randint(1, 4)):
        place = document
        while nested := list_filled_tables(place):
            if chosen.random() < 0.5:
                break
            place = chosen.choice(nested)
        if not place:
            return
        key = chosen.choice(list(place))
        odd = chosen.choice([one for one in ODD if not (key == "code" and one == -2010)])
        if chosen.random() < 0.3 and not (key == "msg" and "uplicate" in str(place[key])):
            del place[key]
        elif not (key == "msg" and "uplicate" in str(place[key])):
            place[key] = chosen.choice((odd, [place[key]]))


def call_of(chosen: random.Random, exchange: str) -> tuple[str, CcxtCall]:
    dialect = get_dialect(exchange)
    kind = chosen.choice(("send", "send", "cancel", "look up"))
    if kind == "send":
        terms = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("0.0123"))
        return kind, make_market_order_call(dialect, terms, NOW_MS)
    if kind == "cancel":
        return kind, make_cancel_order_call(dialect, ORDER, "BTC/USDT", exchange_order_id="28")
    calls = make_look_up_calls(dialect, ORDER, "BTC/USDT", since_ms=NOW_MS)
    return kind, chosen.choice(calls)


async def read_fuzzed_outcomes(exchange: str, seed: int, count: int) -> OutcomeCounts:
    """Read fuzzed responses; every one is about an order that the exchange has."""
    chosen = random.Random(seed)  # noqa: S311 - a test
    numbers = dict.fromkeys(OutcomeCounts._fields, 0)
    response = ServerResponse(b"")
    async with (
        OrderServer(lambda _, __: response) as server,
        open_private_client(exchange, server.url) as tap,
    ):
        for number in range(count):
            response = make_fuzzed_response(chosen, exchange)
            kind, call = call_of(chosen, exchange)
            result = await tap.perform(call)
            if kind == "send":
                outcome = read_send(exchange, result, ORDER)
            elif kind == "cancel":
                outcome = read_cancel(exchange, result, ORDER)
            else:
                outcome = read_look_up(exchange, [call], [result], ORDER)
            place = f"{exchange} {number} of seed {seed}: {kind}, {response}"
            assert not isinstance(outcome, Refused | Absent), place
            if isinstance(outcome, Accepted):
                assert outcome.exchange_order_id, place
            else:
                assert "://" not in outcome.reason, place
            numbers[type(outcome).__name__.lower()] += 1
    return OutcomeCounts(**numbers)


@pytest.mark.seeded
@pytest.mark.parametrize("exchange", list(MADE))
def test_row_57_an_order_that_exists_is_never_refused_or_absent(
    run: Run, exchange: str, random_seed: int
) -> None:
    left, seed = COUNT // len(MADE), random_seed
    while left > 0:
        # A run of the loop is bounded in time.
        count = run(read_fuzzed_outcomes(exchange, seed, min(left, BATCH)))
        assert count.accepted > 0
        assert count.unknown > 0
        left, seed = left - BATCH, seed + 1


#: Errors that prove that nothing was done, spoiled in the same ways.
REFUSALS: dict[str, dict[str, Any]] = {
    "binance": {"code": -1013, "msg": "Filter failure: LOT_SIZE"},
    "kraken": {"error": ["EOrder:Insufficient funds"]},
    "okx": {"code": "1", "data": [{"clOrdId": ORDER, "ordId": "", "sCode": "51008"}]},
    "bybit": {"retCode": 170131, "retMsg": "Balance insufficient.", "result": {}},
    "coinbase": {"success": False, "error_response": {"error": "INSUFFICIENT_FUND"}},
}


@pytest.mark.seeded
@pytest.mark.parametrize("exchange", list(REFUSALS))
def test_a_damaged_refusal_is_read_as_a_refusal_or_unknown(
    run: Run, exchange: str, random_seed: int
) -> None:
    async def work() -> set[type]:
        chosen = random.Random(random_seed)  # noqa: S311 - a test
        found: set[type] = set()
        response = ServerResponse(b"")
        async with (
            OrderServer(lambda _, __: response) as server,
            open_private_client(exchange, server.url) as tap,
        ):
            for _ in range(60):
                document = copy.deepcopy(REFUSALS[exchange])
                if chosen.random() < 0.5:
                    mutate(chosen, document)
                response = ServerResponse(
                    json.dumps(document).encode(), chosen.choice((200, 400, 500))
                )
                terms = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("0.0123"))
                result = await tap.perform(
                    make_market_order_call(get_dialect(exchange), terms, NOW_MS)
                )
                found.add(type(read_send(exchange, result, ORDER)))
        return found

    found = run(work())
    assert found <= {Refused, Unknown}
    assert found == {Refused, Unknown}


@pytest.mark.seeded
def test_row_57_the_trading_client_never_takes_an_order_that_exists_for_refused(
    run: Run, random_seed: int
) -> None:
    async def work(seed: int, count: int) -> None:
        chosen = random.Random(seed)  # noqa: S311 - a test
        response, sent = ServerResponse(b""), 0

        def script(method: str, _: str) -> ServerResponse:
            nonlocal sent
            sent += method in ("POST", "DELETE")
            return response

        order = OrderRequest(ORDER, "BTC/USDT", "sell", Decimal("0.0123"), NOW_MS)
        async with (
            OrderServer(script) as server,
            PrivateClient(
                Endpoint("simulator", server.url), Credentials("k", "s"), now_ms=lambda: NOW_MS
            ) as client,
        ):
            client._client.set_markets([make_market("BTCUSDT")])  # pyright: ignore[reportPrivateUsage]
            for number in range(count):
                response, sent = make_fuzzed_response(chosen, "binance"), 0
                ask = chosen.choice((client.submit, client.cancel, client.look_up))
                place = f"{number} of seed {seed}: {ask.__name__}, {response}"
                try:
                    if ask == client.submit:
                        await client.submit(order)
                    elif ask == client.cancel:
                        await client.cancel("BTC/USDT", ORDER)
                    else:
                        assert await client.look_up("BTC/USDT", ORDER, since_ms=0) is not None, (
                            place
                        )
                except (OrderUnknown, ExchangeError):
                    pass
                except OrderRefused as error:
                    raise AssertionError(place) from error
                # aiohttp may repeat a DELETE whose connection was reset; an order is sent once.
                assert sent <= (2 if ask == client.cancel else 1), place

    left, seed = COUNT // 3, random_seed
    while left > 0:
        run(work(seed, min(left, BATCH)))
        left, seed = left - BATCH, seed + 1
