"""Feeds: each reads one stream of one symbol through CCXT Pro, one event at a time.

CCXT Pro stores the rows of a stream in a cache and changes them later. A feed compares the cache
with its last state, and returns copies of the rows that changed.
"""

import asyncio
from typing import Any, Protocol

from onetape.core.candles import PRICE_LIMIT, VOLUME_LIMIT, Candle
from onetape.core.timeframes import Timeframe
from onetape.exchange.responses import parse_candle
from onetape.exchange.rest import RestExchange
from onetape.websocket.client import GuardedClient
from onetape.websocket.events import (
    CandleUpdate,
    PublicTrade,
    StreamEvent,
    TickerUpdate,
    TradeUpdate,
)

#: Number of candles that are fetched over REST to find out whether the stream has missed any.
NEWEST_ROWS = 5


class Feed(Protocol):
    """A source of events of one symbol: a stream, or polling over REST."""

    @property
    def name(self) -> str:
        """Return the name of the feed's content for output, such as `candle` or `ticker`."""
        ...

    async def read(self) -> StreamEvent | None:
        """Wait for the next event; None: a frame changed nothing.

        Raises:
            ccxt.BaseError: the stream broke; the next call connects again.
        """
        ...

    async def compare_with_rest(self, rest: RestExchange) -> StreamEvent | bool:
        """Compare the last event with REST, to find out whether a feed without frames is broken.

        Returns:
            True: REST has something newer. False: it has nothing newer. An event: the feed has had
            no frame since its start, and these are the values of REST.

        Raises:
            ExchangeUnreachable: REST gave no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        ...

    def close(self) -> None:
        """Stop the background tasks of the feed."""
        ...


class CandleFeed:
    """Feed of the candles of one timeframe from the exchange's candle stream."""

    name = "candle"

    def __init__(self, client: GuardedClient, symbol: str, timeframe: str) -> None:
        """Initialise; nothing is sent before the first read.

        Args:
            client: Client of the exchange.
            symbol: CCXT spot symbol.
            timeframe: CCXT timeframe.
        """
        self._client = client
        self._symbol = symbol
        self._timeframe = timeframe
        self._frame_event = asyncio.Event()
        self._client.candle_frame_events[self._frame_event] = (symbol, timeframe)
        self._is_cached = any(
            socket in self._client.candle_sockets for socket in self._client.clients.values()
        )
        """Whether the next read returns candles that CCXT had stored before this feed began."""
        if self._is_cached:
            # The next frame of a socket that is open already may take long.
            self._frame_event.set()
        self._watching: asyncio.Task[Any] | None = None
        self._seen: dict[Any, tuple[list[Any], bool]] = {}
        """CCXT's rows at the last read by time, each with whether it was marked as final."""
        self._overruns = 0
        """Number of times that more candles arrived than CCXT's cache stores."""
        self._newest: Candle | None = None

    async def read(self) -> CandleUpdate | None:
        """Wait for a frame, and return the candles that it changed; None: no change."""
        if self._watching is not None and self._watching.done():
            watching, self._watching = self._watching, None
            watching.result()
        if self._watching is None:
            # For a frame between two calls CCXT wakes no task, but the frame sets the event.
            watch = self._client.watch_ohlcv(self._symbol, self._timeframe)
            self._watching = asyncio.create_task(watch)
            self._watching.add_done_callback(lambda _: self._frame_event.set())
        await self._frame_event.wait()
        self._frame_event.clear()
        return self._take_changes()

    async def compare_with_rest(self, rest: RestExchange) -> CandleUpdate | bool:
        """Compare the newest candle with that of REST; see `Feed.compare_with_rest`."""
        since = None if self._newest is None else self._newest.timestamp
        newest = await fetch_newest_candles(rest, self._symbol, self._timeframe, since=since)
        if self._newest is None:
            self._newest = newest[-1] if newest else None
            return CandleUpdate(tuple(newest), self._connection) if newest else False
        known = self._newest
        return any(
            (
                row.timestamp > known.timestamp
                # Exchanges return candles without a trade too.
                and row.volume > 0
            )
            or (row.timestamp == known.timestamp and row[1:5] != known[1:5])
            for row in newest
        )

    def close(self) -> None:
        """Stop waiting for CCXT."""
        self._client.candle_frame_events.pop(self._frame_event, None)
        if self._watching is None:
            return
        if not self._watching.done():
            self._watching.cancel()
        elif not self._watching.cancelled():
            # The exception is fetched, so that asyncio does not report it as never retrieved.
            self._watching.exception()

    @property
    def _connection(self) -> int:
        return self._client.connections + self._overruns

    def _take_changes(self) -> CandleUpdate | None:
        """Return the candles in CCXT's cache that changed since the last call; None: none did."""
        key = (self._symbol, self._timeframe)
        cache = self._client.ohlcvs.get(self._symbol, {}).get(self._timeframe, ())
        final = self._client.final_candles.get(key, {})
        # CCXT's rows are compared, not `Candle` tuples, because a NaN differs from itself.
        rows = {
            row[0]: (final[row[0]], True) if row[0] in final else (list(row), False)
            for row in cache
        }
        changed = sorted(
            (parse_candle(row), is_final)
            for time, (row, is_final) in rows.items()
            if self._seen.get(time) != (row, is_final)
        )
        if any(time is not None and time not in rows for time in list(self._seen)[-1:]):
            # The newest known candle is not in CCXT's cache any more, so its last frame may be
            # missed, as after a break of the connection.
            self._overruns += 1
        self._seen = rows
        if not changed:
            return None
        self._newest = changed[-1][0]
        closed = frozenset(row.timestamp for row, is_final in changed if is_final)
        is_cached, self._is_cached = self._is_cached, False
        rows_changed = tuple(row for row, _ in changed)
        return CandleUpdate(rows_changed, self._connection, closed, is_cached)


class TickerFeed:
    """Feed of the best prices of one market."""

    name = "ticker"

    def __init__(self, client: GuardedClient, symbol: str) -> None:
        """Initialise; nothing is sent before the first read."""
        self._client = client
        self._symbol = symbol
        self._last: float | None = None

    async def read(self) -> TickerUpdate:
        """Wait for the next ticker."""
        ticker: dict[str, Any] = await self._client.watch_ticker(self._symbol)
        update = TickerUpdate(
            ticker.get("timestamp"), ticker.get("bid"), ticker.get("ask"), ticker.get("last")
        )
        self._last = update.last
        return update

    async def compare_with_rest(self, rest: RestExchange) -> bool:
        """Compare the last price with the last price of REST; return whether frames were missed."""
        return await _is_price_newer(self, rest, self._symbol, self._last)

    def set_last_price(self, last: float | None) -> None:
        """Set the last known price to a price from REST."""
        self._last = last

    def close(self) -> None:
        """Do nothing, because nothing runs in the background."""


class PublicTradeFeed:
    """Feed of the trades of a market."""

    name = "trade"

    def __init__(self, client: GuardedClient, symbol: str) -> None:
        """Initialise; nothing is sent before the first read."""
        self._client = client
        self._symbol = symbol
        self._last: dict[str, Any] | None = None
        self._last_price: float | None = None
        self._overruns = 0

    async def read(self) -> TradeUpdate | None:
        """Wait for trades, and return all since the last read; None: no valid trade."""
        await self._client.watch_trades(self._symbol)
        new_trades: list[dict[str, Any]] = []
        cache = list(self._client.trades[self._symbol])
        for trade in reversed(cache):
            if trade is self._last:
                break
            new_trades.append(trade)
        else:
            # More trades arrived between two reads than CCXT stores.
            self._overruns += self._last is not None
        if not new_trades:
            return None
        self._last = new_trades[0]
        trades = tuple(_make_trade(each) for each in reversed(new_trades) if _is_valid(each))
        if not trades:
            return None
        self._last_price = trades[-1].price
        return TradeUpdate(trades, self._client.connections + self._overruns)

    async def compare_with_rest(self, rest: RestExchange) -> bool:
        """Compare the last price with the last price of REST; return whether frames were missed."""
        return await _is_price_newer(self, rest, self._symbol, self._last_price)

    def set_last_price(self, last: float | None) -> None:
        """Set the last known price to a price from REST."""
        self._last_price = last

    def close(self) -> None:
        """Do nothing, because nothing runs in the background."""


async def fetch_newest_candles(
    rest: RestExchange, symbol: str, timeframe: str, *, since: int | None = None
) -> list[Candle]:
    """Return the newest candles of REST, with the forming one, oldest first.

    Args:
        rest: The exchange.
        symbol: CCXT spot symbol.
        timeframe: CCXT timeframe.
        since: Open of the first candle, epoch seconds; None: of the candle before the forming one.

    Raises:
        ExchangeUnreachable: no usable response.
        ExchangeRefused: the exchange refused the request.
    """
    if since is None:
        length = Timeframe.parse(timeframe)
        since = length.shift(length.floor(rest.now_ms() // 1_000), -1)
    batch = await rest.fetch_candles(symbol, timeframe, since_ms=since * 1_000, limit=NEWEST_ROWS)
    rows = (batch.make_candle(row) for row in range(len(batch)))
    return sorted(row for row in rows if row.timestamp >= since)


async def _is_price_newer(
    feed: TickerFeed | PublicTradeFeed, rest: RestExchange, symbol: str, known: float | None
) -> bool:
    """Return whether the last price of REST differs from the last known price of a feed.

    If the feed has no price yet, it gets the price of REST, and the result is False.
    """
    found = (await rest.fetch_tickers([symbol])).get(symbol)
    last = None if found is None else found.last
    if known is None:
        feed.set_last_price(last)
        return False
    return last is not None and last != known


def _is_valid(record: dict[str, Any]) -> bool:
    """Return whether a trade of CCXT has a time, a price and an amount, which may be missing."""
    price, amount = record.get("price"), record.get("amount")
    return (
        isinstance(record.get("timestamp"), int)
        and isinstance(price, int | float)
        and isinstance(amount, int | float)
        and 0 < price < PRICE_LIMIT
        and 0 < amount < VOLUME_LIMIT
    )


def _make_trade(record: dict[str, Any]) -> PublicTrade:
    number = record.get("id")
    return PublicTrade(
        record["timestamp"],
        record["price"],
        record["amount"],
        record.get("side"),
        None if number is None else str(number),
    )
