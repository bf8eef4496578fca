"""Limits of orders and requests, and the errors that CCXT's class raises."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import ccxt
import pytest

from onetape.simulator.server import limits
from onetape.simulator.server.exchange_info import RATE_LIMITS
from wall_clocks import AdjustableSeconds

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC = "BTC/USDT"
#: What exchangeInfo states for ten seconds.
MOST = 100


def count(client: Any, window: str) -> str | None:
    """Return the order count of a window, from the last reply."""
    headers = {name.upper(): value for name, value in client.last_response_headers.items()}
    return headers.get(f"X-MBX-ORDER-COUNT-{window}")


async def place(at: Any, times: int = 1) -> Any:
    for _ in range(times - 1):
        await at.client.create_order(BTC, "limit", "buy", 0.0002, 30_000)
    return await at.client.create_order(BTC, "limit", "buy", 0.0002, 30_000)


async def place_until_refused(at: Any, most: int = 0) -> tuple[ccxt.BaseError, Any, str]:
    """Place orders until one is refused, the last of `most` and one more at the latest.

    Return what CCXT raises, the body, and Retry-After.
    """
    with pytest.raises(ccxt.BaseError) as caught:
        await place(at, most + 1)
    client = at.client
    wait = client.last_response_headers["Retry-After"]
    return caught.value, json.loads(client.last_http_response), wait


def test_each_order_is_counted_in_the_headers_of_its_reply(
    run: Run, scene: Opened, wall: AdjustableSeconds
) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            for number in ("1", "2"):
                await place(at)
                assert (count(at.client, "10S"), count(at.client, "1D")) == (number, number)
            await at.client.fetch_open_orders(BTC)
            assert count(at.client, "10S") is None
            wall.now += 10
            await place(at)
            assert (count(at.client, "10S"), count(at.client, "1D")) == ("1", "3")

    run(play())


def test_a_refused_order_counts_for_nothing(
    run: Run, scene: Opened, wall: AdjustableSeconds
) -> None:
    del wall

    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()
            with pytest.raises(ccxt.InsufficientFunds):
                await at.client.create_order(BTC, "limit", "buy", 5, 30_000)
            await at.client.create_order(BTC, "limit", "buy", 0.0002, 30_000, {"test": True})
            assert count(at.client, "10S") is None
            await place(at)
            assert count(at.client, "10S") == "1"

    run(play())


def test_too_many_orders_are_refused_as_recorded_until_the_window_ends(
    run: Run, scene: Opened, wall: AdjustableSeconds, shared: Path
) -> None:
    items = json.loads((shared / "data/payloads/binance/errors.json").read_text())["items"]
    (item,) = (
        item
        for item in items
        if isinstance(item["body"], dict) and item["body"].get("code") == -1015
    )

    async def play() -> None:
        async with scene(limits=True) as at:
            await at.client.load_markets()
            wall.now += 3
            await place(at, MOST)
            error, body, retry_seconds = await place_until_refused(at)
            assert type(error).__name__ == item["ccxt_exception"] == "DDoSProtection"
            assert "429" in str(error)
            assert body == item["body"] | {"msg": item["body"]["msg"].replace("50", str(MOST))}
            assert retry_seconds == "7"
            assert len(at.ledger.orders) == MOST
            await at.client.fetch_open_orders(BTC)
            wall.now += 7
            assert (await place(at))["status"] == "open"

    run(play())


@pytest.mark.parametrize(
    ("kind", "unit", "most", "code", "words", "retry_seconds"),
    [
        ("ORDERS", "DAY", 2, -1015, "2 orders per 1 DAY", "85800"),
        ("RAW_REQUESTS", "MINUTE", 5, -1003, "Too many requests; current limit is", "300"),
    ],
)
def test_the_day_of_orders_and_the_number_of_requests_are_limited_too(
    run: Run,
    scene: Opened,
    wall: AdjustableSeconds,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    unit: str,
    most: int,
    code: int,
    words: str,
    retry_seconds: str,
) -> None:
    del wall
    stated: Any = RATE_LIMITS
    fewer = [
        one | {"limit": most} if (one["rateLimitType"], one["interval"]) == (kind, unit) else one
        for one in stated
    ]
    monkeypatch.setattr(limits, "RATE_LIMITS", fewer)

    async def play() -> None:
        async with scene(limits=True) as at:
            error, body, wait = await place_until_refused(at, most)
            assert type(error) is ccxt.DDoSProtection
            assert (body["code"], wait) == (code, retry_seconds)
            assert words in body["msg"]

    run(play())
