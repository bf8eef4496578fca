"""Streams that are closed while a read begins: no read goes on, no socket stays open."""

import asyncio
import gc
from contextlib import suppress
from pathlib import Path

from onetape.core.candles import SeriesKey
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.simulator.embedded import embedded_simulator
from trader.stream import MarketStreams

KEY = SeriesKey("simulator", "BTC/USDT", "1h")
#: Steps of the event loop after which the reader is cancelled; the streams begin within them.
STEPS = range(40)


def test_a_reader_cancelled_while_it_starts_leaves_no_task_running(tmp_path: Path) -> None:
    async def cancelled_after(steps: int, exchange: RestExchange) -> None:
        others = asyncio.all_tasks()
        streams = MarketStreams(
            exchange, ["BTC/USDT"], stale_after_seconds=30.0, dial_file=tmp_path / "dials"
        )
        async with streams:
            events = streams.events(KEY)
            reading = asyncio.create_task(anext(events))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await events.aclose()
        assert asyncio.all_tasks() == others

    async def scene(url: str) -> None:
        exchange = await asyncio.to_thread(RestExchange, Endpoint("simulator", url))
        async with exchange:
            for steps in STEPS:
                await cancelled_after(steps, exchange)

    with embedded_simulator() as simulator:
        asyncio.run(scene(simulator.url))
    gc.collect()
