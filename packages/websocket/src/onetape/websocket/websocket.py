"""WebSocketManager: live candles and tickers of one market, through CCXT Pro.

What CCXT Pro leaves to its user, and this class does:
- A socket that stays open and carries nothing raises nothing: an idle timer breaks it.
- A malformed frame ends the receive loop without a word: a guard turns it into a lost stream.
- A break between two calls raises nothing: each connection gets a number of its own.
- Rows come back cut from the tail of a cache, and change under the caller: the cache is read by
  timestamp, and copied at once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import ccxt.pro as ccxt_pro
from ccxt import ExchangeClosedByUser, NetworkError, OperationFailed

from onetape.core.candles import Candle
from onetape.core.errors import ExchangeError
from onetape.exchange.clients import client_settings, redirect
from onetape.exchange.rest import RestExchange, candle_of
from onetape.exchange.translate import translated
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, TickerUpdate

#: Pause after a break that CCXT did not slow down itself, so that no fault can make a tight loop.
PAUSE_AFTER_BREAK_SECONDS = 0.2


class WebSocketManager:
    """Streams of one exchange. Use it as an async context manager: it holds open sockets."""

    def __init__(self, exchange: RestExchange, *, stale_after_seconds: float) -> None:
        """Prepare; nothing is sent before `events` is read.

        Args:
            exchange: Its markets are shared, so that they are fetched once.
            stale_after_seconds: Without any message for this long the connection is made anew.
        """
        self._rest = exchange
        self._stale_after_seconds = stale_after_seconds
        self._client = _guarded_client(exchange)
        self._last_message = time.monotonic()

    async def __aenter__(self) -> Self:
        """Return the manager."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every socket."""
        await self._client.close()

    async def events(self, symbol: str, timeframe: str) -> AsyncGenerator[StreamEvent]:
        """Yield candles and tickers of one market for ever, and say when the stream was lost.

        Raises:
            ExchangeRefused: the exchange answered no, for example to an unknown symbol.
            ExchangeUnreachable: the list of markets could not be read.
        """
        self._client.set_markets(await self._rest.ccxt_markets())
        self._last_message = time.monotonic()
        queue: asyncio.Queue[StreamEvent | ExchangeError] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._watch(read, queue))
            for read in (self._candle_reader(symbol, timeframe), self._ticker_reader(symbol))
        ]
        tasks.append(asyncio.create_task(self._break_when_stale()))
        try:
            while True:
                event = await queue.get()
                if isinstance(event, ExchangeError):
                    raise event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _candle_reader(
        self, symbol: str, timeframe: str
    ) -> Callable[[], Awaitable[StreamEvent | None]]:
        seen: dict[int, Candle] = {}

        async def read() -> StreamEvent | None:
            nonlocal seen
            await self._client.watch_ohlcv(symbol, timeframe)
            cache = self._client.ohlcvs[symbol][timeframe]
            rows = {row.timestamp: row for row in map(candle_of, cache)}
            changed = tuple(row for ts, row in sorted(rows.items()) if seen.get(ts) != row)
            seen = rows
            return CandleUpdate(changed, self._client.connections) if changed else None

        return read

    def _ticker_reader(self, symbol: str) -> Callable[[], Awaitable[StreamEvent | None]]:
        async def read() -> StreamEvent | None:
            ticker: dict[str, Any] = await self._client.watch_ticker(symbol)
            return TickerUpdate(
                ticker.get("timestamp"), ticker.get("bid"), ticker.get("ask"), ticker.get("last")
            )

        return read

    async def _watch(
        self,
        read: Callable[[], Awaitable[StreamEvent | None]],
        queue: "asyncio.Queue[StreamEvent | ExchangeError]",
    ) -> None:
        exchange = self._rest.endpoint.exchange
        while True:
            try:
                event = await read()
            except ExchangeClosedByUser:
                return
            except OperationFailed as error:
                queue.put_nowait(StreamLost(" ".join(str(error).split())[:200]))
                await asyncio.sleep(PAUSE_AFTER_BREAK_SECONDS)
                continue
            except Exception as error:
                # The reader of the queue raises it: a task that fails alone would go unnoticed.
                queue.put_nowait(_final(exchange, error))
                return
            self._last_message = time.monotonic()
            if event is not None:
                queue.put_nowait(event)

    async def _break_when_stale(self) -> None:
        """Break a connection that carries nothing; the watchers then dial again."""
        while True:
            idle_seconds = time.monotonic() - self._last_message
            if idle_seconds < self._stale_after_seconds:
                await asyncio.sleep(self._stale_after_seconds - idle_seconds)
                continue
            self._last_message = time.monotonic()
            for client in list(self._client.clients.values()):
                client.on_error(NetworkError(f"no message for {idle_seconds:.0f} s"))


def _final(exchange: str, error: Exception) -> ExchangeError:
    try:
        with translated(exchange):
            raise error
    except ExchangeError as ours:
        return ours


def _guarded_client(exchange: RestExchange) -> Any:
    """Return CCXT Pro's client of the exchange, guarded against frames that end its loop."""
    base: Any = getattr(ccxt_pro, exchange.endpoint.ccxt_class)

    class Guarded(base):
        """CCXT Pro's class with two hooks."""

        connections = 0

        def on_connected(self, client: Any, message: Any = None) -> None:
            """Count the connections."""
            self.connections += 1
            parent: Any = super()
            parent.on_connected(client, message)

        def client(self, url: str) -> Any:
            """Return the client of an address, its message handler guarded once."""
            parent: Any = super()
            client: Any = parent.client(url)
            if "handle_message" not in vars(client):
                client.handle_message = _guard(client, client.handle_message)
            return client

    settings = client_settings(exchange.endpoint)
    client: Any = Guarded(settings)
    if exchange.endpoint.simulator_url is not None:
        redirect(client.urls["api"], exchange.endpoint.simulator_url)
    return client


def _guard(client: Any, handle: Callable[[Any], None]) -> Callable[[Any], None]:
    def guarded(message: Any) -> None:
        try:
            handle(message)
        except Exception as error:
            # Whatever CCXT stumbles over, its loop would end silently: report the stream lost.
            client.on_error(NetworkError(f"bad frame ({type(error).__name__}: {error})"))

    return guarded
