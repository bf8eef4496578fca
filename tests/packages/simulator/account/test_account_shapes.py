"""Replies and events of the account have the keys and types of the recorded ones."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shapes import compute_shape

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTCUSDT = {"symbol": "BTCUSDT"}
LIMIT = {"side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
MARKET = {"side": "BUY", "type": "MARKET", "quantity": "0.01"}


def read_reference(shared: Path, name: str) -> Any:
    path = shared / "data" / "payloads" / "binance" / "rest_and_user_data_reference.json"
    items = json.loads(path.read_text())["items"]
    return next(item["body"] for item in items if item["name"] == name)


async def request_raw(at: Any, method: str, path: str, **params: str) -> Any:
    """Return a reply's JSON as it came: CCXT makes strings of the numbers of an order."""
    signed = at.client.sign(path, ["private"], method, {**params})
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, signed["url"], data=signed["body"], headers=signed["headers"]
        ) as response,
    ):
        return await response.json()


async def collect_replies(at: Any) -> dict[str, Any]:
    """Return one reply of each kind by the name of its reference."""
    replies = {
        "new_order_full_response": await request_raw(at, "POST", "order", **BTCUSDT, **MARKET)
    }
    waiting = await request_raw(at, "POST", "order", **BTCUSDT, **LIMIT, price="90000")
    number = str(waiting["orderId"])
    replies["order_response"] = await request_raw(at, "GET", "order", **BTCUSDT, orderId=number)
    replies["open_orders_response"] = await request_raw(at, "GET", "openOrders")
    replies["all_orders_response"] = await request_raw(at, "GET", "allOrders", **BTCUSDT)
    replies["account_trades_response"] = await request_raw(at, "GET", "myTrades", **BTCUSDT)
    replies["account_response"] = await request_raw(at, "GET", "account")
    replies["cancel_order_response"] = await request_raw(
        at, "DELETE", "order", **BTCUSDT, orderId=number
    )
    await request_raw(at, "POST", "order", **BTCUSDT, **LIMIT, price="90000")
    replies["cancel_open_orders_response"] = await request_raw(
        at, "DELETE", "openOrders", **BTCUSDT
    )
    return replies


NAMES = (
    "new_order_full_response", "order_response", "open_orders_response", "all_orders_response",
    "account_trades_response", "account_response", "cancel_order_response",
    "cancel_open_orders_response",
)  # fmt: skip


@pytest.fixture(scope="module")
def replies() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_looks_as_recorded(
    run: Run, scene: Opened, shared: Path, replies: dict[str, Any], name: str
) -> None:
    async def play() -> dict[str, Any]:
        async with scene() as at:
            return await collect_replies(at)

    replies.update(replies or run(play()))
    assert compute_shape(replies[name]) == compute_shape(read_reference(shared, name))


def test_events_look_as_recorded(run: Run, scene: Opened, shared: Path) -> None:
    async def play() -> Any:
        async with scene() as at:
            await request_raw(at, "POST", "order", **BTCUSDT, **LIMIT, price="90000")
            await request_raw(at, "POST", "order", **BTCUSDT, **MARKET)
            at.simulator.account.withdraw("BTC", Decimal("0.1"))
            return at.ledger.events

    events: list[Any] = run(play())
    new = next(event for event in events if event.get("x") == "NEW")
    assert compute_shape(new) == compute_shape(
        read_reference(shared, "execution_report_wrapped")["event"]
    )
    trade = next(event for event in events if event.get("x") == "TRADE")
    assert set(compute_shape(read_reference(shared, "execution_report_trade")).items()) <= set(
        compute_shape(trade).items()
    )
    for name in ("account_position", "balance_update"):
        kind = read_reference(shared, name)["e"]
        ours = next(event for event in events if event["e"] == kind)
        assert compute_shape(ours) == compute_shape(read_reference(shared, name))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("ACK", 5), ("RESULT", 16), ("FULL", 17)],
)
def test_a_new_order_is_reported_as_requested(
    run: Run, scene: Opened, kind: str, keys: int
) -> None:
    async def play() -> Any:
        async with scene() as at:
            return await request_raw(
                at, "POST", "order", **BTCUSDT, **MARKET, newOrderRespType=kind
            )

    assert len(run(play())) == keys


def test_a_stop_is_only_acknowledged_unless_more_is_requested(run: Run, scene: Opened) -> None:
    async def play() -> Any:
        async with scene() as at:
            stop = {"side": "SELL", "type": "STOP_LOSS", "quantity": "0.01", "stopPrice": "30000"}
            return await request_raw(at, "POST", "order", **BTCUSDT, **stop)

    assert set(run(play())) == {
        "symbol", "orderId", "orderListId", "clientOrderId", "transactTime"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"limit": "2"}, [3, 4]),
        ({"fromId": "2", "limit": "2"}, [2, 3]),
        ({"orderId": "3"}, [3]),
        ({"startTime": "1709251260000"}, [2, 3, 4]),
        ({"startTime": "1709251260000", "limit": "1"}, [2]),
        ({"endTime": "1709251260000"}, [1, 2]),
    ],
)
def test_own_trades_are_found_by_id_order_and_time(
    run: Run, scene: Opened, query: dict[str, str], numbers: list[int]
) -> None:
    async def play() -> list[int]:
        async with scene() as at:
            for _ in range(4):
                await request_raw(at, "POST", "order", **BTCUSDT, **MARKET)
                await at.step(60)
            return [
                trade["id"]
                for trade in await request_raw(at, "GET", "myTrades", **BTCUSDT, **query)
            ]

    assert run(play()) == numbers


def test_a_range_above_a_day_is_refused(run: Run, scene: Opened) -> None:
    async def play() -> Any:
        async with scene() as at:
            times = {"startTime": "0", "endTime": "86400001"}
            return await request_raw(at, "GET", "myTrades", **BTCUSDT, **times)

    assert run(play())["code"] == -1127


def test_orders_are_counted(run: Run, scene: Opened) -> None:
    async def play() -> Any:
        async with scene() as at:
            await request_raw(at, "POST", "order", **BTCUSDT, **MARKET)
            return await request_raw(at, "GET", "rateLimit/order")

    assert [(row["interval"], row["count"]) for row in run(play())] == [("SECOND", 1), ("DAY", 1)]


def test_an_account_shows_what_it_holds_or_everything(run: Run, scene: Opened) -> None:
    async def play() -> tuple[int, int]:
        async with scene(USDT="5") as at:
            every = await request_raw(at, "GET", "account")
            held = await request_raw(at, "GET", "account", omitZeroBalances="true")
            return len(every["balances"]), len(held["balances"])

    every, held = run(play())
    assert every > held == 1
