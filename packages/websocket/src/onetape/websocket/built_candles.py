"""Feeds for an exchange without a candle stream: candles built from trades, or polled over REST.

Such a candle is never proven to be final here; that needs a read of REST after its close.
"""

import asyncio
import time
from collections.abc import Sequence

from onetape.core.candles import Candle
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.websocket.events import CandleUpdate, PublicTrade, StreamEvent, TickerUpdate
from onetape.websocket.feeds import PublicTradeFeed, fetch_newest_candles

#: Interval of requests for candles or prices that no stream has, seconds.
POLL_SECONDS = 5.0
#: Maximum time that the first candles of a connection wait for REST, seconds.
BASE_TIMEOUT_SECONDS = 2.0
#: Number of newest candles that a late trade may still change.
CHANGEABLE_CANDLES = 3


class CandleBuilder:
    """Builds the candles of one timeframe from trades.

    The forming candle at the start began before the first known trade: its values up to then come
    from REST (`set_base`). Without them the candle has only the prices since that trade.
    """

    def __init__(self, timeframe: Timeframe) -> None:
        """Initialise without trades."""
        self._timeframe = timeframe
        self._rows: dict[int, Candle] = {}
        self._first: int | None = None
        """Open of the oldest candle that is built, epoch seconds."""
        self._base_ms = 0
        """Market time up to which the candle of REST has all trades, epoch milliseconds."""

    def restart(self) -> None:
        """Drop all candles, because trades were missed."""
        self._rows.clear()
        self._first = None
        self._base_ms = 0

    @property
    def is_first_newest(self) -> bool:
        """Return whether no candle has begun since the start."""
        return not self._rows or max(self._rows) == self._first

    def set_base(self, base: Candle, requested_ms: int) -> None:
        """Set the values of the forming candle up to now, as REST returned them.

        Args:
            base: The newest candle of REST.
            requested_ms: Market time of the request, epoch milliseconds.
        """
        built = self._rows.get(base.timestamp)
        if built is not None:
            high, low = max(base.high, built.high), min(base.low, built.low)
            volume = max(base.volume, built.volume)
            base = Candle(base.timestamp, base.open, high, low, built.close, volume)
        self._rows[base.timestamp] = base
        self._first = base.timestamp
        self._base_ms = requested_ms

    def add(self, trades: Sequence[PublicTrade]) -> list[Candle]:
        """Return the candles that these trades changed, oldest first."""
        changed: dict[int, Candle] = {}
        if not trades:
            return []
        first = self._first
        if first is None:
            # Exchanges send some older trades first, which are not all trades of earlier candles.
            newest_ms = max(trade.timestamp_ms for trade in trades)
            self._first = first = self._timeframe.floor(newest_ms // 1_000)
        for trade in trades:
            opened = self._timeframe.floor(trade.timestamp_ms // 1_000)
            if opened < first:
                continue
            is_in_base = opened == first and trade.timestamp_ms <= self._base_ms
            row = _add_trade(self._rows.get(opened), opened, trade, is_in_base=is_in_base)
            self._rows[opened] = changed[opened] = row
        for opened in sorted(self._rows)[:-CHANGEABLE_CANDLES]:
            del self._rows[opened]
            # A later trade of a dropped candle must not begin the candle again.
            self._first = max(first, self._timeframe.next(opened))
        return [changed[opened] for opened in sorted(changed)]


class BuiltCandleFeed:
    """Feed of candles built from the exchange's trades and one candle of REST."""

    name = "trade"

    def __init__(
        self, trades: PublicTradeFeed, rest: RestExchange, symbol: str, timeframe: str
    ) -> None:
        """Initialise; nothing is sent before the first read.

        Args:
            trades: Feed of the market's trades, which nothing else reads.
            rest: The exchange.
            symbol: CCXT spot symbol.
            timeframe: CCXT timeframe.
        """
        self._trades = trades
        self._rest = rest
        self._symbol = symbol
        self._timeframe = timeframe
        self._builder = CandleBuilder(Timeframe.parse(timeframe))
        self._connection: int | None = None
        self._late_bases = 0
        """Number of candles of REST that arrived after built candles had been returned."""
        self._request: asyncio.Task[tuple[int, list[Candle]]] | None = None
        self._next_request: float | None = None
        """Time of the next request to REST for the forming candle, monotonic; None: no request."""

    async def read(self) -> CandleUpdate | None:
        """Wait for trades, and return the candles that they changed."""
        update = await self._trades.read()
        if update is None:
            return None
        if update.connection != self._connection:
            self._connection = update.connection
            self._builder.restart()
            self._end_request()
            self._request = request = asyncio.create_task(self._fetch_newest())
            await asyncio.wait({request}, timeout=BASE_TIMEOUT_SECONDS)
            self._use_base()
        else:
            # A late candle of REST changes values without a trade, so it counts as a break.
            self._late_bases += self._use_base()
            self._request_again()
        rows = self._builder.add(update.trades)
        return CandleUpdate(tuple(rows), update.connection + self._late_bases) if rows else None

    async def _fetch_newest(self) -> tuple[int, list[Candle]]:
        """Return the market time of the request, epoch milliseconds, and REST's newest candles."""
        requested_ms = self._rest.now_ms()
        return requested_ms, await fetch_newest_candles(self._rest, self._symbol, self._timeframe)

    def _use_base(self) -> bool:
        """Pass the candle of REST to the builder, if it has arrived; return whether it has."""
        request = self._request
        if request is None or not request.done():
            return False
        self._request = None
        try:
            requested_ms, rows = request.result()
        except (ExchangeUnreachable, ExchangeRefused):
            # Other tasks report errors of REST; until it responds, only trades are used.
            self._next_request = time.monotonic() + POLL_SECONDS
            return False
        self._next_request = None
        if rows:
            self._builder.set_base(rows[-1], requested_ms)
        return bool(rows)

    def _request_again(self) -> None:
        """Request the candle of REST again after a failure, while that candle is forming."""
        if self._next_request is None or time.monotonic() < self._next_request:
            return
        self._next_request = None
        if self._builder.is_first_newest:
            self._request = asyncio.create_task(self._fetch_newest())

    def _end_request(self) -> None:
        """Cancel the running request for newest candles, if there is one."""
        request, self._request = self._request, None
        self._next_request = None
        if request is None:
            return
        if not request.done():
            request.cancel()
        elif not request.cancelled():
            # The exception is fetched, so that asyncio does not report it as never retrieved.
            request.exception()

    async def compare_with_rest(self, rest: RestExchange) -> StreamEvent | bool:
        """Compare the last price with the last price of REST; return whether trades were missed."""
        return await self._trades.compare_with_rest(rest)

    def close(self) -> None:
        """Stop reading trades, and cancel the request to REST."""
        self._end_request()
        self._trades.close()


class PolledCandleFeed:
    """Feed of candles that are fetched over REST every few seconds."""

    name = "polled candle"

    def __init__(self, rest: RestExchange, symbol: str, timeframe: str) -> None:
        """Initialise; nothing is sent before the first read."""
        self._rest = rest
        self._symbol = symbol
        self._timeframe = timeframe
        self._seen: tuple[Candle, ...] = ()
        self._is_first = True
        self._connection = 1

    async def read(self) -> CandleUpdate | None:
        """Wait, fetch candles over REST, and return those that changed; None: no change."""
        if not self._is_first:
            await asyncio.sleep(POLL_SECONDS)
        self._is_first = False
        rows = tuple(await fetch_newest_candles(self._rest, self._symbol, self._timeframe))
        if self._seen and rows and rows[0].timestamp > self._seen[-1].timestamp:
            self._connection += 1
        changed = tuple(row for row in rows if row not in self._seen)
        self._seen = rows or self._seen
        return CandleUpdate(changed, self._connection) if changed else None

    async def compare_with_rest(self, rest: RestExchange) -> bool:
        """Return False: the candles come from REST, which has nothing newer."""
        del rest
        return False

    def close(self) -> None:
        """Do nothing, because nothing runs in the background."""


class PolledTickerFeed:
    """Feed of best prices that are fetched over REST every few seconds."""

    name = "polled ticker"

    def __init__(self, rest: RestExchange, symbol: str) -> None:
        """Initialise; nothing is sent before the first read."""
        self._rest = rest
        self._symbol = symbol
        self._is_first = True

    async def read(self) -> TickerUpdate | None:
        """Wait, fetch the prices over REST, and return them; None: REST has none."""
        if not self._is_first:
            await asyncio.sleep(POLL_SECONDS)
        self._is_first = False
        found = (await self._rest.fetch_tickers([self._symbol])).get(self._symbol)
        if found is None:
            return None
        return TickerUpdate(self._rest.now_ms(), found.bid, found.ask, found.last)

    async def compare_with_rest(self, rest: RestExchange) -> bool:
        """Return False: the prices come from REST, which has nothing newer."""
        del rest
        return False

    def close(self) -> None:
        """Do nothing, because nothing runs in the background."""


def _add_trade(row: Candle | None, opened: int, trade: PublicTrade, *, is_in_base: bool) -> Candle:
    """Return a candle with one more trade.

    Args:
        row: The candle without the trade; None: the trade is the first of the candle.
        opened: Open of the candle, epoch seconds.
        trade: The trade.
        is_in_base: Whether volume and close of the candle contain the trade already.
    """
    price, amount = trade.price, trade.amount
    if row is None:
        return Candle(opened, price, price, price, price, amount)
    high, low = max(row.high, price), min(row.low, price)
    if is_in_base:
        return Candle(opened, row.open, high, low, row.close, row.volume)
    return Candle(opened, row.open, high, low, price, row.volume + amount)
