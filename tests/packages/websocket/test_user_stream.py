"""The account's events through CCXT Pro against the simulator."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from uuid import uuid4

from aiohttp import WSMessage, WSMsgType

from bounded_run import run_bounded
from onetape.exchange.clients import Endpoint
from onetape.exchange.trading import PrivateClient
from onetape.exchange.trading_records import Credentials, OrderRequest, OrderSnapshot
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.faults.model import Fault
from onetape.websocket.user_stream import (
    BalanceUpdate,
    ExecutionUpdate,
    OrderUpdate,
    UserEvent,
    UserStream,
    UserStreamLost,
    UserStreamOpened,
)

SYMBOL = "BTC/USDT"
KEY = Credentials("simulator", "simulator")
BALANCE = {"USDT": Decimal(50_000_000), "BTC": Decimal(1)}
#: Five offers of 0.01 BTC on each side.
THIN = Fault("thin_book", levels=5, amount=0.01, ticks=50)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_order(side: str = "buy", stop: Decimal | None = None) -> OrderRequest:
    amount = Decimal("0.03")
    return OrderRequest(uuid4().hex, SYMBOL, side, amount, now_ms(), stop)  # pyright: ignore[reportArgumentType] - one of the two


class UserStreamSetup:
    """A stream, its received events, and a client of the same account."""

    def __init__(self, client: PrivateClient, stream: UserStream) -> None:
        self.client = client
        self.stream = stream
        self.events: list[UserEvent] = []
        stream.add_listener(self.events.append)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - the events come by a plain function
                await asyncio.sleep(0.01)

    def count(self, kind: type[UserEvent]) -> int:
        return sum(isinstance(one, kind) for one in self.events)


def list_ended_orders(events: list[UserEvent]) -> dict[str, OrderSnapshot]:
    """Return the orders that are over, by client order id."""
    orders = [one.order for one in events if isinstance(one, OrderUpdate)]
    return {one.client_order_id: one for one in orders if one.status != "open"}


def run(
    simulator: EmbeddedSimulator,
    work: Callable[[UserStreamSetup], Awaitable[None]],
    *,
    key: Credentials = KEY,
) -> None:
    async def done() -> None:
        endpoint = Endpoint("simulator", simulator.url)
        async with PrivateClient(endpoint, key, now_ms=now_ms) as client:
            await client.load_markets()
            stream = UserStream(endpoint, key, client.markets, now_ms=now_ms)
            desk = UserStreamSetup(client, stream)
            async with stream:
                await work(desk)

    run_bounded(done(), 180.0)


def test_every_event_of_an_order_arrives_with_the_exchanges_numbers() -> None:
    async def work(desk: UserStreamSetup) -> None:
        await desk.until(lambda: desk.stream.is_open)
        bought = await desk.client.submit(request := make_order())
        stop = make_order("sell", Decimal(20_000))
        await desk.client.submit(stop)
        await desk.client.cancel(SYMBOL, stop.client_order_id)
        await desk.until(lambda: desk.count(ExecutionUpdate) == 3)
        made = [one for one in desk.events if isinstance(one, ExecutionUpdate)]
        assert [one.execution for one in made] == list(bought.trades)
        assert {one.client_order_id for one in made} == {request.client_order_id}
        await desk.until(lambda: len(list_ended_orders(desk.events)) == 2)
        ends = list_ended_orders(desk.events)
        assert ends[request.client_order_id].filled == Decimal("0.03")
        # The event of a cancellation has a separate id, and names the order's.
        assert ends[stop.client_order_id].status == "canceled"
        assert ends[stop.client_order_id].stop_price == Decimal(20_000)
        assert desk.count(BalanceUpdate) == 0

    with embedded_simulator(balance=BALANCE, faults=[THIN]) as simulator:
        run(simulator, work)


def test_a_broken_stream_is_reported_lost_once_and_opened_again() -> None:
    broken = Fault("ws_garbage", shape="truncated", stream="user", count=1)
    # The first connection ends long before so many events.
    cut = Fault("ws_abort", stream="user", nth=60)

    async def work(desk: UserStreamSetup) -> None:
        for number in (1, 2):
            await desk.until(lambda count=number: desk.count(UserStreamOpened) == count)
            while desk.count(UserStreamLost) < number:
                await desk.client.submit(make_order())
        await desk.until(lambda: desk.count(UserStreamOpened) == 3)
        await desk.client.submit(make_order())
        await desk.until(lambda: isinstance(desk.events[-1], ExecutionUpdate | OrderUpdate))
        reasons = [one.reason for one in desk.events if isinstance(one, UserStreamLost)]
        assert "bad frame" in reasons[0]

    with embedded_simulator(balance=BALANCE, faults=[broken, cut]) as simulator:
        run(simulator, work)


def test_failed_dials_are_one_loss_and_leave_no_task() -> None:
    refused = Fault("ws_refuse", path="/ws-api/v3", shape="reset", count=2)

    async def work(desk: UserStreamSetup) -> None:
        await desk.until(lambda: desk.count(UserStreamOpened))
        assert [type(one) for one in desk.events] == [UserStreamLost, UserStreamOpened]

    with embedded_simulator(faults=[refused]) as simulator:
        run(simulator, work)


def test_events_that_the_exchange_ends_on_an_open_socket_are_subscribed_again() -> None:
    async def work(desk: UserStreamSetup) -> None:
        await desk.until(lambda: desk.stream.is_open)
        (socket,) = desk.stream._client.clients.values()  # pyright: ignore[reportPrivateUsage]
        # As Binance documents it: the simulator never ends events by itself.
        ended = {"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": now_ms()}}
        socket.handle_message(WSMessage(WSMsgType.TEXT, json.dumps(ended), ""))
        await desk.until(lambda: desk.count(UserStreamOpened) == 2)
        await desk.client.submit(make_order())
        await desk.until(lambda: desk.count(ExecutionUpdate))

    with embedded_simulator(balance=BALANCE) as simulator:
        run(simulator, work)


def test_an_exchange_that_ends_events_at_once_is_dialled_more_and_more_rarely() -> None:
    async def work(desk: UserStreamSetup) -> None:
        def end(event: UserEvent) -> None:
            if isinstance(event, UserStreamOpened):
                loop.call_soon(desk.stream.reconnect, "the exchange has ended the events")

        loop = asyncio.get_running_loop()
        desk.stream.add_listener(end)
        await desk.until(lambda: desk.count(UserStreamOpened) >= 4)
        await asyncio.sleep(2.0)
        # Pauses of 0.16 s, then twice as long each time; of 0.02 s each it would be dozens.
        assert desk.count(UserStreamOpened) <= 9

    with embedded_simulator(balance=BALANCE) as simulator:
        run(simulator, work)


def test_row_76_a_key_that_is_not_accepted_is_reported_once_and_never_written() -> None:
    secret = "CanarySecret0123456789"  # noqa: S105 - a canary
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.root.addHandler(handler)
    level = logging.root.level
    logging.root.setLevel(logging.DEBUG)

    async def work(desk: UserStreamSetup) -> None:
        await desk.until(lambda: desk.count(UserStreamLost))
        # It is tried again, and the same failure is no news.
        await asyncio.sleep(0.7)
        assert desk.count(UserStreamLost) == 1
        written.write(repr(desk.events))

    try:
        with embedded_simulator() as simulator, redirect_stdout(written), redirect_stderr(written):
            run(simulator, work, key=Credentials("CanaryKey0123456789", secret))
    finally:
        logging.root.removeHandler(handler)
        logging.root.setLevel(level)
    assert "Canary" not in written.getvalue()
    assert "signature" not in written.getvalue()
