"""Faults of requests over the WebSocket API, with the unchanged CCXT Pro class."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import ccxt
import pytest

from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
BTC = "BTC/USDT"
PLACE = "order.place"
#: How long a test waits for a reply that never comes: nothing else ends CCXT's own wait.
NEVER_SECONDS = 0.5
#: CCXT gives a socket up after three of these without a response, milliseconds.
KEEP_ALIVE_MS = 200
#: So many may miss where the socket must live for a while: a machine that stands still is no dead
#: socket.
MISSES = 15


@asynccontextmanager
async def open_trading_client(
    faulty: Opened, *faults: Fault
) -> AsyncGenerator[tuple[Simulator, Any]]:
    """Open a client with a key, whose time is that of the stepped market."""
    async with faulty(faults, pro=True) as (simulator, client):
        client.apiKey = client.secret = "simulator"  # noqa: S105 - nothing is secret there
        client.milliseconds = simulator.clock.now_ms
        address = simulator.url.replace("http://", "ws://") + "/ws-api/v3"
        client.urls["api"]["ws"]["ws-api"]["spot"] = address
        yield simulator, client


async def place_order_over_websocket(client: Any, **params: str) -> Any:
    """Return the order that a request over WebSocket places, or the error that it ends with."""
    try:
        return await client.create_order_ws(
            BTC, "market", "buy", 0.01, None, {"newClientOrderId": "mine-1", **params}
        )
    except ccxt.BaseError as error:
        return error


async def is_there(client: Any) -> bool:
    """Return whether the exchange has the order, requested over REST."""
    try:
        await client.fetch_order(None, BTC, {"clientOrderId": "mine-1"})
    except ccxt.OrderNotFound:
        return False
    return True


#: The fault, whether the exchange has the order afterwards, and what CCXT makes of it.
ENDS: list[tuple[Fault, bool, type[Exception]]] = [
    (Fault("status", method=PLACE, status=400, code=-2010), False, ccxt.InsufficientFunds),
    # CCXT reads no status of a reply: over REST these are OperationFailed and DDoSProtection.
    (Fault("status", method=PLACE, status=503, code=-1008), False, ccxt.ExchangeError),
    (Fault("status", method="order.*", status=500), False, ccxt.OperationFailed),
    (
        Fault("status", method=PLACE, status=504, code=-1007, when="after"),
        True,
        ccxt.RequestTimeout,
    ),
    (
        Fault("status", path="/ws-api/v3", status=500, code=-1006, when="after"),
        True,
        ccxt.OperationFailed,
    ),
    (Fault("status", method=PLACE, status=429, code=-1003), False, ccxt.RateLimitExceeded),
    (Fault("status", method=PLACE, status=429, code=-1015), False, ccxt.RateLimitExceeded),
    (Fault("reset", method=PLACE), False, ccxt.NetworkError),
    (Fault("reset", method=PLACE, when="after"), True, ccxt.NetworkError),
    (Fault("reset", method=PLACE, when="body"), True, ccxt.NetworkError),
    (Fault("cut_body", method=PLACE), True, ccxt.NetworkError),
]


@pytest.mark.parametrize(("fault", "is_done", "expected"), ENDS)
def test_an_order_over_websocket_ends_as_the_fault_states(
    run: Run, faulty: Opened, fault: Fault, is_done: bool, expected: type[Exception]
) -> None:
    async def scene() -> Any:
        async with open_trading_client(faulty, fault) as (simulator, client):
            error = await place_order_over_websocket(client)
            simulator.faults.clear()
            return type(error), await is_there(client), len(simulator.faults.log)

    assert run(scene()) == (expected, is_done, 1)


@pytest.mark.parametrize(
    ("fault", "is_done"),
    [
        (Fault("timeout", method=PLACE), False),
        (Fault("timeout", method=PLACE, when="after"), True),
        (Fault("wrong_body", method=PLACE, shape="empty_object"), True),
    ],
)
def test_a_missing_reply_raises_nothing_while_the_socket_replies_to_others(
    run: Run, faulty: Opened, fault: Fault, is_done: bool
) -> None:
    async def scene() -> Any:
        async with open_trading_client(faulty, fault) as (simulator, client):
            waiting = asyncio.ensure_future(place_order_over_websocket(client))
            while not simulator.faults.log:  # noqa: ASYNC110 - no event reports it
                await asyncio.sleep(0.01)
            done, _ = await asyncio.wait([waiting], timeout=NEVER_SECONDS)
            other = await client.fetch_open_orders_ws(BTC)
            waiting.cancel()
            return done, other, await is_there(client)

    assert run(scene()) == (set(), [], is_done)


def test_a_page_instead_of_a_reply_ends_the_receive_loop_and_the_order_exists(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> Any:
        loop = asyncio.get_running_loop()
        reported: list[object] = []
        loop.set_exception_handler(lambda _, context: reported.append(context))
        fault = Fault("wrong_body", method=PLACE, shape="html")
        async with open_trading_client(faulty, fault) as (_, client):
            client.streaming |= {"keepAlive": KEEP_ALIVE_MS, "maxPingPongMisses": MISSES}
            error = await place_order_over_websocket(client)
            return type(error), "ping-pong" in str(error), len(reported), await is_there(client)

    # CCXT takes the letters a and b of the page for a ticker's; only the dead socket is noticed.
    assert run(scene()) == (ccxt.RequestTimeout, True, 1, True)


def test_a_late_reply_delays_no_other(run: Run, faulty: Opened) -> None:
    async def scene(seconds: float) -> Any:
        fault = Fault("latency", method=PLACE, seconds=seconds)
        async with open_trading_client(faulty, fault) as (_, client):
            waiting = asyncio.ensure_future(place_order_over_websocket(client))
            await asyncio.sleep(0)
            await client.fetch_open_orders_ws(BTC)
            was_waiting = not waiting.done()
            return was_waiting, (await waiting)["status"]

    # The longer ones are for a machine that stands still before the other reply.
    assert any(run(scene(seconds)) == (True, "closed") for seconds in (0.3, 3.0, 20.0))


def test_a_reply_after_its_timeout_still_arrives(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("timeout", method=PLACE, when="after", seconds=0.2)
        async with open_trading_client(faulty, fault) as (_, client):
            return (await place_order_over_websocket(client))["status"]

    assert run(scene()) == "closed"


def test_faults_of_rest_and_of_the_websocket_api_are_distinct(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        faults = (
            Fault("status", method="POST", path="/api/v3/order", status=400, code=-2010),
            Fault("status", method="order.cancel", status=400, code=-2011),
            Fault("drip", path="/ws-api/v3", seconds=9.0),
        )
        async with open_trading_client(faulty, *faults) as (simulator, client):
            placed = await client.create_order_ws(BTC, "limit", "buy", 0.01, 10_000)
            with pytest.raises(ccxt.OrderNotFound):
                await client.cancel_order_ws(placed["id"], BTC)
            with pytest.raises(ccxt.InsufficientFunds):
                await client.create_order(BTC, "market", "buy", 0.01)
            return [(fired.kind, fired.on) for fired in simulator.faults.log]

    assert run(scene()) == [
        ("status", "order.cancel over WebSocket"),
        ("status", "POST /api/v3/order"),
    ]


def test_a_halted_market_refuses_orders_over_websocket_too(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        async with open_trading_client(faulty, Fault("halted", symbol=BTC)) as (_, client):
            return await place_order_over_websocket(client)

    assert type(run(scene())) is ccxt.MarketClosed


def test_the_account_is_requested_again_after_a_cut_by_the_next_call(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> Any:
        fault = Fault("reset", method="account.status", count=1)
        async with open_trading_client(faulty, fault) as (_, client):
            with pytest.raises(ccxt.NetworkError):
                await client.fetch_balance_ws()
            return (await client.fetch_balance_ws())["info"]["accountType"]

    assert run(scene()) == "SPOT"


def test_the_time_to_retry_is_in_the_error_because_a_reply_has_no_headers(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> Any:
        fault = Fault("status", method="ping", status=429, code=-1003, headers={"Retry-After": "9"})
        async with (
            open_trading_client(faulty, fault) as (simulator, _),
            aiohttp.ClientSession() as session,
        ):
            address = simulator.url.replace("http://", "ws://") + "/ws-api/v3"
            async with session.ws_connect(address) as socket:
                await socket.send_json({"id": "mine", "method": "ping"})
                return await socket.receive_json(timeout=60), simulator.clock.now_ms()

    reply, now_ms = run(scene())
    assert (reply["id"], reply["status"], reply["error"]["code"]) == ("mine", 429, -1003)
    assert reply["error"]["data"] == {"serverTime": now_ms, "retryAfter": now_ms + 9_000}
