"""Closing a manager ends its tasks, and a stream that ends raises an error."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from onetape.core.errors import UsageError
from onetape.simulator.server.simulator import Simulator
from onetape.websocket.websocket import WebSocketManager

Run = Callable[[Any], Any]
Stepped = Callable[[int], Simulator]
Manager = Callable[..., AbstractAsyncContextManager[WebSocketManager]]
CLOSED = "this WebSocketManager is closed"


async def read_events(ws: WebSocketManager) -> None:
    async for _ in ws.events("BTC/USDT", "1m"):
        pass


async def read_candles(ws: WebSocketManager) -> None:
    while True:
        await ws.watch_ohlcv("BTC/USDT", "1m")


@pytest.mark.parametrize("how", ["watch_ohlcv", "events"])
def test_closing_the_manager_ends_a_task_that_watches_with_one_clear_error(
    run: Run, stepped: Stepped, manager: Manager, how: str
) -> None:
    async def scene() -> None:
        async with (
            stepped(0) as simulator,
            manager(simulator.url, clock=simulator.clock) as ws,
        ):
            work = read_events(ws) if how == "events" else read_candles(ws)
            watching = asyncio.create_task(work)
            await asyncio.sleep(0.2)
            await ws.close()
            async with asyncio.timeout(50):
                with pytest.raises(UsageError, match=CLOSED):
                    await watching
            assert await simulator.disconnect() == 0

    run(scene())


def test_a_closed_manager_is_not_watched_again(
    run: Run, stepped: Stepped, manager: Manager
) -> None:
    async def scene() -> None:
        async with (
            stepped(0) as simulator,
            manager(simulator.url, clock=simulator.clock) as ws,
        ):
            await ws.close()
            with pytest.raises(UsageError, match=CLOSED):
                await ws.watch_ticker("BTC/USDT")
            assert await simulator.disconnect() == 0

    run(scene())


def test_the_end_of_the_idle_timers_task_is_an_error_of_the_stream(
    run: Run, stepped: Stepped, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise ZeroDivisionError("the timer broke")

    monkeypatch.setattr("onetape.websocket.idle.IdleTimer.find_longest_lag", broken)

    async def scene() -> None:
        async with (
            stepped(0) as simulator,
            manager(simulator.url, stale_after_seconds=0.2, clock=simulator.clock) as ws,
            asyncio.timeout(50),
        ):
            with pytest.raises(ZeroDivisionError, match="the timer broke"):
                await read_events(ws)

    run(scene())
