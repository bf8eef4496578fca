"""The user data stream, opened as CCXT Pro opens it, sends what REST returns."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import pytest

from onetape.simulator.market.clock import make_clock

Run = Callable[[Coroutine[Any, Any, Any]], Any]
#: Opens a simulator and a client; what it yields is the `Scene` of the folder's conftest.
Opened = Callable[..., AbstractAsyncContextManager[Any]]
BTC = "BTC/USDT"
MARCH_MS = 1_709_251_200_000
#: Duration of a socket, market time.
LIFE_SECONDS = 24 * 3_600


async def open_stream(at: Any) -> None:
    """Open the stream and return once its events are reported."""
    await at.client.load_markets()
    await at.client.ensure_user_data_stream_ws_subscribe_signature("spot")


def test_watch_orders_reports_a_fill(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_orders(BTC))
            await asyncio.sleep(0)
            placed = await at.client.create_order(BTC, "market", "buy", 0.01)
            (order,) = await watching
            if order["status"] == "open":
                (order,) = await at.client.watch_orders(BTC)
            rest = await at.client.fetch_order(placed["id"], BTC)
            for name in ("id", "clientOrderId", "status", "filled", "cost", "side", "type"):
                assert order[name] == rest[name]

    run(play())


def test_watch_my_trades_returns_what_my_trades_returns(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_my_trades(BTC))
            await asyncio.sleep(0)
            await at.client.create_order(BTC, "market", "sell", 0.01)
            (streamed,) = await watching
            (fetched,) = await at.client.fetch_my_trades(BTC)
            for name in ("id", "order", "price", "amount", "cost", "side", "takerOrMaker", "fee"):
                assert streamed[name] == fetched[name]

    run(play())


def test_watch_balance_returns_what_the_account_has(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_balance())
            await asyncio.sleep(0)
            price = float(await at.last()) // 2
            await at.client.create_order(BTC, "limit", "buy", 0.01, price)
            streamed = await watching
            fetched = await at.client.fetch_balance()
            assert streamed["USDT"] == fetched["USDT"]
            assert streamed["USDT"]["used"] == price * 0.01

    run(play())


def test_a_deposit_reaches_the_client_without_a_request(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_balance())
            await asyncio.sleep(0)
            at.simulator.account.deposit("BTC", Decimal("0.25"))
            await watching
            while at.client.balance["spot"].get("BTC", {}).get("free") != 1.25:
                await at.client.watch_balance()

    run(play())


@asynccontextmanager
async def open_raw_stream(
    at: Any,
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
    """Open the stream as CCXT does, but read it raw."""
    text = f"apiKey=simulator&timestamp={at.now_ms}"
    signature = hmac.new(b"simulator", text.encode(), hashlib.sha256).hexdigest()
    params = {"apiKey": "simulator", "timestamp": at.now_ms, "signature": signature}
    request = {"id": 1, "method": "userDataStream.subscribe.signature", "params": params}
    url = f"{at.simulator.url}/ws-api/v3"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json(request)
        assert await socket.receive_json(timeout=60) == {
            "id": 1, "status": 200, "result": {"subscriptionId": 0}
        }  # fmt: skip
        yield socket


async def collect_events(at: Any, act: Callable[[], Any], *, until: str) -> list[dict[str, Any]]:
    """Return the user data stream from a subscription to the first event of an execution type."""
    async with open_raw_stream(at) as socket:
        acting = asyncio.ensure_future(act())
        events: list[dict[str, Any]] = []
        while not events or events[-1].get("x") != until:
            message = await socket.receive_json()
            assert message["subscriptionId"] == 0
            events.append(message["event"])
        await acting
        return events


def test_events_come_in_the_order_in_which_things_happened(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(BTC="50") as at:
            await at.client.load_markets()
            price = float((await at.last() * Decimal("1.0005")).quantize(Decimal("0.01")))

            async def act() -> None:
                order = await at.client.create_order(BTC, "limit", "sell", 20, price)
                for _ in range(50):
                    await at.step(120)
                await at.client.cancel_order(order["id"], BTC)

            events = await collect_events(at, act, until="CANCELED")
            reports = [event for event in events if event["e"] == "executionReport"]
            assert [report["x"] for report in reports[:2]] == ["NEW", "TRADE"]
            assert [report["T"] for report in reports] == sorted(report["T"] for report in reports)
            filled = sum(Decimal(report["l"]) for report in reports)
            assert Decimal(reports[-1]["z"]) == filled > 0
            rest = await at.client.private_get_mytrades({"symbol": "BTCUSDT"})
            assert [int(trade["id"]) for trade in rest] == [
                report["t"] for report in reports if report["x"] == "TRADE"
            ]

    run(play())


def test_a_running_market_sends_fills_without_a_request(run: Run, scene: Opened) -> None:
    async def play() -> None:
        clock = make_clock(start_ms=MARCH_MS, speed=600)
        async with scene(clock=clock, pro=True) as at:
            await open_stream(at)
            placed: dict[str, float] = {}

            async def place_orders() -> None:
                # The price may rise for good or fall meanwhile, so one order is not enough.
                while True:
                    price = float((await at.last() * Decimal("0.9998")).quantize(Decimal("0.01")))
                    terms = (BTC, "limit", "buy", 0.01, price)
                    with contextlib.suppress(ccxt.InvalidOrder):
                        order = await at.client.create_order(*terms, {"postOnly": True})
                        placed[order["id"]] = price
                    await asyncio.sleep(0.5)

            placing = asyncio.create_task(place_orders())
            try:
                trades: list[Any] = []
                while not any(trade["takerOrMaker"] == "maker" for trade in trades):
                    trades = await at.client.watch_my_trades(BTC)
            finally:
                placing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await placing
            assert {trade["price"] for trade in trades if trade["order"] in placed} <= set(
                placed.values()
            )

    run(play())


def test_a_wrong_signature_opens_no_stream(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await at.client.load_markets()
            at.client.secret = "another"  # noqa: S105 - of a simulator
            # CCXT 4.5.90 stumbles over the error itself: its own KeyError hides the reason.
            with pytest.raises(KeyError) as caught:
                await at.client.watch_orders()
            assert isinstance(caught.value.__context__, ccxt.AuthenticationError)

    run(play())


def test_the_stream_reconnects_after_a_break_and_rest_has_the_missed_events(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_orders())
            await asyncio.sleep(0.05)
            assert await at.simulator.disconnect() == 1
            with pytest.raises(ccxt.NetworkError):
                await watching
            await at.client.create_order(BTC, "market", "buy", 0.01)
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_my_trades())
            await asyncio.sleep(0)
            await at.client.create_order(BTC, "market", "buy", 0.02)
            (trade,) = await watching
            assert trade["amount"] == 0.02
            assert len(await at.client.fetch_my_trades(BTC)) == 2

    run(play())


def test_the_accounts_socket_gets_a_notice_of_its_end_and_ends_after_a_day(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(limits=True) as at, open_raw_stream(at) as socket:
            await at.step(LIFE_SECONDS - 600)
            notice_ms = MARCH_MS + (LIFE_SECONDS - 600) * 1_000
            reported = await socket.receive_json(timeout=60)
            assert reported == {"event": {"e": "serverShutdown", "E": notice_ms}}
            step = asyncio.ensure_future(at.step(600))
            end = await socket.receive(timeout=60)
            await step
            assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1001)

    run(play())


def test_watch_orders_continues_after_the_warning_and_reconnects_after_the_day(
    run: Run, scene: Opened
) -> None:
    async def play() -> None:
        async with scene(pro=True, limits=True) as at:
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_orders(BTC))
            await asyncio.sleep(0)
            await at.step(LIFE_SECONDS - 600)
            await at.client.create_order(BTC, "limit", "buy", 0.01, 10_000)
            (order,) = await watching
            assert order["status"] == "open", "CCXT ignores the warning"
            watching = asyncio.create_task(at.client.watch_orders(BTC))
            await asyncio.sleep(0)
            await at.step(600)
            with pytest.raises(ccxt.NetworkError, match="closing code 1001"):
                await watching
            await open_stream(at)
            watching = asyncio.create_task(at.client.watch_orders(BTC))
            await asyncio.sleep(0)
            await at.client.cancel_order(order["id"], BTC)
            (order,) = await watching
            assert order["status"] == "canceled"

    run(play())


@pytest.mark.parametrize(
    ("time_in_force", "reason"),
    [("IOC", "UNFILLED_IOC_QUANTITY_EXPIRED"), ("FOK", "UNFILLED_FOK_ORDER_EXPIRED")],
)
def test_an_expiry_states_why(run: Run, scene: Opened, time_in_force: str, reason: str) -> None:
    async def play() -> None:
        async with scene() as at:
            await at.client.load_markets()

            async def act() -> None:
                params = {"timeInForce": time_in_force}
                order = await at.client.create_order(BTC, "limit", "buy", 0.01, 10_000, params)
                assert order["info"]["expiryReason"] == reason

            events = await collect_events(at, act, until="EXPIRED")
            assert events[-1]["eR"] == reason

    run(play())


def test_orders_go_over_the_websocket_api_too(run: Run, scene: Opened) -> None:
    async def play() -> None:
        async with scene(pro=True) as at:
            client = at.client
            await client.load_markets()
            placed = await client.create_order_ws(BTC, "limit", "buy", 0.01, 30_000)
            assert (await client.fetch_order_ws(placed["id"], BTC))["status"] == "open"
            assert len(await client.fetch_open_orders_ws(BTC)) == 1
            assert (await client.cancel_order_ws(placed["id"], BTC))["status"] == "canceled"
            # CCXT 4.5.90 reads the reply and leaves the balances in `info`.
            rows = (await client.fetch_balance_ws())["info"]["balances"]
            assert {"asset": "USDT", "free": "10000.00000000", "locked": "0.00000000"} in rows
            with pytest.raises(ccxt.InsufficientFunds):
                await client.create_order_ws(BTC, "market", "buy", 5)

    run(play())
