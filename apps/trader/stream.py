"""Passes the stream's events from the main thread, which has the sockets, to the trading thread.

The events wait in a queue while the trading thread waits for the database; of each candle, and of
the ticker, only the newest values are kept.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from msgspec import structs

from onetape.cli.stop import cancel_and_wait
from onetape.core.candles import SeriesKey
from onetape.exchange.rest import RestExchange
from onetape.websocket.events import CandleUpdate, StreamEvent
from onetape.websocket.subscription import merge_event
from trader.rest_probe import RestProbe
from trader.stalls import get_computer_seconds

if TYPE_CHECKING:
    from onetape.websocket.websocket import WebSocketManager

T = TypeVar("T")


class EventQueue:
    """A queue of stream events from any thread to the event loop that made it."""

    def __init__(self) -> None:
        """Initialise empty, for the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: list[StreamEvent] = []
        self._error: Exception | None = None
        """Error that has ended the stream, or None."""
        self._changed = asyncio.Event()
        """Set when an event or an error was added."""

    def put(self, event: StreamEvent) -> None:
        """Add an event, merged with those that wait; may be called in any thread."""
        if isinstance(event, CandleUpdate) and not event.is_cached:
            event = structs.replace(event, received_seconds=get_computer_seconds())
        with self._lock:
            self._waiting = merge_event(self._waiting, event)
        self._loop.call_soon_threadsafe(self._changed.set)

    def fail(self, error: Exception) -> None:
        """End the stream with an error; may be called in any thread."""
        self._error = error
        self._loop.call_soon_threadsafe(self._changed.set)

    async def get(self) -> StreamEvent:
        """Return the oldest event, and remove it from the queue; wait for one if it is empty.

        Raises:
            Exception: the error that ended the stream, once no event waits any more.
        """
        while True:
            self._changed.clear()
            with self._lock:
                if self._waiting:
                    return self._waiting.pop(0)
            if self._error is not None:
                raise self._error
            await self._changed.wait()


class MarketStreams:
    """The streams of some markets over as few sockets as the exchange allows.

    Use it as an async context manager in any event loop; the sockets belong to the loop of the
    exchange.
    """

    def __init__(
        self,
        exchange: RestExchange,
        symbols: Sequence[str],
        *,
        stale_after_seconds: float,
        dial_file: Path,
    ) -> None:
        """Prepare; no socket is opened yet.

        Args:
            exchange: Open; its event loop may be that of another thread.
            symbols: CCXT spot symbols.
            stale_after_seconds: See `WebSocketManager`.
            dial_file: See `WebSocketManager`.
        """
        self._exchange = exchange
        self._symbols = tuple(symbols)
        self._stale_after_seconds = stale_after_seconds
        self._dial_file = dial_file
        self._manager: WebSocketManager | None = None
        self._pumps = set[asyncio.Task[None]]()
        """Tasks in the loop of the exchange that read a stream into a queue."""
        self._is_closed = False
        self.probe = RestProbe(exchange)
        """Probe of the exchange; when it responds again, the streams dial at once."""
        self.probe.on_recovery.append(self.dial_now)

    async def __aenter__(self) -> Self:
        """Return the streams."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every socket."""
        await _wait_shielded(run_in_loop(self._exchange.loop, self._close()))

    async def events(self, key: SeriesKey) -> AsyncGenerator[StreamEvent]:
        """Yield the events of a series, without end.

        Use `contextlib.aclosing`, so that the stream is left when the loop over it is.

        Args:
            key: Series of one of the symbols.

        Raises:
            OnetapeError: as `WebSocketManager.events`.
        """
        queue = EventQueue()

        async def pump() -> None:
            try:
                async with aclosing(
                    self._get_manager().events(key.symbol, key.timeframe)
                ) as events:
                    async for event in events:
                        queue.put(event)
                queue.fail(RuntimeError("the stream ended by itself"))
            except Exception as error:
                queue.fail(error)

        async def start() -> asyncio.Task[None]:
            if self._is_closed:
                raise RuntimeError("the streams are closed")
            task = asyncio.create_task(pump())
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)
            return task

        pumping = await run_in_loop(self._exchange.loop, start())
        try:
            while True:
                yield await queue.get()
        finally:
            await _wait_shielded(run_in_loop(self._exchange.loop, cancel_and_wait(pumping)))

    def _get_manager(self) -> "WebSocketManager":
        """Return the manager of the sockets, which the first call makes; in the exchange's loop."""
        if self._manager is None:
            from onetape.websocket.websocket import WebSocketManager

            self._manager = WebSocketManager(
                self._exchange,
                self._symbols,
                stale_after_seconds=self._stale_after_seconds,
                dial_file=self._dial_file,
            )
        return self._manager

    def dial_now(self) -> None:
        """End the waits of streams for their next dial; may be called in any thread."""

        def dial() -> None:
            if self._manager is not None:
                self._manager.dial_now()

        self._exchange.loop.call_soon_threadsafe(dial)

    async def _close(self) -> None:
        # A caller that is cancelled while its pump starts does not end the pump.
        self._is_closed = True
        await cancel_and_wait(*self._pumps)
        if self._manager is not None:
            await self._manager.close()
            self._manager = None


def get_dial_file(database: Path, exchange: str) -> Path:
    """Return the path of the file by which traders on one database dial one after the other.

    Args:
        database: Path of the database file.
        exchange: CCXT exchange id.
    """
    return Path(f"{os.path.realpath(database)}-dials-{exchange}")


def run_in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
    """Run a coroutine in an event loop, also in that of another thread; return its future."""
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def _wait_shielded(work: asyncio.Future[None]) -> None:
    """Wait for work to its end; a cancellation meanwhile is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError as request:
            cancelled = request
    work.result()
    if cancelled is not None:
        raise cancelled
