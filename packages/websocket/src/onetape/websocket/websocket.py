"""WebSocketManager: live candles, tickers and trades of one exchange, through CCXT Pro.

The class corrects these weaknesses of CCXT Pro:
- CCXT drops the exchange's mark that a candle is final. Here the mark is read from the raw frame,
  and the candle stays as it was in that frame (marks.py).
- An open socket without frames raises no error. Here an idle timer compares the streams with REST,
  and breaks the connection if REST has something newer. If REST does not respond either, the
  connection stays as long as it responds to CCXT's pings.
- A malformed frame ends the receive loop without an error. Here it is reported as a lost stream.
- A break between two calls raises no error. Here each connection gets a new number.
- CCXT returns the last rows of a cache, and changes them later. Here the cache is compared by
  timestamp, and rows are copied at once.
- A frame between two calls wakes no task. Here each stream is read by a separate task.
- A dial goes on after the client is closed, and a peer that is gone delays the close. Here both end
  with the manager.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ccxt import NetworkError

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable, UsageError
from onetape.core.message_text import suggest_name
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import BRIEF_RETRY_SECONDS, RestExchange
from onetape.websocket.built_candles import BuiltCandleFeed, PolledCandleFeed, PolledTickerFeed
from onetape.websocket.client import (
    close_exchange_client,
    drop_connection,
    end_dial_pauses,
    make_guarded_client,
)
from onetape.websocket.events import (
    CandleSource,
    CandleUpdate,
    StreamEvent,
    StreamLost,
    StreamOpened,
    StreamQuiet,
    TickerUpdate,
    TradeUpdate,
)
from onetape.websocket.feeds import CandleFeed, Feed, PublicTradeFeed, TickerFeed
from onetape.websocket.idle import IdleTimer
from onetape.websocket.subscription import Subscription

#: Number of checks of the idle timer in `stale_after_seconds`, and the shortest pause between two.
CHECKS = 8
MIN_CHECK_SECONDS = 0.05
#: Default time without frames after which the streams are compared with REST, wall seconds.
STALE_AFTER_SECONDS = 30.0
#: Default address of a simulator.
SIMULATOR_URL = "http://127.0.0.1:8790"

Update = TypeVar("Update", CandleUpdate, TickerUpdate, TradeUpdate)


class WebSocketManager:
    """Streams of some symbols of one exchange, over as few sockets as the exchange allows.

    Use it in `async with`, or call `close`, because it has open sockets. Each `watch_...` method
    waits for the next update, and connects again after a break.
    """

    def __init__(
        self,
        exchange: RestExchange | str,
        symbols: Sequence[str],
        *,
        stale_after_seconds: float = STALE_AFTER_SECONDS,
        simulator_url: str | None = None,
        on_break: Callable[[str], None] = lambda _: None,
        dial_file: Path | None = None,
    ) -> None:
        """Initialise; nothing is sent before the first call.

        Args:
            exchange: CCXT exchange id or `simulator`; or a RestExchange, whose markets and rate
                limit are then used, and which `close` leaves open.
            symbols: CCXT spot symbols that may be watched, such as `BTC/USDT`.
            stale_after_seconds: Time without frames after which the streams are compared with REST,
                wall seconds; if REST has something newer, the connection is made again.
            simulator_url: Address of the simulator; None: port 8790 of this computer.
            on_break: Called by the `watch_...` methods with one line about each break.
            dial_file: File with the queue of dials that programs share, so that together they stay
                under the exchange's limit; None: the default file of this user (`client`).

        Raises:
            UsageError: CCXT does not have the exchange or its streams.
            ExchangeUnreachable: the simulator does not respond.
        """
        self._owns_rest = isinstance(exchange, str)
        self._rest = (
            _make_rest_exchange(exchange, simulator_url) if isinstance(exchange, str) else exchange
        )
        self._symbols = tuple(symbols)
        self._stale_after_seconds = stale_after_seconds
        self._on_break = on_break
        self._timers = {symbol: IdleTimer() for symbol in self._symbols}
        self._client = make_guarded_client(
            self._rest.endpoint, on_connected=self._restart_timers, dial_file=dial_file
        )
        self._watched: dict[tuple[str, ...], Subscription] = {}
        self._open: dict[Subscription, str] = {}
        self._idle_watch: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Return the manager."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the manager."""
        await self.close()

    async def close(self) -> None:
        """Close all sockets; a peer that is gone delays it by at most 1 s.

        A cancellation takes effect only after the close, because CCXT warns of open sockets.
        """
        closing = asyncio.create_task(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as request:
                cancelled = request
        closing.result()
        if cancelled is not None:
            raise cancelled

    @property
    def candle_source(self) -> CandleSource:
        """Return the source of candles: the candle stream, else trades, else polling over REST."""
        if self._client.has.get("watchOHLCV"):
            return "stream"
        return "trades" if self._client.has.get("watchTrades") else "polling"

    @property
    def has_marks(self) -> bool:
        """Return whether the exchange's candle stream marks candles as final."""
        return self.candle_source == "stream" and self._client.has_marks

    async def watch_ohlcv(self, symbol: str, timeframe: str) -> CandleUpdate:
        """Wait for the next change of candles.

        The first call connects. Candles that changed between two calls are returned together. Only
        changes during a break are missed; `connection` of the update differs then.

        Args:
            symbol: One of the manager's symbols.
            timeframe: CCXT timeframe, such as `1h`.

        Returns:
            The changed candles, oldest first; prices in quote currency, volume in base currency.

        Raises:
            UsageError: the symbol is not one of the manager's.
            ExchangeRefused: the exchange refused the request.
            ExchangeUnreachable: the list of markets could not be read.
        """
        await self._prepare(symbol)
        key = ("candles", symbol, timeframe)
        if key not in self._watched:
            self._watched[key] = self._subscribe(symbol, self._make_candle_feed(symbol, timeframe))
        return await self._wait_for_update(CandleUpdate, self._watched[key])

    async def watch_ticker(self, symbol: str) -> TickerUpdate:
        """Wait for the next best prices; if there were several since the last call, the newest.

        Raises:
            UsageError: the symbol is not one of the manager's.
            ExchangeRefused: the exchange refused the request.
            ExchangeUnreachable: the list of markets could not be read.
        """
        await self._prepare(symbol)
        key = ("ticker", symbol)
        if key not in self._watched:
            self._watched[key] = self._subscribe(symbol, self._make_ticker_feed(symbol))
        return await self._wait_for_update(TickerUpdate, self._watched[key])

    async def watch_trades(self, symbol: str) -> TradeUpdate:
        """Wait for trades of the market, and return all since the last call, at most 10,000.

        Raises:
            UsageError: the symbol is not one of the manager's.
            ExchangeRefused: the exchange refused the request.
            ExchangeUnreachable: the list of markets could not be read.
        """
        await self._prepare(symbol)
        key = ("trades", symbol)
        if key not in self._watched:
            self._watched[key] = self._subscribe(symbol, PublicTradeFeed(self._client, symbol))
        return await self._wait_for_update(TradeUpdate, self._watched[key])

    async def events(self, symbol: str, timeframe: str) -> AsyncGenerator[StreamEvent]:
        """Yield candles, tickers and changes of the connection of one market, forever.

        The first event is `StreamOpened`. Close the generator (`contextlib.aclosing`) if the loop
        over it may be left early.

        Raises:
            UsageError: the symbol is not one of the manager's.
            ExchangeRefused: the exchange refused the request, for example to an unknown symbol.
            ExchangeUnreachable: the list of markets could not be read.
        """
        await self._prepare(symbol)
        yield StreamOpened(self.candle_source, self.has_marks)
        news = asyncio.Event()
        feeds = (self._make_candle_feed(symbol, timeframe), self._make_ticker_feed(symbol))
        subscriptions = [self._subscribe(symbol, feed, news) for feed in feeds]
        try:
            while True:
                news.clear()
                for subscription in subscriptions:
                    for event in subscription.take():
                        yield event
                await news.wait()
        finally:
            for subscription in subscriptions:
                self._open.pop(subscription, None)
                await subscription.close()

    def dial_now(self) -> None:
        """Dial at once if a stream waits for its next dial, but not before a Retry-After is over.

        Called by a program that has reached the exchange by another request.
        """
        end_dial_pauses(self._client)

    async def _wait_for_update(self, kind: type[Update], subscription: Subscription) -> Update:
        """Return the next update of a kind; breaks meanwhile are passed to `on_break`."""
        while True:
            subscription.news.clear()
            for event in subscription.take():
                if isinstance(event, kind):
                    return event
                if isinstance(event, StreamLost):
                    self._on_break(event.reason)
            await subscription.news.wait()

    async def _prepare(self, symbol: str) -> None:
        """Check the symbol, pass the list of markets to CCXT Pro, and start the idle timer's task.

        Raises:
            UsageError: the symbol is not one of the manager's, or the manager is closed.
            ExchangeUnreachable: the list of markets could not be read.
        """
        if self._is_closed:
            raise UsageError("this WebSocketManager is closed")
        if symbol not in self._timers:
            raise UsageError(
                f"{symbol!r} is not one of this WebSocketManager's symbols "
                f"({', '.join(self._timers)}){suggest_name(symbol, list(self._timers))}"
            )
        markets = await self._rest.load_ccxt_markets()
        if not self._client.markets:
            self._client.set_markets(markets)
        if self._idle_watch is None or self._idle_watch.done():
            self._idle_watch = asyncio.create_task(self._watch_idle())
            self._idle_watch.add_done_callback(self._fail_subscriptions)

    def _make_candle_feed(self, symbol: str, timeframe: str) -> Feed:
        if self.candle_source == "stream":
            return CandleFeed(self._client, symbol, timeframe)
        if self.candle_source == "trades":
            return BuiltCandleFeed(
                PublicTradeFeed(self._client, symbol), self._rest, symbol, timeframe
            )
        return PolledCandleFeed(self._rest, symbol, timeframe)

    def _make_ticker_feed(self, symbol: str) -> Feed:
        if self._client.has.get("watchTicker"):
            return TickerFeed(self._client, symbol)
        return PolledTickerFeed(self._rest, symbol)

    def _subscribe(
        self, symbol: str, feed: Feed, news: asyncio.Event | None = None
    ) -> Subscription:
        exchange = self._rest.endpoint.exchange
        subscription = Subscription(
            feed, self._timers[symbol], exchange=exchange, news=news or asyncio.Event()
        )
        self._open[subscription] = symbol
        return subscription

    def _restart_timers(self) -> None:
        for timer in self._timers.values():
            timer.restart()

    def _fail_subscriptions(self, task: "asyncio.Task[None]") -> None:
        """End every subscription after an error of the idle task: streams would go unchecked."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            for subscription in self._open:
                subscription.fail(error)

    async def _watch_idle(self) -> None:
        """Check at intervals whether a stream is broken, until the manager is closed."""
        # Several checks in the limit: a stream may begin to be behind right after a check.
        pause_seconds = max(self._stale_after_seconds / CHECKS, MIN_CHECK_SECONDS)
        while True:
            before = time.monotonic()
            await asyncio.sleep(pause_seconds)
            if time.monotonic() - before > 2 * pause_seconds + self._stale_after_seconds:
                # The program was busy or asleep, and frames of that time are not read yet.
                self._restart_timers()
                continue
            for symbol in set(self._open.values()):
                await self._break_if_idle(symbol, self._timers[symbol])

    async def _break_if_idle(self, symbol: str, timer: IdleTimer) -> None:
        """Break the connection if a stream of the symbol is broken; report a quiet market."""
        limit = self._stale_after_seconds
        seconds, stream = timer.find_longest_lag()
        if seconds >= limit:
            self._break_connections(f"no {stream} while the price moved for {seconds:.0f} s")
        elif timer.compute_quiet_seconds() >= limit:
            has_missed = await self._has_missed(symbol)
            seconds = timer.compute_seconds_since_frame()
            if seconds < limit:
                return
            if has_missed:
                self._break_connections(f"no message for {seconds:.0f} s")
                return
            is_confirmed = has_missed is not None
            # Without a response of REST the next comparison is sooner.
            timer.postpone(limit if is_confirmed else limit / 2)
            for subscription in self._collect_subscriptions(symbol):
                subscription.put(StreamQuiet(seconds, is_confirmed))

    async def _has_missed(self, symbol: str) -> bool | None:
        """Return whether REST has something newer than the streams; None: REST does not respond."""
        has_missed, has_response = False, True
        for subscription in self._collect_subscriptions(symbol):
            try:
                missed = await subscription.feed.compare_with_rest(self._rest)
            except (ExchangeUnreachable, ExchangeRefused):
                has_response = False
                continue
            if isinstance(missed, bool):
                has_missed |= missed
            else:
                subscription.put(missed)
        return has_missed if has_missed or has_response else None

    def _collect_subscriptions(self, symbol: str) -> list[Subscription]:
        return [each for each, each_symbol in self._open.items() if each_symbol == symbol]

    def _break_connections(self, reason: str) -> None:
        """End every connection; the subscriptions then connect again."""
        self._restart_timers()
        for ws_client in list(self._client.clients.values()):
            # A socket that is still dialling has its own timeout.
            if not ws_client.closed():
                drop_connection(ws_client, NetworkError(reason))

    async def _close(self) -> None:
        """Close all subscriptions and sockets, and the REST connection if it was opened here."""
        self._is_closed = True
        if self._idle_watch is not None:
            self._idle_watch.cancel()
            await asyncio.gather(self._idle_watch, return_exceptions=True)
        for subscription in list(self._open):
            await subscription.close()
        self._open.clear()
        await close_exchange_client(self._client)
        if self._owns_rest:
            await self._rest.__aexit__(None, None, None)


def _make_rest_exchange(exchange: str, simulator_url: str | None) -> RestExchange:
    if exchange == SIMULATOR_ID:
        endpoint = Endpoint(exchange, simulator_url or SIMULATOR_URL)
    else:
        endpoint = Endpoint(exchange)
    return RestExchange(endpoint, retry_seconds=BRIEF_RETRY_SECONDS)
