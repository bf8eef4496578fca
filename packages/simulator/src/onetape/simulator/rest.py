"""The public REST endpoints of Binance spot under /api/v3, answered from the market."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock
from onetape.core.timeframes import Timeframe
from onetape.simulator import refusals
from onetape.simulator.bars import TIMEFRAMES, Bars, joined
from onetape.simulator.exchange_info import exchange_info
from onetape.simulator.market import BATCH_DAYS, Market
from onetape.simulator.symbols import SpotSymbol, UnknownSymbol
from onetape.simulator.tickers import book_ticker, day_ticker
from onetape.simulator.wire import JsonObject, json_text, kline_rows

DEFAULT_KLINES: Final = 500
MOST_KLINES: Final = 1_000
_SYMBOL: Final = "^[A-Z0-9-_.]{1,20}$"
_NUMBER: Final = "^[0-9]{1,20}$"
_DAY: Final = 86_400
#: What `type=MINI` leaves of a 24-hour ticker.
_MINI_KEYS: Final = (
    "symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume",
    "openTime", "closeTime", "firstId", "lastId", "count",
)  # fmt: skip
Query = Mapping[str, str]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class PublicRest:
    """Answers the endpoints that need no key.

    Served: `ping`, `time`, `exchangeInfo`, `klines`, `ticker/24hr`, `ticker/price` and
    `ticker/bookTicker`. Every other path gets Binance's 404 page.
    """

    def __init__(self, market: Market, clock: Clock) -> None:
        """Answer from this market at this clock's time."""
        self._market = market
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        answers: dict[str, Callable[[Query], object]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._clock.now_ms()},
            "exchangeInfo": self._exchange_info,
            "ticker/24hr": self._day_tickers,
            "ticker/price": self._price_tickers,
            "ticker/bookTicker": self._book_tickers,
        }
        for path, answer in answers.items():
            app.router.add_get(f"/api/v3/{path}", _handler(answer))
        app.router.add_get("/api/v3/klines", self._klines)

    def _exchange_info(self, query: Query) -> JsonObject:
        symbols, _ = self._asked_symbols(query)
        shown = query.get("showPermissionSets", "true") != "false"
        return exchange_info(symbols, self._clock.now_ms(), permission_sets=shown)

    async def _klines(self, request: web.Request) -> web.Response:
        """Answer with closed candles and the forming one, as Binance chooses and orders them.

        `startTime` and `endTime` (milliseconds, both inclusive) bound the opens. With `startTime`
        the first `limit` candles from there on, else the last `limit` up to `endTime` or now.
        """
        query = request.query
        symbol = self._symbol(query)
        timeframe = _interval(query)
        limit = _limit(query)
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        if query.get("timeZone", "0") not in ("0", "0:00", "00:00", "+00:00"):
            raise refusals.not_valid("timeZone")
        now_ms = self._clock.now_ms()
        start, end = _opens(symbol, timeframe, (start_ms, end_ms), limit, now_ms)
        for day in range(start - start % _DAY, end, BATCH_DAYS * _DAY):
            # Computed piece by piece, so that streams go on while a long page is made.
            self._market.bars(symbol, timeframe, day, min(day + BATCH_DAYS * _DAY, end))
            await asyncio.sleep(0)
        bars = self._known_bars(symbol, timeframe, start, end, now_ms)
        bars = bars[:limit] if start_ms is not None else bars[max(len(bars) - limit, 0) :]
        return _json(list(kline_rows(symbol, timeframe, bars)))

    def _known_bars(
        self, symbol: SpotSymbol, timeframe: Timeframe, start: int, end: int, now_ms: int
    ) -> Bars:
        """Return the bars that open in `[start, end)`, the forming one as far as it has come."""
        forming = timeframe.floor(now_ms // 1_000)
        closed = self._market.bars(symbol, timeframe, start, min(end, forming))
        if not start <= forming < end:
            return closed
        return joined((closed, self._market.forming(symbol, timeframe, now_ms)))

    def _day_tickers(self, query: Query) -> object:
        if query.get("type", "FULL") not in ("FULL", "MINI"):
            raise refusals.not_valid("type")
        mini = query.get("type") == "MINI"

        def entry(symbol: SpotSymbol, now_ms: int) -> JsonObject:
            ticker = day_ticker(self._market, symbol, now_ms)
            return {name: ticker[name] for name in _MINI_KEYS} if mini else ticker

        return self._each(query, entry)

    def _price_tickers(self, query: Query) -> object:
        def entry(symbol: SpotSymbol, now_ms: int) -> JsonObject:
            ticker = day_ticker(self._market, symbol, now_ms)
            return {"symbol": symbol.id, "price": ticker["lastPrice"]}

        return self._each(query, entry)

    def _book_tickers(self, query: Query) -> object:
        return self._each(query, lambda symbol, now_ms: book_ticker(self._market, symbol, now_ms))

    def _each(self, query: Query, entry: Callable[[SpotSymbol, int], JsonObject]) -> object:
        symbols, single = self._asked_symbols(query)
        now_ms = self._clock.now_ms()
        entries = [entry(symbol, now_ms) for symbol in symbols]
        return entries[0] if single else entries

    def _asked_symbols(self, query: Query) -> tuple[tuple[SpotSymbol, ...], bool]:
        """Return the markets that `symbol` or `symbols` name, and whether it was `symbol`."""
        if "symbol" in query and "symbols" in query:
            raise refusals.bad_combination()
        if "symbol" in query:
            return (self._symbol(query),), True
        if "symbols" not in query:
            return self._listed(), False
        try:
            names = cast(object, json.loads(query["symbols"]))
        except ValueError:
            names = None
        if not isinstance(names, list) or not names:
            raise refusals.illegal("symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}")*\]$')
        return tuple(self._listed_symbol(str(name)) for name in cast("list[object]", names)), False

    def _symbol(self, query: Query) -> SpotSymbol:
        name = query.get("symbol", "")
        if not name:
            raise refusals.missing("symbol")
        if not re.match(_SYMBOL, name):
            raise refusals.illegal("symbol", _SYMBOL)
        return self._listed_symbol(name)

    def _listed_symbol(self, name: str) -> SpotSymbol:
        try:
            symbol = self._market.symbol(name)
        except UnknownSymbol:
            raise refusals.invalid_symbol() from None
        if symbol not in self._listed() or name != symbol.id:
            raise refusals.invalid_symbol()
        return symbol

    def _listed(self) -> tuple[SpotSymbol, ...]:
        now = self._clock.now_ms() // 1_000
        return tuple(symbol for symbol in self._market.symbols if symbol.listed <= now)


def _handler(answer: Callable[[Query], object]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return _json(answer(request.query))

    return handle


def _json(value: object) -> web.Response:
    return web.Response(text=json_text(value), content_type="application/json", charset="utf-8")


def _interval(query: Query) -> Timeframe:
    name = query.get("interval", "")
    if not name:
        raise refusals.missing("interval")
    if name not in TIMEFRAMES:
        raise refusals.invalid_interval()
    return TIMEFRAMES[name]


def _number(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not re.match(_NUMBER, text):
        raise refusals.illegal(name, _NUMBER)
    return int(text)


def _limit(query: Query) -> int:
    """Return the asked number of candles; Binance cuts more than it gives to its maximum."""
    limit = _number(query, "limit")
    if limit is None:
        return DEFAULT_KLINES
    if limit == 0:
        raise refusals.not_valid("limit")
    return min(limit, MOST_KLINES)


def _opens(
    symbol: SpotSymbol,
    timeframe: Timeframe,
    bounds_ms: tuple[int | None, int | None],
    limit: int,
    now_ms: int,
) -> tuple[int, int]:
    """Return the range `[start, end)` of opens, epoch seconds, that holds the answer."""
    start_ms, end_ms = bounds_ms
    last = now_ms // 1_000
    if end_ms is not None:
        last = min(last, end_ms // 1_000)
    if symbol.delisted is not None:
        last = min(last, symbol.delisted - 1)
    first = timeframe.floor(symbol.listed)
    end = timeframe.next(max(last, 0))
    if start_ms is None:
        return max(timeframe.shift(max(last, 0), 1 - limit), first), end
    # A start inside a second counts from the next: opens are whole seconds.
    start = max(timeframe.ceil(min(-(-start_ms // 1_000), end)), first)
    return min(start, end), min(end, timeframe.shift(start, limit))
