"""Faults of orders and of their fills, with the unchanged CCXT classes."""

import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import ccxt
import pytest

from onetape.simulator.faults.model import Fault
from onetape.simulator.server.simulator import Simulator

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Opened = Callable[..., AbstractAsyncContextManager[tuple[Simulator, Any]]]
ORDER = "/api/v3/order"


@asynccontextmanager
async def open_trading_client(
    faulty: Opened, *faults: Fault
) -> AsyncGenerator[tuple[Simulator, Any]]:
    """Open a client with a key, whose time is that of the stepped market."""
    async with faulty(faults) as (simulator, client):
        client.apiKey = client.secret = "simulator"  # noqa: S105 - nothing is secret there
        client.milliseconds = simulator.clock.now_ms
        yield simulator, client


async def get_result_or_error(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a call, or its error."""
    try:
        return await work
    except Exception as error:
        return error


#: Row, the fault, whether the exchange has the order afterwards, and what CCXT makes of it.
UNKNOWN: list[tuple[int, Fault, bool, type[Exception]]] = [
    (56, Fault("timeout", path=ORDER, when="after"), True, ccxt.RequestTimeout),
    (56, Fault("timeout", path=ORDER, when="before"), False, ccxt.RequestTimeout),
    (57, Fault("reset", path=ORDER, when="after"), True, ccxt.ExchangeNotAvailable),
    (57, Fault("reset", path=ORDER, when="before"), False, ccxt.ExchangeNotAvailable),
    (57, Fault("cut_body", path=ORDER), True, ccxt.ExchangeError),
    (
        57,
        Fault("status", path=ORDER, status=502, when="after"),
        True,
        ccxt.ExchangeNotAvailable,
    ),
    (
        57,
        Fault("status", path=ORDER, status=500, code=-1006, when="after"),
        True,
        ccxt.OperationFailed,
    ),
    (
        57,
        Fault("status", path=ORDER, status=504, code=-1007, when="after"),
        True,
        ccxt.RequestTimeout,
    ),
]


@pytest.mark.parametrize(("row", "fault", "is_done", "expected"), UNKNOWN)
def test_an_order_whose_response_is_lost_may_or_may_not_be_at_the_exchange(
    run: Run,
    faulty: Opened,
    row: int,
    fault: Fault,
    is_done: bool,
    expected: type[Exception],
) -> None:
    del row

    async def scene() -> None:
        async with open_trading_client(faulty, fault) as (simulator, client):
            params = {"newClientOrderId": "mine-1"}
            original_timeout_ms, error = client.timeout, None
            # The longer ones are for a machine that stands still before the order arrives.
            for timeout_ms in (
                (300, 3_000, 30_000) if fault.kind == "timeout" else (original_timeout_ms,)
            ):
                client.timeout = timeout_ms
                error = await get_result_or_error(
                    client.create_order("BTC/USDT", "market", "buy", 0.01, None, params)
                )
                if simulator.faults.log:
                    break
            client.timeout = original_timeout_ms
            assert type(error) is expected
            assert len(simulator.faults.log) == 1, "an order is sent once, whatever comes back"
            simulator.faults.clear()
            found = await get_result_or_error(
                client.fetch_order(None, "BTC/USDT", {"clientOrderId": "mine-1"})
            )
            assert isinstance(found, dict if is_done else ccxt.OrderNotFound)

    run(scene())


@pytest.mark.parametrize("shape", ["html", "truncated", "empty_object"])
def test_row_57_a_wrong_body_is_an_order_without_an_id(
    run: Run, faulty: Opened, shape: str
) -> None:
    async def scene() -> Any:
        fault = Fault("wrong_body", path=ORDER, shape=shape)
        async with open_trading_client(faulty, fault) as (simulator, client):
            order = await get_result_or_error(
                client.create_order("BTC/USDT", "market", "buy", 0.01)
            )
            simulator.faults.clear()
            return order, len(await client.fetch_my_trades("BTC/USDT"))

    order, trades = run(scene())
    assert trades >= 1, "and yet it was done"
    assert order["id"] is None
    assert order["status"] is None


def test_row_27_a_halted_market_refuses_orders(run: Run, faulty: Opened) -> None:
    async def scene() -> Any:
        fault = Fault("halted", symbol="BTC/USDT")
        async with open_trading_client(faulty, fault) as (_, client):
            return await get_result_or_error(client.create_order("BTC/USDT", "market", "buy", 0.01))

    error = run(scene())
    assert type(error) is ccxt.MarketClosed


def test_row_69_after_one_good_call_a_revoked_key_looks_like_too_many_requests(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> Any:
        async with open_trading_client(faulty) as (simulator, client):
            await client.fetch_balance()
            simulator.faults.add(kind="status", path="/api/v3/account", status=401, code=-2015)
            return await get_result_or_error(client.fetch_balance())

    assert type(run(scene())) is ccxt.DDoSProtection


def test_a_wrong_clock_refuses_a_signed_request_until_the_client_adjusts(
    run: Run, faulty: Opened
) -> None:
    async def scene() -> None:
        async with open_trading_client(faulty, Fault("clock_skew", seconds=-20_000)) as (_, client):
            error = await get_result_or_error(client.fetch_balance())
            assert type(error) is ccxt.InvalidNonce
            await client.load_time_difference()
            client.nonce = lambda: client.milliseconds() - client.options["timeDifference"]
            assert "USDT" in await client.fetch_balance()

    run(scene())


@asynccontextmanager
async def open_user_stream(
    simulator: Simulator,
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
    """Open the account's stream as CCXT does and read it raw, because CCXT drops duplicates."""
    requested = {"apiKey": "simulator", "timestamp": simulator.clock.now_ms()}
    signature = hmac.new(b"simulator", urlencode(requested).encode(), hashlib.sha256).hexdigest()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/ws-api/v3") as socket,
    ):
        params = {**requested, "signature": signature}
        method = "userDataStream.subscribe.signature"
        await socket.send_json({"id": 1, "method": method, "params": params})
        assert (await socket.receive_json(timeout=60))["status"] == 200
        yield socket


def fill_of(message: dict[str, Any]) -> int | None:
    event = message.get("event", {})
    return event["t"] if event.get("x") == "TRADE" else None


async def collect_fill_ids(faulty: Opened, fault: Fault) -> list[int]:
    """Buy three times and return the ids of the fills that the account's stream reported."""
    async with (
        open_trading_client(faulty, fault) as (simulator, client),
        open_user_stream(simulator) as socket,
    ):
        for _ in range(3):
            await client.create_order("BTC/USDT", "market", "buy", 0.001)
        await socket.send_json({"id": 2, "method": "ping"})
        seen: list[int | None] = []
        while (message := await socket.receive_json(timeout=60)).get("id") != 2:
            seen.append(fill_of(message))
        while fault.shape == "delayed" and seen.count(None) == len(seen) - 2:
            seen.append(fill_of(await socket.receive_json(timeout=60)))
        requested = await client.fetch_my_trades("BTC/USDT")
        assert [one["id"] for one in requested] == ["1", "2", "3"], "REST returns all of them"
        return [fill for fill in seen if fill is not None]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("lost", [1, 3]),
        ("duplicated", [1, 2, 2, 3]),
        ("reordered", [1, 3, 2]),
        ("delayed", [1, 3, 2]),
    ],
)
def test_row_61_fills_are_lost_duplicate_or_late_while_the_exchange_has_them(
    run: Run, faulty: Opened, shape: str, expected: list[int]
) -> None:
    # A machine that stands still may need more than a second for the third order.
    waits = (1.0, 10.0) if shape == "delayed" else (1.0,)
    faults = (Fault("fills", shape=shape, nth=2, seconds=seconds) for seconds in waits)
    assert any(run(collect_fill_ids(faulty, fault)) == expected for fault in faults)
