"""WebSocketManager: live candles and tickers of one market, through CCXT Pro.

What CCXT Pro leaves to its user, and this class does:
- A socket that stays open and carries nothing raises nothing: an idle timer breaks it, also where
  only one of the streams is dead.
- A malformed frame ends the receive loop without a word: a guard turns it into a lost stream.
- A break between two calls raises nothing: each connection gets a number of its own.
- Rows come back cut from the tail of a cache, and change under the caller: the cache is read by
  timestamp, and copied at once.
- A dial goes on after the client is closed, and a peer that is gone holds up the closing: both end
  with the manager.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from ccxt import BaseError, ExchangeClosedByUser, NetworkError, OperationFailed

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.exchange.rest import RestExchange, candle_of
from onetape.exchange.translate import translated
from onetape.websocket.client import close_client, drop, guarded_client
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, TickerUpdate
from onetape.websocket.idle import IdleTimer

#: Pauses after a break, beside those of CCXT between dials: the first, doubling to the longest.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
#: The idle timer looks so many times while it waits, and pauses so long at least.
LOOKS = 4
LEAST_LOOK_SECONDS = 0.05

CANDLES, TICKER = "candle", "ticker"

Reader = Callable[[], Awaitable[StreamEvent | None]]


class WebSocketManager:
    """Streams of one exchange. Use it as an async context manager: it holds open sockets."""

    def __init__(self, exchange: RestExchange, *, stale_after_seconds: float) -> None:
        """Prepare; nothing is sent before `events` is read.

        Args:
            exchange: Its markets are shared, so that they are fetched once.
            stale_after_seconds: Without any message for this long, or with none on one stream
                while the price moves on the other, the connection is made anew.

        Raises:
            UsageError: CCXT has no streams of the exchange.
        """
        self._rest = exchange
        self._stale_after_seconds = stale_after_seconds
        self._idle = IdleTimer((CANDLES, TICKER))
        self._client = guarded_client(exchange.endpoint, on_connected=self._idle.restart)

    async def __aenter__(self) -> Self:
        """Return the manager."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every socket; one whose other side is gone within 2 s.

        A cancellation meanwhile takes effect after that: what stays open, CCXT complains of.
        """
        closing = asyncio.create_task(close_client(self._client))
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as request:
                cancelled = request
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def events(self, symbol: str, timeframe: str) -> AsyncGenerator[StreamEvent]:
        """Yield candles and tickers of one market for ever, and say when the stream was lost.

        Close it (`contextlib.aclosing`) where the loop over it may be left early.

        Raises:
            ExchangeRefused: the exchange answered no, for example to an unknown symbol.
            ExchangeUnreachable: the list of markets could not be read.
        """
        self._client.set_markets(await self._rest.ccxt_markets())
        self._idle.restart()
        queue: asyncio.Queue[StreamEvent | Exception] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._watch(stream, read, queue))
            for stream, read in (
                (CANDLES, self._candle_reader(symbol, timeframe)),
                (TICKER, self._ticker_reader(symbol)),
            )
        ]
        tasks.append(asyncio.create_task(self._break_when_stale()))
        try:
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _candle_reader(self, symbol: str, timeframe: str) -> Reader:
        seen: dict[int | None, list[Any]] = {}
        overruns = 0

        async def read() -> StreamEvent | None:
            nonlocal seen, overruns
            await self._client.watch_ohlcv(symbol, timeframe)
            # Compared as CCXT has them: a NaN of ours would differ from itself for ever.
            rows = {row[0]: list(row) for row in self._client.ohlcvs[symbol][timeframe]}
            changed = sorted(candle_of(row) for ts, row in rows.items() if seen.get(ts) != row)
            if any(ts is not None and ts not in rows for ts in list(seen)[-1:]):
                # So much came while nobody read that the newest candle known left CCXT's cache, and
                # maybe its last frame with it: as good as a break of the connection.
                overruns += 1
            seen = rows
            number = self._client.connections + overruns
            return CandleUpdate(tuple(changed), number) if changed else None

        return read

    def _ticker_reader(self, symbol: str) -> Reader:
        async def read() -> StreamEvent | None:
            ticker: dict[str, Any] = await self._client.watch_ticker(symbol)
            return TickerUpdate(
                ticker.get("timestamp"), ticker.get("bid"), ticker.get("ask"), ticker.get("last")
            )

        return read

    async def _watch(
        self, stream: str, read: Reader, queue: "asyncio.Queue[StreamEvent | Exception]"
    ) -> None:
        """Read for ever; what ends it goes into the queue: a task that fails alone is not heard."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                event = await self._read(read)
            except ExchangeUnreachable as error:
                queue.put_nowait(StreamLost(str(error)))
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
                continue
            except Exception as error:
                queue.put_nowait(error)
                return
            pause_seconds = FIRST_PAUSE_SECONDS
            self._idle.heard(stream, _price(event))
            if event is not None:
                queue.put_nowait(event)

    async def _read(self, read: Reader) -> StreamEvent | None:
        """Read once.

        Raises:
            ExchangeUnreachable: reading again may help; the text says why it broke.
            ExchangeRefused: it will not.
        """
        try:
            return await read()
        except (OperationFailed, ExchangeClosedByUser) as error:
            raise ExchangeUnreachable(_one_line(error)) from error
        except BaseError as error:
            final = _refusal(self._rest.endpoint.exchange, error)
            raise final or ExchangeUnreachable(_one_line(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled us: CCXT cancels what waits for a socket that it closes.
            raise ExchangeUnreachable("CCXT closed the stream") from None

    async def _break_when_stale(self) -> None:
        """Break a connection that carries nothing; the watchers then dial again."""
        while True:
            seconds, what = self._idle.silence()
            if seconds < self._stale_after_seconds:
                left = self._stale_after_seconds - seconds
                # A stream may begin to be behind right after the look.
                longest = self._stale_after_seconds / LOOKS
                await asyncio.sleep(max(min(left, longest), LEAST_LOOK_SECONDS))
                continue
            self._idle.restart()
            for client in list(self._client.clients.values()):
                # A dial has a timeout of its own, and would go on beside the new one.
                if not client.closed():
                    drop(client, NetworkError(f"no {what} for {seconds:.0f} s"))


def _price(event: StreamEvent | None) -> float | None:
    """Return the last price that an event tells."""
    match event:
        case CandleUpdate(rows):
            return rows[-1].close
        case TickerUpdate():
            return event.last
        case _:
            return None


def _refusal(exchange: str, error: BaseError) -> ExchangeRefused | None:
    """Return the error as ours where reading again will not help."""
    try:
        with translated(exchange):
            raise error
    except ExchangeRefused as refused:
        return refused
    except ExchangeUnreachable:
        return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
