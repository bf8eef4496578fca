"""Each recorded error reply that the account can give, as CCXT's own class sees it."""

import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import ccxt
import pytest

from onetape.simulator.market.clock import make_clock
from onetape.simulator.market.symbols import SYMBOLS

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC = "BTC/USDT"
BTCUSDT = SYMBOLS[0]


def make_order_parameters(**changes: Any) -> dict[str, Any]:
    """Return the parameters of an order that would be taken, with changes; None leaves one out."""
    whole = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "0.01000", "price": "45000.00",
    }  # fmt: skip
    return {name: value for name, value in (whole | changes).items() if value is not None}


async def place_order(at: Any, **changes: Any) -> Any:
    return await at.client.private_post_order(make_order_parameters(**changes))


async def place_duplicate(at: Any) -> Any:
    await place_order(at, newClientOrderId="twice")
    return await place_order(at, newClientOrderId="twice")


async def use_wrong_secret(at: Any) -> Any:
    at.client.secret = "another"  # noqa: S105 - of a simulator
    return await at.client.private_get_account()


async def use_key(at: Any, key: str) -> Any:
    at.client.apiKey = key
    return await at.client.private_get_account()


async def read_only(at: Any) -> Any:
    at.client.apiKey = at.client.secret = "reader"  # noqa: S105 - of a simulator
    return await place_order(at)


async def shift_clock(at: Any, seconds: float) -> Any:
    at.client.milliseconds = lambda: at.now_ms + int(seconds * 1_000)
    return await at.client.private_get_account()


MARKET = {"type": "MARKET", "timeInForce": None, "price": None}
STOP = {"type": "STOP_LOSS", "timeInForce": None, "price": None, "side": "SELL"}
ILLEGAL = "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
Act = Callable[[Any], Awaitable[Any]]
#: How each recorded reply is brought about, by code and text.
ACTS: dict[tuple[int, str], Act] = {
    (-1013, "Filter failure: NOTIONAL"): lambda at: place_order(at, quantity="0.00001"),
    (-1013, "Filter failure: LOT_SIZE"): lambda at: place_order(at, quantity="0.010001"),
    (-1013, "Filter failure: MARKET_LOT_SIZE"): lambda at: place_order(at, **MARKET, quantity="98"),
    (-1013, "Filter failure: PRICE_FILTER"): lambda at: place_order(at, price="45000.001"),
    (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"): lambda at: place_order(at, price="900000"),
    (-1021, "Timestamp for this request was 1000ms ahead of the server's time."): (
        lambda at: shift_clock(at, 5)
    ),
    (-1021, "Timestamp for this request is outside of the recvWindow."): (
        lambda at: shift_clock(at, -20)
    ),
    (-1022, "Signature for this request is not valid."): use_wrong_secret,
    (-2014, "API-key format invalid."): lambda at: use_key(at, "no key!"),
    (-2015, "Invalid API-key, IP, or permissions for action."): read_only,
    (-2010, "Account has insufficient balance for requested action."): (
        lambda at: place_order(at, **MARKET, quantity="50")
    ),
    (-2010, "Duplicate order sent."): place_duplicate,
    (-2010, "Order would trigger immediately."): (
        lambda at: place_order(at, **STOP, stopPrice="90000")
    ),
    (-2011, "Unknown order sent."): (
        lambda at: at.client.private_delete_order({"symbol": "BTCUSDT", "orderId": 5})
    ),
    (-2013, "Order does not exist."): (
        lambda at: at.client.private_get_order({"symbol": "BTCUSDT", "orderId": 5})
    ),
    (-1121, "Invalid symbol."): lambda at: place_order(at, symbol="NOPEUSDT"),
    (-1120, "Invalid interval."): (
        lambda at: at.client.public_get_klines({"symbol": "BTCUSDT", "interval": "7m"})
    ),
    (-1111, "Parameter 'quantity' has too much precision."): (
        lambda at: place_order(at, quantity="0.010000001")
    ),
    (-1100, ILLEGAL): lambda at: place_order(at, symbol="btcusdt"),
    (-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."): (
        lambda at: place_order(at, symbol=None)
    ),
    (-1116, "Invalid orderType."): lambda at: place_order(at, type="PEG", timeInForce=None),
}  # fmt: skip
LIMITED = "a request limit: tested in test_limits and test_order_limits"
STATE = "the exchange's own trouble: a fault brings it about, tested with the faults"
#: Recorded replies that the account never gives, and why.
OUT_OF_REACH: dict[tuple[int, str] | int, str] = {
    -1003: LIMITED,
    -1015: LIMITED,
    0: "a blocked region: the simulator listens on loopback",
    -1008: STATE,
    -1007: STATE,
    -1006: STATE,
    -1001: STATE,
    -1000: STATE,
    -1016: STATE,
    (-1013, "Filter failure: MIN_NOTIONAL"): "the older filter; the markets state NOTIONAL",
    (-2010, "Market is closed."): "needs the symbol that is closed: tested below",
    (-2010, "Order would immediately match and take."): "LIMIT_MAKER is not offered yet",
    (-2010, "Stop price would trigger immediately."): "an older wording of the same",
    (-2010, "This symbol is not permitted for this account."): "every market is permitted",
    -2026: "nothing is archived: the account exists as long as the simulator",
}


def read_recorded_errors(shared: Path) -> list[dict[str, Any]]:
    path = shared / "data" / "payloads" / "binance" / "errors.json"
    return [
        item for item in json.loads(path.read_text())["items"] if isinstance(item["body"], dict)
    ]


def get_error_key(item: dict[str, Any]) -> tuple[int, str]:
    return item["body"]["code"], item["body"]["msg"]


def test_every_recorded_error_is_tested_or_cannot_occur(shared: Path) -> None:
    keys = [get_error_key(item) for item in read_recorded_errors(shared)]
    left = [key for key in keys if key not in ACTS and not {key, key[0]} & OUT_OF_REACH.keys()]
    assert left == []
    assert set(ACTS) <= set(keys)


@pytest.mark.parametrize("key", ACTS, ids=str)
def test_a_refusal_is_as_recorded(
    run: Run, scene: Opened, shared: Path, key: tuple[int, str]
) -> None:
    async def play() -> tuple[BaseException, int, Any]:
        # Real time by a separate clock: a stepped clock accepts a timestamp of the past.
        async with scene(clock=make_clock(start_ms=1_709_251_200_000)) as at:
            at.client.options["hasAlreadyAuthenticatedSuccessfully"] = False
            status: list[int] = []
            handle = at.client.handle_errors

            def noted(code: int, *rest: Any) -> Any:
                status.append(code)
                return handle(code, *rest)

            at.client.handle_errors = noted
            with pytest.raises(ccxt.BaseError) as caught:
                await ACTS[key](at)
            return caught.value, status[-1], json.loads(at.client.last_http_response)

    (item,) = [item for item in read_recorded_errors(shared) if get_error_key(item) == key]
    error, status, body = run(play())
    assert (status, body) == (item["status"], item["body"])
    assert type(error).__name__ == item["ccxt_exception"]


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"side": "HOLD"}, -1117, "Invalid side"),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce"),
        ({"timeInForce": None}, -1102, "'timeInForce'"),
        ({"price": None}, -1102, "'price'"),
        ({"quantity": None}, -1102, "'quantity'"),
        ({"quantity": "0"}, -1013, "Invalid quantity"),
        ({"price": "0"}, -1013, "Invalid price"),
        ({"quantity": "-1"}, -1100, "'quantity'"),
        ({"quantity": "1e-2"}, -1100, "'quantity'"),
        ({"stopPrice": "1"}, -1106, "'stopPrice'"),
        ({**MARKET, "price": "1"}, -1106, "'price'"),
        ({**MARKET, "quoteOrderQty": "10"}, -1106, "'quoteOrderQty'"),
        ({**MARKET, "quantity": None}, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent"),
        ({"quantity": "0.01\n"}, -1100, "'quantity'"),
        ({"newClientOrderId": "mine\n"}, -1100, "'newClientOrderId'"),
        ({"icebergQty": "0.001"}, -1013, "Iceberg orders are not supported"),
        ({"nonsense": "1"}, -1104, "Not all sent parameters were read"),
        ({"newClientOrderId": "with space"}, -1100, "'newClientOrderId'"),
        ({"newClientOrderId": "x" * 37}, -1100, "'newClientOrderId'"),
        ({"type": "PEG", "timeInForce": None, "price": None}, -1116, "Invalid orderType"),
        ({"quantity": "9001"}, -1013, "LOT_SIZE"),
        ({"quantity": "500"}, -1013, "Filter failure: NOTIONAL"),
        ({"newOrderRespType": "ALL"}, -1138, "newOrderRespType"),
    ],
)
def test_an_invalid_order_is_refused_with_its_reason(
    run: Run, scene: Opened, changes: dict[str, Any], code: int, text: str
) -> None:
    async def play() -> Any:
        async with scene() as at:
            with pytest.raises(ccxt.BaseError):
                await place_order(at, **changes)
            return json.loads(at.client.last_http_response)

    body = run(play())
    assert body["code"] == code
    assert re.search(re.escape(text), body["msg"])


def test_a_closed_market_takes_no_orders(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            with pytest.raises(ccxt.MarketClosed, match="Market is closed"):
                await place_order(at, symbol="BCCUSDT")
            assert json.loads(at.client.last_http_response)["code"] == -2010

    run(play())


def test_no_more_than_200_orders_and_five_stops_wait_in_a_market(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(USDT="200000", BTC="1") as at:
            for _ in range(5):
                await place_order(at, **STOP, stopPrice="30000")
            with pytest.raises(ccxt.BaseError, match="MAX_NUM_ALGO_ORDERS"):
                await place_order(at, **STOP, stopPrice="30000")
            for _ in range(195):
                await place_order(at, price="30000", quantity="0.001")
            with pytest.raises(ccxt.BaseError, match="MAX_NUM_ORDERS"):
                await place_order(at, price="30000", quantity="0.001")

    run(play())
