"""Candles of an exchange without a candle stream: built from trades, or polled over REST.

Neither is proven: such a candle stays provisional until REST has answered after its close.
"""

import asyncio
from collections.abc import Iterable

from onetape.core.candles import Candle
from onetape.core.timeframes import Timeframe
from onetape.exchange.rest import RestExchange
from onetape.websocket.events import CandleUpdate, PublicTrade, StreamEvent, TickerUpdate
from onetape.websocket.feeds import TradeFeed, newest_candles

#: Seconds between two questions for candles or prices that no stream carries.
POLL_SECONDS = 5.0
#: Candles that a late trade may still change.
BUILT_CANDLES_KEPT = 3


class CandleBuilder:
    """Builds the candles of one timeframe from trades, each from its first trade on."""

    def __init__(self, timeframe: Timeframe) -> None:
        """Begin without a trade."""
        self._timeframe = timeframe
        self._rows: dict[int, Candle] = {}
        self._first_whole: int | None = None

    def restart(self) -> None:
        """Forget everything: trades were missed, so the candle under way cannot be completed."""
        self._rows.clear()
        self._first_whole = None

    def add(self, trades: Iterable[PublicTrade]) -> list[Candle]:
        """Return the candles that these trades changed, oldest first.

        The candle of the first trade after a start is left out: its beginning was not seen.
        """
        changed: dict[int, Candle] = {}
        for trade in trades:
            opened = self._timeframe.floor(trade.timestamp_ms // 1_000)
            if self._first_whole is None:
                self._first_whole = self._timeframe.next(opened)
            if opened < self._first_whole:
                continue
            row = _with_trade(self._rows.get(opened), opened, trade)
            self._rows[opened] = changed[opened] = row
        for opened in sorted(self._rows)[:-BUILT_CANDLES_KEPT]:
            del self._rows[opened]
            # A trade of a candle that is not kept any more would begin that candle again.
            self._first_whole = max(self._first_whole or 0, self._timeframe.next(opened))
        return [changed[opened] for opened in sorted(changed)]


class BuiltCandleFeed:
    """Candles from the exchange's trades."""

    name = "trade"

    def __init__(self, trades: TradeFeed, timeframe: str) -> None:
        """Build candles of a timeframe from a feed of trades that has no other reader."""
        self._trades = trades
        self._builder = CandleBuilder(Timeframe.parse(timeframe))
        self._connection: int | None = None

    async def read(self) -> CandleUpdate | None:
        """Wait for trades, and return the candles that they changed."""
        update = await self._trades.read()
        if update is None:
            return None
        if update.connection != self._connection:
            self._connection = update.connection
            self._builder.restart()
        rows = self._builder.add(update.trades)
        return CandleUpdate(tuple(rows), update.connection) if rows else None

    async def missed(self, rest: RestExchange) -> StreamEvent | bool:
        """Compare the last price with REST's."""
        return await self._trades.missed(rest)

    def close(self) -> None:
        """Stop the trades."""
        self._trades.close()


class PolledCandleFeed:
    """Candles that are fetched over REST every few seconds."""

    name = "polled candle"

    def __init__(self, rest: RestExchange, symbol: str, timeframe: str) -> None:
        """Prepare; nothing is sent before the first read."""
        self._rest = rest
        self._symbol = symbol
        self._timeframe = timeframe
        self._seen: tuple[Candle, ...] = ()
        self._is_first = True
        self._connection = 1

    async def read(self) -> CandleUpdate | None:
        """Wait, and return the candles fetched over REST that changed."""
        if not self._is_first:
            await asyncio.sleep(POLL_SECONDS)
        self._is_first = False
        rows = tuple(await newest_candles(self._rest, self._symbol, self._timeframe))
        if self._seen and rows and rows[0].timestamp > self._seen[-1].timestamp:
            self._connection += 1
        changed = tuple(row for row in rows if row not in self._seen)
        self._seen = rows or self._seen
        return CandleUpdate(changed, self._connection) if changed else None

    async def missed(self, rest: RestExchange) -> bool:
        """REST is where the candles come from: it has nothing newer."""
        del rest
        return False

    def close(self) -> None:
        """Nothing runs in the background."""


class PolledTickerFeed:
    """Best prices that are fetched over REST every few seconds."""

    name = "polled ticker"

    def __init__(self, rest: RestExchange, symbol: str) -> None:
        """Prepare; nothing is sent before the first read."""
        self._rest = rest
        self._symbol = symbol
        self._is_first = True

    async def read(self) -> TickerUpdate | None:
        """Wait, and return the prices fetched over REST."""
        if not self._is_first:
            await asyncio.sleep(POLL_SECONDS)
        self._is_first = False
        found = (await self._rest.tickers([self._symbol])).get(self._symbol)
        if found is None:
            return None
        return TickerUpdate(self._rest.now_ms(), found.bid, found.ask, found.last)

    async def missed(self, rest: RestExchange) -> bool:
        """REST is where the prices come from: it has nothing newer."""
        del rest
        return False

    def close(self) -> None:
        """Nothing runs in the background."""


def _with_trade(row: Candle | None, opened: int, trade: PublicTrade) -> Candle:
    price, amount = trade.price, trade.amount
    if row is None:
        return Candle(opened, price, price, price, price, amount)
    return Candle(
        opened, row.open, max(row.high, price), min(row.low, price), price, row.volume + amount
    )
