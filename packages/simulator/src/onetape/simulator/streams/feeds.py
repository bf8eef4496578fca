"""Feeds: each yields the events of one stream that have become due since its last check.

A connection has a feed for each stream that its client has subscribed to (`connection.py`).
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol

from onetape.core.clock import Clock
from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import SpotSymbol, UnknownSymbol
from onetape.simulator.market.tickers import make_book_event, make_day_event, make_mini_event
from onetape.simulator.market.trades import Trades
from onetape.simulator.server.public_trades import make_aggregate
from onetape.simulator.server.wire import JsonObject, NumberFormat, iterate_kline_events

#: Wall seconds between two checks of a stream, in real time and at any other speed.
REAL_SECONDS: Final = 1.0
FAST_SECONDS: Final = 0.25
MIN_SECONDS: Final = 0.02
#: About the number of events of a candle while it forms.
SHOWN_PER_CANDLE: Final = 8
#: Closed candles are read in pieces of this many.
_CLOSED_PER_READ: Final = 500
#: Form of the name of a stream, such as `btcusdt@depth5@100ms` or `!miniTicker@arr`.
_STREAM_FORM: Final = re.compile(r"!?[^\s/:,;@!]{1,60}(@[A-Za-z0-9_+:-]{1,40}){1,3}")
_SERVED_STREAM: Final = re.compile(
    r"([^\sA-Z/:,;@]{1,60})@(kline_(\w+)|ticker|miniTicker|bookTicker|trade|aggTrade)"
)


class EventFeed(Protocol):
    """One subscription of one connection."""

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield the events due by `now_ms`, oldest first; the next call goes on from there."""
        ...

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return the wall seconds until the next check."""
        ...


class KlineFeed:
    """Kline events: the forming candle, and each closed candle once with its final values."""

    def __init__(self, market: SimulatedMarket, symbol: SpotSymbol, timeframe: Timeframe) -> None:
        """Begin with the candle that forms at the first check."""
        self._market = market
        self._symbol = symbol
        self._timeframe = timeframe
        self._open: int | None = None
        self._shown: tuple[int, int] | None = None

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield the closing event of every candle that ended, then the forming one if it moved.

        No event comes during an outage: a candle that ended meanwhile is closed after the outage.
        """
        if self._market.is_without_events(now_ms // 1_000, self._symbol):
            return
        current = self._timeframe.floor(now_ms // 1_000)
        while self._open is not None and self._open < current:
            end = min(current, self._timeframe.shift(self._open, _CLOSED_PER_READ))
            bars = self._market.get_bars(self._symbol, self._timeframe, self._open, end)
            for row in range(len(bars)):
                closed_bar = bars[row : row + 1]
                # Set before the event is sent, so that a stopped iteration continues after it.
                self._open = self._timeframe.next(int(closed_bar.timestamp[0]))
                yield from iterate_kline_events(
                    self._symbol, self._timeframe, closed_bar, now_ms, closed=True
                )
            self._open = end
        self._open = current
        bar = self._market.get_forming_bar(self._symbol, self._timeframe, now_ms)
        if not len(bar):
            return
        state = (current, int(bar.trades[0]))
        if state != self._shown:
            self._shown = state
            yield from iterate_kline_events(
                self._symbol, self._timeframe, bar, now_ms, closed=False
            )

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return the time to the next check, or to the candle's close if that comes sooner."""
        now_ms = clock.now_ms()
        ends_ms = self._timeframe.next(now_ms // 1_000) * 1_000
        length = clock.wall_seconds(self._timeframe.seconds * 1_000)
        interval = max(min(_get_check_seconds(clock), length / SHOWN_PER_CANDLE), MIN_SECONDS)
        return min(interval, clock.wall_seconds(ends_ms - now_ms))


class TickerEventFeed:
    """Feed of the streams `ticker` and `miniTicker`: statistics of 24 hours, at each check."""

    def __init__(self, market: SimulatedMarket, symbol: SpotSymbol, *, mini: bool = False) -> None:
        """Take the market whose statistics are sent; `mini`: prices and volumes only."""
        self._market = market
        self._symbol = symbol
        self._event = make_mini_event if mini else make_day_event
        self._shown_ms = -1

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield one event while the market trades."""
        now = now_ms // 1_000
        if self._market.is_without_events(now, self._symbol) or not self._market.is_open(
            self._symbol, now
        ):
            return
        if now_ms != self._shown_ms:
            self._shown_ms = now_ms
            yield self._event(self._market, self._symbol, now_ms)

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return the wall seconds to the next check."""
        return _get_check_seconds(clock)


class BookFeed:
    """Feed of the stream `bookTicker`: the best bid and ask whenever they have changed."""

    def __init__(self, market: SimulatedMarket, symbol: SpotSymbol) -> None:
        """Take the market whose offers are sent."""
        self._market = market
        self._symbol = symbol
        self._update_id: object = None

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield the present offers if they changed."""
        event = make_book_event(self._market, self._symbol, now_ms)
        if event is not None and event["u"] != self._update_id:
            self._update_id = event["u"]
            yield event

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return the wall seconds to the next check."""
        return _get_check_seconds(clock) / 4


class TradeEventFeed:
    """Feed of the streams `trade` and `aggTrade`: all trades of one market."""

    def __init__(
        self, market: SimulatedMarket, symbol: SpotSymbol, *, aggregated: bool = False
    ) -> None:
        """Begin with the first trade after the first check; `aggregated`: send `aggTrade`."""
        self._is_aggregated = aggregated
        self._market = market
        self._symbol = symbol
        self._seen_ms: int | None = None

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield the trades since the last check."""
        seen_ms = now_ms if self._seen_ms is None else self._seen_ms
        for minute in range(seen_ms // 60_000 * 60, now_ms // 1_000 + 1, 60):
            if not self._market.is_open(self._symbol, minute):
                continue
            trades = self._market.get_trades(self._symbol, minute).select_until(now_ms)
            yield from self._iterate_trade_events(
                trades[len(trades.select_until(seen_ms)) :], now_ms
            )
        self._seen_ms = now_ms

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return the wall seconds to the next check."""
        return _get_check_seconds(clock) / 4

    def _iterate_trade_events(self, trades: Trades, now_ms: int) -> Iterator[JsonObject]:
        numbers = NumberFormat(self._symbol)
        for number, time_ms, price, amount, buys in trades.iterate_rows():
            if self._is_aggregated:
                cells = make_aggregate(numbers, number, time_ms, (price, amount, buys))
                yield {"e": "aggTrade", "E": now_ms, "s": self._symbol.id, **cells}
                continue
            # Order ids are invented: a new order on each side of each trade.
            yield {
                "e": "trade",
                "E": now_ms,
                "s": self._symbol.id,
                "t": number,
                "p": numbers.format_price(price),
                "q": numbers.format_amount(amount),
                "b": 2 * number,
                "a": 2 * number + 1,
                "T": time_ms,
                "m": not buys,
                "M": True,
            }


class UnservedFeed:
    """Feed of a stream that the simulator accepts, as Binance does, but sends no events for."""

    def iterate_events(self, now_ms: int) -> Iterator[JsonObject]:
        """Yield nothing."""
        del now_ms
        yield from ()

    def compute_wait_seconds(self, clock: Clock) -> float:
        """Return a long time."""
        del clock
        return 3_600.0


class InvalidStream(ValueError):
    """An unknown stream name."""


def make_feed(name: str, market: SimulatedMarket) -> EventFeed:
    """Return a new subscription for a stream name such as `btcusdt@kline_1h`.

    A stream of a kind, market or interval that is not served gets an `UnservedFeed`.

    Raises:
        InvalidStream: the name has not the form of any stream.
    """
    if not _STREAM_FORM.fullmatch(name):
        raise InvalidStream(name)
    match = _SERVED_STREAM.fullmatch(name)
    if match is None or (match[3] and match[3] not in TIMEFRAMES):
        return UnservedFeed()
    try:
        symbol = market.get_symbol(match[1].upper())
    except UnknownSymbol:
        return UnservedFeed()
    if match[3]:
        return KlineFeed(market, symbol, TIMEFRAMES[match[3]])
    if match[2] in ("ticker", "miniTicker"):
        return TickerEventFeed(market, symbol, mini=match[2] == "miniTicker")
    if match[2] == "bookTicker":
        return BookFeed(market, symbol)
    return TradeEventFeed(market, symbol, aggregated=match[2] == "aggTrade")


def _get_check_seconds(clock: Clock) -> float:
    return REAL_SECONDS if clock.wall_seconds(1_000) >= 1 else FAST_SECONDS
