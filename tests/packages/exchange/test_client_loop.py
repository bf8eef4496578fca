"""The end of a CCXT client: no request is left running, and no connection is opened after it."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import ccxt.async_support as ccxt_async
import pytest

from onetape.core.errors import ExchangeUnreachable
from onetape.exchange.client_loop import ClientLoop
from onetape.exchange.clients import Endpoint
from onetape.exchange.private_connection import PrivateConnection
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.simulator.faults.model import Fault

Request = Callable[[], Awaitable[Any]]


class Endless:
    """A request that gets no response."""

    def __init__(self, *, swallowed: int) -> None:
        """Swallow a number of cancellations, as Python 3.11's `wait_for` may."""
        self.running = 0
        self.begun = asyncio.Event()
        self._swallowed = swallowed

    async def request(self) -> None:
        self.running += 1
        self.begun.set()
        try:
            for _ in range(self._swallowed + 1):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if not self._swallowed:
                        raise
                    self._swallowed -= 1
        finally:
            self.running -= 1


@pytest.mark.parametrize("swallowed", [0, 1])
@pytest.mark.parametrize("is_other_thread", [False, True])
def test_a_client_is_closed_after_its_last_request_has_ended(
    *, is_other_thread: bool, swallowed: int
) -> None:
    async def scene() -> None:
        client: Any = ccxt_async.binance()
        loop = ClientLoop(client, "binance")
        loop.begin()
        endless = Endless(swallowed=swallowed)
        runner = run_in_thread if is_other_thread else asyncio.create_task
        ended = runner(run(loop, endless.request))
        await endless.begun.wait()
        await loop.close()
        assert endless.running == 0
        with pytest.raises(asyncio.CancelledError):
            await ended

    asyncio.run(scene())


async def run(loop: ClientLoop, request: Request) -> None:
    await loop.run(request)


def run_in_thread(work: Any) -> asyncio.Future[None]:
    result: Future[None] = Future()

    def carry_out() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=carry_out).start()
    return asyncio.wrap_future(result)


def test_a_closed_client_opens_no_connection_for_a_late_request() -> None:
    async def scene(url: str) -> None:
        endpoint = Endpoint("simulator", url)
        reader = await asyncio.to_thread(RestExchange, endpoint)
        key = Credentials("simulator", "simulator")
        client = PrivateConnection(endpoint, key, now_ms=reader.now_ms)
        late: list[Request] = [lambda: reader.fetch_current_market("BTC/USDT"), client.load_markets]
        async with reader, client:
            for request in late:
                await request()
        for request in late:
            with pytest.raises(ExchangeUnreachable, match="are closed"):
                await request()

    with embedded_simulator() as simulator:
        asyncio.run(scene(simulator.url))
    gc.collect()


def test_a_request_in_flight_at_the_end_leaves_no_connection_open() -> None:
    async def scene(simulator: EmbeddedSimulator) -> None:
        reader = await asyncio.to_thread(RestExchange, Endpoint("simulator", simulator.url))
        async with reader:
            await reader.fetch_current_market("BTC/USDT")
            simulator.faults.add(Fault("timeout", path="/api/v3/exchangeInfo"))
            reading = run_in_thread(reader.fetch_current_market("BTC/USDT"))
            while not simulator.faults.log:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0.001)
        with pytest.raises(asyncio.CancelledError):
            await reading

    with embedded_simulator() as simulator:
        asyncio.run(scene(simulator))
    gc.collect()
