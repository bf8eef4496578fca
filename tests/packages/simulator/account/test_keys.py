"""Keys, signatures and the time of a request."""

import hashlib
import hmac
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import ccxt
import pytest
from yarl import URL

from onetape.simulator.market.clock import make_clock

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
MARCH_MS = 1_709_251_200_000


@pytest.mark.parametrize(
    ("speed", "behind_seconds", "accepted"),
    [(1, 4, True), (1, 6, False), (100, 400, True), (100, 700, False)],
)
def test_a_faster_market_allows_a_request_more_market_time(
    run: Run, scene: Opened, speed: float, behind_seconds: int, *, accepted: bool
) -> None:
    async def play() -> bool:
        async with scene(clock=make_clock(start_ms=MARCH_MS, speed=speed)) as at:
            at.client.options["recvWindow"] = 5_000
            at.client.milliseconds = lambda: at.now_ms - behind_seconds * 1_000
            try:
                await at.client.private_get_account()
            except ccxt.InvalidNonce:
                return False
            return True

    assert run(play()) is accepted


def test_a_stepped_market_accepts_a_client_with_an_unchanged_time(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            began = at.now_ms
            at.client.milliseconds = lambda: began
            await at.step(86_400)
            await at.client.private_get_account()

    run(play())


def test_a_window_above_a_minute_is_refused(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at:
            with pytest.raises(ccxt.BaseError, match="-1131"):
                await at.client.private_get_account({"recvWindow": 60_001})

    run(play())


@pytest.mark.parametrize("missing", ["timestamp", "signature"])
def test_a_request_without_time_or_signature_is_refused(
    run: Run, scene: Opened, missing: str
) -> None:
    async def play() -> Any:
        async with scene() as at, aiohttp.ClientSession() as session:
            query = {"timestamp": str(at.now_ms), "signature": "00"}
            del query[missing]
            url = f"{at.simulator.url}/api/v3/account"
            headers = {"X-MBX-APIKEY": "simulator"}
            async with session.get(url, params=query, headers=headers) as response:
                return response.status, await response.json()

    status, body = run(play())
    assert (status, body["code"]) == (400, -1102)
    assert missing in body["msg"]


async def send_cancel(
    at: Any, query: str, body: str | bytes = "", signature: str = ""
) -> tuple[int, Any]:
    """Cancel by a raw query and body, signed unless there is a signature; return the reply."""
    text = body if isinstance(body, str) else ""
    query = f"{query}&timestamp={at.now_ms}"
    made = hmac.new(b"simulator", (query + text).encode(), hashlib.sha256).hexdigest()
    url = f"{at.simulator.url}/api/v3/order?{query}&signature={signature or made}"
    headers = {"X-MBX-APIKEY": "simulator", "Content-Type": "application/x-www-form-urlencoded"}
    async with (
        aiohttp.ClientSession() as session,
        session.delete(URL(url, encoded=True), data=body, headers=headers) as response,
    ):
        return response.status, (await response.json())["code"]


@pytest.mark.parametrize(
    ("query", "body", "signature", "code"),
    [
        # The order is unknown where its market was read from the query.
        ("symbol=BTCUSDT&orderId=1", "symbol=NOPE", "", -2011),
        ("orderId=1", "symbol=NOPE", "", -1121),
        ("symbol=BTCUSDT&orderId=1&orderId=2", "", "", -1101),
        ("symbol=BTCUSDT&orderId=1", "", "%C3%A9", -1022),
        ("symbol=BTCUSDT&orderId=1", b"\xff\xfe", "", -1022),
    ],
)
def test_parameters_of_a_request_are_read_as_by_binance(
    run: Run, scene: Opened, query: str, body: str | bytes, signature: str, code: int
) -> None:
    async def play() -> tuple[int, Any]:
        async with scene() as at:
            return await send_cancel(at, query, body, signature)

    assert run(play()) == (400, code)


def test_a_request_without_a_key_is_refused(run: Run, scene: Opened) -> None:
    async def play() -> Any:
        async with (
            scene() as at,
            aiohttp.ClientSession() as session,
            session.get(f"{at.simulator.url}/api/v3/account") as response,
        ):
            return response.status, (await response.json())["code"]

    assert run(play()) == (401, -2014)


@pytest.mark.parametrize("path", ["order", "openOrders"])
def test_a_key_that_may_only_read_cancels_nothing(run: Run, scene: Opened, path: str) -> None:
    async def play() -> None:
        async with scene(key="reader") as at:
            delete = getattr(at.client, f"private_delete_{path.lower()}")
            with pytest.raises(ccxt.AuthenticationError, match="-2015"):
                await delete({"symbol": "BTCUSDT", "orderId": 1})

    run(play())


def test_an_unknown_key_is_refused(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(key="somebody") as at:
            with pytest.raises(ccxt.AuthenticationError, match="-2015"):
                await at.client.private_get_account()

    run(play())


def test_a_key_shows_its_rights(run: Run, scene: Opened) -> None:
    async def play() -> list[tuple[bool, bool]]:
        found: list[tuple[bool, bool]] = []
        for key in ("simulator", "reader", "withdrawer"):
            async with scene(key=key) as at:
                rights = await at.client.sapi_get_account_apirestrictions()
                found.append((rights["enableSpotAndMarginTrading"], rights["enableWithdrawals"]))
        return found

    assert run(play()) == [(True, False), (False, False), (True, True)]


def test_another_simulator_may_have_another_account(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene() as at, scene(account_id=77) as other:
            numbers = [(await one.client.private_get_account())["uid"] for one in (at, other)]
            assert numbers == [354937868, 77]

    run(play())
