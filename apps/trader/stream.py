"""The stream's events on their way from the sockets' thread to the thread that trades.

They wait in a queue while the trading thread waits for the database. A queue that has grown long is
collapsed: of each candle, and of the ticker, the newest values stay.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from msgspec import structs

from onetape.cli.stop import ended
from onetape.core.candles import SeriesKey
from onetape.exchange.rest import RestExchange
from onetape.websocket.events import CandleUpdate, StreamEvent, TickerUpdate

T = TypeVar("T")

#: A queue of more events than this is collapsed.
LONGEST_QUEUE = 1_000


class EventQueue:
    """Events from any thread, for the event loop that made the queue."""

    def __init__(self) -> None:
        """Begin empty."""
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._events: deque[StreamEvent | Exception] = deque()
        self._news = asyncio.Event()

    def put(self, event: StreamEvent | Exception) -> None:
        """Add an event, or the error that ended the stream; may be called in any thread."""
        with self._lock:
            was_empty = not self._events
            self._events.append(event)
            if len(self._events) > LONGEST_QUEUE:
                self._events = collapsed(self._events)
        if was_empty:
            self._loop.call_soon_threadsafe(self._news.set)

    async def get(self) -> StreamEvent:
        """Return the oldest event.

        Raises:
            Exception: the error that ended the stream.
        """
        while True:
            with self._lock:
                if self._events:
                    event = self._events.popleft()
                    break
                self._news.clear()
            await self._news.wait()
        if isinstance(event, Exception):
            raise event
        return event


def collapsed(events: "deque[StreamEvent | Exception]") -> "deque[StreamEvent | Exception]":
    """Return events with neighbours merged: of candles and of tickers the newest values stay.

    Candles of two connections are not merged, nor are events across a lost stream.
    """
    kept: deque[StreamEvent | Exception] = deque()
    ticker: TickerUpdate | None = None
    for event in events:
        last = kept[-1] if kept else None
        if isinstance(event, TickerUpdate):
            ticker = event
        elif (
            isinstance(event, CandleUpdate)
            and isinstance(last, CandleUpdate)
            and event.connection == last.connection
        ):
            kept[-1] = _merged(last, event)
        else:
            kept.append(event)
    if ticker is not None:
        kept.append(ticker)
    return kept


def _merged(first: CandleUpdate, second: CandleUpdate) -> CandleUpdate:
    rows = {row.timestamp: row for row in (*first.rows, *second.rows)}
    return structs.replace(
        second,
        rows=tuple(rows[timestamp] for timestamp in sorted(rows)),
        closed=first.closed | second.closed,
    )


async def stream_events(
    exchange: RestExchange, key: SeriesKey, *, stale_after_seconds: float
) -> AsyncGenerator[StreamEvent]:
    """Yield the events of a market's stream; its sockets belong to the loop of the exchange.

    Close it (`contextlib.aclosing`) where the loop over it may be left early.

    Args:
        exchange: Open; its event loop may be that of another thread.
        key: The series.
        stale_after_seconds: As for `WebSocketManager`.

    Raises:
        OnetapeError: as `WebSocketManager.events`.
    """
    queue = EventQueue()

    async def pump() -> None:
        from onetape.websocket.websocket import WebSocketManager

        try:
            async with (
                WebSocketManager(
                    exchange, [key.symbol], stale_after_seconds=stale_after_seconds
                ) as manager,
                aclosing(manager.events(key.symbol, key.timeframe)) as events,
            ):
                async for event in events:
                    queue.put(event)
            queue.put(RuntimeError("the stream ended by itself"))
        except Exception as error:
            queue.put(error)

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(pump())

    pumping = await run_in_loop(exchange.loop, start())
    try:
        while True:
            yield await queue.get()
    finally:
        await _finished(run_in_loop(exchange.loop, ended(pumping)))


def run_in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
    """Run a coroutine in an event loop, which may be another thread's; return what to wait for."""
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def _finished(work: asyncio.Future[None]) -> None:
    """Wait for what must not be left half done; a cancellation takes effect after it."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError as request:
            cancelled = request
    work.result()
    if cancelled is not None:
        raise cancelled
