"""The HTTP requests that CCXT builds for orders, by exchange; only its `fetch` is replaced."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt.async_support as ccxt_async
import pytest

from onetape.core.errors import UsageError
from onetape.exchange.dialects import (
    DIALECTS,
    check_evidence,
    find_entry_rate_obstacle,
    get_dialect,
)
from onetape.exchange.order_calls import (
    CcxtCall,
    OrderTerms,
    make_cancel_order_call,
    make_look_up_calls,
    make_market_order_call,
    make_number_look_up_call,
    make_open_orders_call,
    make_own_trades_call,
    make_replace_stop_call,
    make_stop_order_call,
)
from onetape.exchange.request_tap import RequestTap

#: 2024-03-01 00:20 UTC.
INTENDED_MS = 1_709_252_400_000
#: The process was suspended between the intent and the send.
NOW_MS = INTENDED_MS + 9_000
ORDER = "da8e4ad59b78481c93e589746b0cf91f"
OLD = "00000000000000000000000000000001"
NAMES = {
    "binance": "BTCUSDT", "kraken": "XXBTZUSD", "okx": "BTC-USDT", "bybit": "BTCUSDT",
    "coinbase": "BTC-USDT",
}  # fmt: skip
BUY = OrderTerms(ORDER, "BTC/USDT", "buy", Decimal("0.0123"))
BUY_COST = OrderTerms(ORDER, "BTC/USDT", "buy", None, Decimal("20.5"))
SELL = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("0.0123"))
#: What depends on sender and time, and is checked apart or is a signature.
UNCOMPARED = {"signature", "nonce"}


@dataclass(frozen=True)
class SentRequest:
    """An HTTP request that CCXT would send."""

    method: str
    path: str
    values: Mapping[str, Any]
    """Of the query or the body, whichever there is."""
    headers: Mapping[str, str]


def make_client(exchange: str) -> Any:
    client: Any = getattr(ccxt_async, exchange)(
        {
            "apiKey": "key",
            "secret": "c2VjcmV0c2VjcmV0",
            "password": "phrase",
            "enableRateLimit": False,
            "options": dict(get_dialect(exchange).client_options),
        }
    )
    client.timeout_on_exit = 0
    client.set_markets([_make_market(NAMES[exchange])])
    return client


def _make_market(name: str) -> dict[str, Any]:
    return {
        "id": name, "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC",
        "quoteId": "USDT", "type": "spot", "spot": True, "margin": False, "swap": False,
        "future": False, "option": False, "contract": False, "active": True, "linear": None,
        "inverse": None, "limits": {}, "precision": {"price": 0.01, "amount": 0.0001},
        "info": {"orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"]},
    }  # fmt: skip


def list_sent_requests(exchange: str, calls: Iterable[CcxtCall]) -> list[SentRequest]:
    """Return the requests that go out for calls, each once, in their order."""
    sent: list[SentRequest] = []

    async def fetch(url: str, method: str, headers: Mapping[str, str], body: str | None) -> Any:
        parts = urlsplit(url)
        sent.append(SentRequest(method, parts.path, _parse_values(parts.query, body), headers))
        if parts.path.endswith("query-api"):
            return {"retCode": 0, "result": {"uta": 1, "unified": 0}}
        return {}

    async def work() -> None:
        client = make_client(exchange)
        client.fetch = fetch
        tap = RequestTap(client, lambda: NOW_MS)
        first = get_dialect(exchange).first_call
        if first is not None:
            await getattr(client, first)()
            sent.clear()
        for call in calls:
            await tap.perform(call)
        await client.close()

    asyncio.run(work())
    return sent


def _parse_values(query: str, body: str | None) -> Mapping[str, Any]:
    if body and body[0] in "[{":
        document: Any = json.loads(body)
        values: Mapping[str, Any] = document[0] if body[0] == "[" else document
        return values
    pairs = dict(parse_qsl(body or query, keep_blank_values=True))
    return {name: value for name, value in pairs.items() if name not in UNCOMPARED}


def send_one_request(exchange: str, call: CcxtCall) -> SentRequest:
    [request] = list_sent_requests(exchange, [call])
    return request


#: What goes out in addition to the order, where the dialect has its deadline in the request.
PINNED = {"timestamp": str(INTENDED_MS), "recvWindow": "3000"}
BY_AMOUNT = {
    "binance": (
        "/api/v3/order",
        {
            "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.0123",
            "newClientOrderId": ORDER, "newOrderRespType": "FULL", **PINNED,
        },
    ),
    "kraken": (
        "/0/private/AddOrder",
        {
            "pair": "XXBTZUSD", "type": "buy", "ordertype": "market", "volume": "0.0123",
            "cl_ord_id": ORDER, "deadline": "2024-03-01T00:20:05.000Z",
        },
    ),
    "okx": (
        "/api/v5/trade/batch-orders",
        {
            "instId": "BTC-USDT", "side": "buy", "ordType": "market", "sz": "0.0123",
            "tdMode": "cash", "tgtCcy": "base_ccy", "clOrdId": ORDER,
        },
    ),
    "bybit": (
        "/v5/order/create",
        {
            "category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market",
            "marketUnit": "baseCoin", "qty": "0.0123", "orderLinkId": ORDER,
        },
    ),
}  # fmt: skip
BY_COST = {
    "binance": {"quoteOrderQty": "20.5"},
    "kraken": {"volume": "20.5", "oflags": "viqc"},
    "okx": {"sz": "20.5", "tgtCcy": "quote_ccy", "tdMode": "cash"},
    "bybit": {"qty": "20.5"},
    "coinbase": {"order_configuration": {"market_market_ioc": {"quote_size": "20.5"}}},
}


@pytest.mark.parametrize("exchange", list(BY_AMOUNT))
def test_a_market_buy_by_amount_is_sent_with_its_id_and_no_price(exchange: str) -> None:
    path, values = BY_AMOUNT[exchange]
    request = send_one_request(
        exchange, make_market_order_call(get_dialect(exchange), BUY, INTENDED_MS)
    )
    assert (request.method, request.path, request.values) == ("POST", path, values)


@pytest.mark.parametrize("exchange", list(BY_COST))
def test_a_market_buy_by_cost_states_quote_currency(exchange: str) -> None:
    request = send_one_request(
        exchange, make_market_order_call(get_dialect(exchange), BUY_COST, INTENDED_MS)
    )
    assert request.values.items() >= BY_COST[exchange].items()
    assert "price" not in request.values


def test_coinbase_buys_by_cost_only_and_sells_by_amount_with_our_id() -> None:
    dialect = get_dialect("coinbase")
    with pytest.raises(UsageError, match="buys by cost"):
        make_market_order_call(dialect, BUY, INTENDED_MS)
    request = send_one_request("coinbase", make_market_order_call(dialect, SELL, INTENDED_MS))
    assert (request.method, request.path) == ("POST", "/api/v3/brokerage/orders")
    assert request.values == {
        "client_order_id": ORDER, "product_id": "BTC-USDT", "side": "SELL",
        "order_configuration": {"market_market_ioc": {"base_size": "0.0123"}},
    }  # fmt: skip


STOPS = {
    "binance": (
        "/api/v3/order",
        {
            "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "stopPrice": "61200.5",
            "quantity": "0.0123", "newClientOrderId": ORDER, "newOrderRespType": "FULL", **PINNED,
        },
    ),
    "kraken": (
        "/0/private/AddOrder",
        {
            "pair": "XXBTZUSD", "type": "sell", "ordertype": "stop-loss", "price": "61200.5",
            "volume": "0.0123", "cl_ord_id": ORDER, "deadline": "2024-03-01T00:20:05.000Z",
        },
    ),
    "okx": (
        "/api/v5/trade/order-algo",
        {
            "instId": "BTC-USDT", "ordType": "trigger", "triggerPx": "61200.5", "orderPx": "-1",
            "sz": "0.0123", "side": "sell", "tdMode": "cash", "tgtCcy": "base_ccy",
            "algoClOrdId": ORDER, "clOrdId": ORDER,
        },
    ),
    "bybit": (
        "/v5/order/create",
        {
            "category": "spot", "symbol": "BTCUSDT", "orderFilter": "tpslOrder", "side": "Sell",
            "triggerPrice": "61200.5", "orderType": "Market", "qty": "0.0123",
            "marketUnit": "baseCoin", "orderLinkId": ORDER,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("exchange", list(STOPS))
def test_a_stop_is_a_conditional_sell_of_coins_that_are_held(exchange: str) -> None:
    call = make_stop_order_call(
        get_dialect(exchange), SELL, INTENDED_MS, trigger=Decimal("61200.5")
    )
    request = send_one_request(exchange, call)
    path, values = STOPS[exchange]
    assert (request.method, request.path, request.values) == ("POST", path, values)


@pytest.mark.parametrize("exchange", list(BY_AMOUNT))
def test_a_market_sell_differs_from_the_buy_only_in_its_side(exchange: str) -> None:
    path, values = BY_AMOUNT[exchange]
    side = {"kraken": ("type", "sell"), "okx": ("side", "sell"), "bybit": ("side", "Sell")}
    name, value = side.get(exchange, ("side", "SELL"))
    request = send_one_request(
        exchange, make_market_order_call(get_dialect(exchange), SELL, INTENDED_MS)
    )
    assert (request.method, request.path) == ("POST", path)
    assert request.values == values | {name: value}


def test_a_coinbase_stop_has_the_direction_down_and_a_limit() -> None:
    dialect = get_dialect("coinbase")
    with pytest.raises(UsageError, match="no stop that becomes a market order"):
        make_stop_order_call(dialect, SELL, INTENDED_MS, trigger=Decimal(61_200))
    call = make_stop_order_call(
        dialect, SELL, INTENDED_MS, trigger=Decimal("61200.5"), limit=Decimal("60900")
    )
    assert send_one_request("coinbase", call).values["order_configuration"] == {
        "stop_limit_stop_limit_gtc": {
            "base_size": "0.0123", "limit_price": "60900", "stop_price": "61200.5",
            "stop_direction": "STOP_DIRECTION_STOP_DOWN",
        }
    }  # fmt: skip


def test_a_binance_replacement_of_a_stop_is_a_stop_and_not_a_market_order() -> None:
    dialect = get_dialect("binance")
    call = make_replace_stop_call(
        dialect, SELL, INTENDED_MS, replaced_id=OLD, trigger=Decimal("61300.5")
    )
    request = send_one_request("binance", call)
    assert (request.method, request.path) == ("POST", "/api/v3/order/cancelReplace")
    expected = {
        "type": "STOP_LOSS", "stopPrice": "61300.5", "quantity": "0.0123", "side": "SELL",
        "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": OLD,
        "newClientOrderId": ORDER, **PINNED,
    }  # fmt: skip
    assert request.values.items() >= expected.items()
    assert "cancelOrderId" not in request.values
    with pytest.raises(UsageError, match="in one request"):
        make_replace_stop_call(
            get_dialect("kraken"), SELL, INTENDED_MS, replaced_id=OLD, trigger=Decimal(61_300)
        )


#: What goes out with a request that may come late.
PLAIN = {"timestamp": str(NOW_MS), "recvWindow": "10000"}
CANCELS = {
    ("binance", False): (
        "DELETE", "/api/v3/order", {"origClientOrderId": ORDER, "symbol": "BTCUSDT", **PLAIN},
    ),
    ("kraken", False): ("POST", "/0/private/CancelOrder", {"cl_ord_id": ORDER}),
    ("okx", False): (
        "POST", "/api/v5/trade/cancel-order", {"clOrdId": ORDER, "instId": "BTC-USDT"},
    ),
    ("okx", True): (
        "POST", "/api/v5/trade/cancel-algos", {"algoClOrdId": ORDER, "instId": "BTC-USDT"},
    ),
    ("bybit", False): (
        "POST", "/v5/order/cancel",
        {
            "category": "spot", "symbol": "BTCUSDT", "orderLinkId": ORDER, "orderFilter": "Order",
        },
    ),
    ("bybit", True): (
        "POST", "/v5/order/cancel",
        {
            "category": "spot", "symbol": "BTCUSDT", "orderLinkId": ORDER,
            "orderFilter": "tpslOrder",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("exchange", "is_stop"), list(CANCELS))
def test_a_cancel_names_the_order_by_our_id_alone(exchange: str, is_stop: bool) -> None:
    method, path, values = CANCELS[exchange, is_stop]
    call = make_cancel_order_call(get_dialect(exchange), ORDER, "BTC/USDT", is_stop=is_stop)
    request = send_one_request(exchange, call)
    assert (request.method, request.path, request.values) == (method, path, values)


def test_coinbase_cancels_by_its_own_id_and_is_refused_without() -> None:
    dialect = get_dialect("coinbase")
    with pytest.raises(UsageError, match="by its own id only"):
        make_cancel_order_call(dialect, ORDER, "BTC/USDT")
    call = make_cancel_order_call(dialect, ORDER, "BTC/USDT", exchange_order_id="EX-1")
    request = send_one_request("coinbase", call)
    assert request.path == "/api/v3/brokerage/orders/batch_cancel"
    assert request.values == {"order_ids": ["EX-1"]}


LOOK_UPS = {
    ("binance", False): [
        ("GET", "/api/v3/order", {"origClientOrderId": ORDER, "symbol": "BTCUSDT", **PLAIN}),
    ],
    ("kraken", False): [
        ("POST", "/0/private/OpenOrders", {"cl_ord_id": ORDER, "trades": "True"}),
        ("POST", "/0/private/ClosedOrders", {"cl_ord_id": ORDER, "trades": "True"}),
    ],
    ("okx", False): [
        ("GET", "/api/v5/trade/order", {"clOrdId": ORDER, "instId": "BTC-USDT"}),
    ],
    ("okx", True): [
        ("GET", "/api/v5/trade/order-algo", {"algoClOrdId": ORDER, "instId": "BTC-USDT"}),
    ],
    ("bybit", False): [
        (
            "GET", "/v5/order/realtime",
            {"orderLinkId": ORDER, "category": "spot", "symbol": "BTCUSDT"},
        ),
        (
            "GET", "/v5/order/history",
            {"orderLinkId": ORDER, "category": "spot", "symbol": "BTCUSDT"},
        ),
    ],
    ("coinbase", False): [
        (
            "GET", "/api/v3/brokerage/orders/historical/batch",
            {"product_id": "BTC-USDT", "start_date": "2024-03-01T00:20:00.000Z"},
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("exchange", "is_stop"), list(LOOK_UPS))
def test_a_look_up_requests_by_our_id_or_lists_and_never_without_an_id(
    exchange: str, is_stop: bool
) -> None:
    calls = make_look_up_calls(
        get_dialect(exchange), ORDER, "BTC/USDT", since_ms=INTENDED_MS, is_stop=is_stop
    )
    requests = list_sent_requests(exchange, calls)
    found = [(one.method, one.path, one.values) for one in requests]
    assert found == LOOK_UPS[exchange, is_stop]


TRADES = {
    "binance": {"startTime": str(INTENDED_MS), "limit": "1000", "symbol": "BTCUSDT"},
    "kraken": {"start": str(INTENDED_MS // 1_000)},
    "okx": {"begin": str(INTENDED_MS), "instId": "BTC-USDT"},
    "bybit": {
        "startTime": str(INTENDED_MS), "endTime": str(INTENDED_MS + 604_800_000), "limit": "100",
    },
    "coinbase": {"start_sequence_timestamp": "2024-03-01T00:20:00.000Z", "limit": "250"},
}  # fmt: skip


@pytest.mark.parametrize("exchange", list(TRADES))
def test_own_trades_are_requested_by_pages(exchange: str) -> None:
    dialect = get_dialect(exchange)
    first = make_own_trades_call(dialect, "BTC/USDT", since_ms=INTENDED_MS)
    later = make_own_trades_call(dialect, "BTC/USDT", since_ms=INTENDED_MS, position="77")
    requests = list_sent_requests(exchange, [first, later])
    assert requests[0].values.items() >= TRADES[exchange].items()
    assert dialect.trades_paging not in requests[0].values
    assert requests[1].values[dialect.trades_paging] == "77"


OF_ORDER = {"binance": "orderId", "okx": "ordId", "bybit": "orderId", "coinbase": "order_id"}


@pytest.mark.parametrize("exchange", list(OF_ORDER))
def test_own_trades_of_one_order_are_requested_by_its_number(exchange: str) -> None:
    page = make_own_trades_call(
        get_dialect(exchange), "BTC/USDT", since_ms=INTENDED_MS, exchange_order_id="EX-1"
    )
    assert send_one_request(exchange, page).values[OF_ORDER[exchange]] == "EX-1"


NUMBERS: dict[str, tuple[str, dict[str, str]]] = {
    "binance": ("/api/v3/order", {"orderId": "EX-1", "symbol": "BTCUSDT"}),
    "kraken": ("/0/private/QueryOrders", {"txid": "EX-1"}),
    "okx": ("/api/v5/trade/order", {"ordId": "EX-1", "instId": "BTC-USDT"}),
    "bybit": ("/v5/order/realtime", {"orderId": "EX-1", "category": "spot"}),
    "coinbase": ("/api/v3/brokerage/orders/historical/EX-1", {}),
}


@pytest.mark.parametrize("exchange", list(NUMBERS))
def test_an_order_is_looked_up_by_the_exchanges_number(exchange: str) -> None:
    path, values = NUMBERS[exchange]
    call = make_number_look_up_call(get_dialect(exchange), "EX-1", "BTC/USDT")
    request = send_one_request(exchange, call)
    assert request.path == path
    assert request.values.items() >= values.items()


def test_binance_requests_a_later_page_by_id_alone() -> None:
    page = make_own_trades_call(
        get_dialect("binance"), "BTC/USDT", since_ms=1, until_ms=2, position="77"
    )
    assert not {"startTime", "endTime"} & set(send_one_request("binance", page).values)


def test_a_send_after_a_suspension_states_the_time_of_its_intent() -> None:
    for exchange, header in (("bybit", "X-BAPI-TIMESTAMP"), ("coinbase", "CB-ACCESS-TIMESTAMP")):
        request = send_one_request(
            exchange, make_market_order_call(get_dialect(exchange), SELL, INTENDED_MS)
        )
        assert request.headers[header].startswith(str(INTENDED_MS // 1_000))
    [okx] = list_sent_requests(
        "okx", [make_market_order_call(get_dialect("okx"), SELL, INTENDED_MS)]
    )
    assert okx.headers["expTime"] == str(INTENDED_MS + 5_000)
    bybit = send_one_request(
        "bybit", make_market_order_call(get_dialect("bybit"), SELL, INTENDED_MS)
    )
    assert bybit.headers["X-BAPI-RECV-WINDOW"] == "5000"


@pytest.mark.parametrize("exchange", list(DIALECTS))
def test_a_request_that_sends_no_order_has_the_current_time(exchange: str) -> None:
    request = send_one_request(exchange, make_open_orders_call(get_dialect(exchange), "BTC/USDT"))
    stamps = [
        value
        for value in (*request.values.values(), *request.headers.values())
        if str(value).startswith(str(INTENDED_MS // 1_000))
    ]
    assert not stamps
    assert "expTime" not in request.headers


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (OrderTerms("entry-1", "BTC/USDT", "buy", Decimal(1)), "32 hexadecimal digits"),
        (OrderTerms(ORDER, "BTC/USDT", "buy", Decimal(0)), "above 0"),
        (OrderTerms(ORDER, "BTC/USDT", "buy", Decimal("NaN")), "above 0"),
        (OrderTerms(ORDER, "BTC/USDT", "buy", Decimal(1), Decimal(1)), "either its amount or"),
        (OrderTerms(ORDER, "BTC/USDT", "buy", None), "either its amount or"),
        (OrderTerms(ORDER, "BTC/USDT", "sell", None, Decimal(1)), "must be a buy"),
    ],
)
def test_an_order_with_invalid_terms_is_refused(terms: OrderTerms, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        make_market_order_call(get_dialect("binance"), terms, INTENDED_MS)


def test_a_small_amount_has_no_exponent() -> None:
    terms = OrderTerms(ORDER, "BTC/USDT", "sell", Decimal("1E-7"))
    assert make_market_order_call(get_dialect("binance"), terms, INTENDED_MS).args[3] == "0.0000001"


def test_live_orders_need_a_dialect_and_evidence_or_consent() -> None:
    with pytest.raises(UsageError, match="no live orders on gate"):
        get_dialect("gate")
    check_evidence("binance", is_untested_allowed=False)
    check_evidence("simulator", is_untested_allowed=False)
    check_evidence("kraken", is_untested_allowed=True)
    with pytest.raises(UsageError, match="--untested-exchange"):
        check_evidence("kraken", is_untested_allowed=False)


def test_entries_use_at_most_half_of_the_exchanges_order_rate() -> None:
    dialect = get_dialect("binance")
    assert find_entry_rate_obstacle(dialect, lambda _: 24) is None
    found = find_entry_rate_obstacle(dialect, lambda seconds: 25 if seconds == 10 else 0)
    assert found is not None
    assert found.startswith("25 orders in 10 s")
    assert find_entry_rate_obstacle(dialect, lambda seconds: 0 if seconds == 10 else 80_000)
