"""The public REST endpoints of Binance spot under /api/v3, with data of the market."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from aiohttp import web

from onetape.core.clock import Clock
from onetape.simulator.market.order_book import LEVELS
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.simulator.market.symbols import (
    ACCEPTED_NAMES,
    STATED_NAMES,
    SpotSymbol,
    UnknownSymbol,
)
from onetape.simulator.market.tickers import (
    average_price,
    book_ticker,
    day_ticker,
    depth,
    price_ticker,
)
from onetape.simulator.server import error_replies
from onetape.simulator.server.exchange_info import PERMISSIONS, exchange_info_text
from onetape.simulator.server.klines import Klines, limit_of, number_of
from onetape.simulator.server.public_trades import aggregate_rows, last_rows, rows_from_id
from onetape.simulator.server.wire import JsonObject, json_text, json_value
from onetape.simulator.trading.rules import RuleBook

DEFAULT_DEPTH: Final = 100
DEFAULT_TRADES: Final = 500
MOST_TRADES: Final = 1_000
STATUSES: Final = ("TRADING", "HALT", "BREAK")
#: What `type=MINI` leaves of a 24-hour ticker.
_MINI_KEYS: Final = (
    "symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume",
    "openTime", "closeTime", "firstId", "lastId", "count",
)  # fmt: skip
#: Number of markets of a list that are computed in one go.
_TOGETHER: Final = 32
Query = Mapping[str, str]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class PublicRest:
    """Handles the endpoints that need no key.

    Served: `ping`, `time`, `exchangeInfo`, `klines`, `depth`, `avgPrice`, `trades`,
    `historicalTrades`, `aggTrades`, `ticker/24hr`, `ticker/price` and `ticker/bookTicker`. Every
    other path gets Binance's 404 page. There are no candles of one second.
    """

    def __init__(self, market: SimulatedMarket, clock: Clock, rules: RuleBook) -> None:
        """Serve this market at this clock's time, with these trading rules."""
        self._rules = rules
        self._market = market
        self._clock = clock
        self._pages = Klines(market)

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        answers: dict[str, Callable[[Query], object]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._clock.now_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "avgPrice": self._average,
            "trades": self._trades,
            "historicalTrades": self._old_trades,
            "aggTrades": self._aggregates,
            "ticker/24hr": self._day_tickers,
            "ticker/price": lambda query: self._each(query, price_ticker),
            "ticker/bookTicker": lambda query: self._each(query, book_ticker),
        }
        for path, answer in answers.items():
            app.router.add_get(f"/api/v3/{path}", _handler(answer))
        for path in ("klines", "uiKlines"):
            app.router.add_get(f"/api/v3/{path}", self._klines)

    def _exchange_info(self, query: Query) -> bytes:
        named = "symbol" in query or "symbols" in query
        status = query.get("symbolStatus")
        if named and ("permissions" in query or status is not None):
            raise error_replies.bad_combination()
        if status not in (None, *STATUSES):
            raise error_replies.illegal("symbolStatus", "TRADING|HALT|BREAK")
        symbols, _ = self._asked_symbols(query)
        if "permissions" in query and not _permitted(query["permissions"]):
            symbols = ()
        if status is not None:
            now = self._clock.now_ms() // 1_000
            symbols = tuple(symbol for symbol in symbols if symbol.status_at(now) == status)
        shown = query.get("showPermissionSets", "true") != "false"
        now_ms = self._clock.now_ms()
        return exchange_info_text(symbols, now_ms, self._rules, permission_sets=shown)

    async def _klines(self, request: web.Request) -> web.Response:
        query = request.query
        symbol = self._symbol(query)
        body = await self._pages.answer(symbol, query, self._clock.now_ms())
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    def _depth(self, query: Query) -> object:
        limit = limit_of(query, DEFAULT_DEPTH, LEVELS)
        return depth(self._market, self._symbol(query), self._clock.now_ms(), limit)

    def _average(self, query: Query) -> object:
        return average_price(self._market, self._symbol(query), self._clock.now_ms())

    def _trades(self, query: Query) -> object:
        limit = limit_of(query, DEFAULT_TRADES, MOST_TRADES)
        return last_rows(self._market, self._symbol(query), self._clock.now_ms(), limit)

    def _old_trades(self, query: Query) -> object:
        from_id = number_of(query, "fromId")
        if from_id is None:
            return self._trades(query)
        limit = limit_of(query, DEFAULT_TRADES, MOST_TRADES)
        symbol, now_ms = self._symbol(query), self._clock.now_ms()
        return rows_from_id(self._market, symbol, from_id, now_ms, limit)

    def _aggregates(self, query: Query) -> object:
        from_id, start_ms, end_ms = (
            number_of(query, name) for name in ("fromId", "startTime", "endTime")
        )
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise error_replies.bad_combination()
        return aggregate_rows(
            self._market,
            self._symbol(query),
            self._clock.now_ms(),
            limit_of(query, DEFAULT_TRADES, MOST_TRADES),
            from_id=from_id,
            start_ms=start_ms,
            end_ms=end_ms,
        )

    async def _day_tickers(self, query: Query) -> object:
        if query.get("type", "FULL") not in ("FULL", "MINI"):
            raise error_replies.not_valid("type")
        mini = query.get("type") == "MINI"

        def entry(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
            ticker = day_ticker(market, symbol, now_ms)
            return {name: ticker[name] for name in _MINI_KEYS} if mini else ticker

        return await self._each(query, entry)

    async def _each(
        self, query: Query, entry: Callable[[SimulatedMarket, SpotSymbol, int], JsonObject]
    ) -> object:
        symbols, single = self._asked_symbols(query)
        now_ms = self._clock.now_ms()
        if single:
            return entry(self._market, symbols[0], now_ms)
        entries: list[JsonObject] = []
        for first in range(0, len(symbols), _TOGETHER):
            some = symbols[first : first + _TOGETHER]
            self._market.prepare_last_day(some, now_ms)
            entries += [entry(self._market, symbol, now_ms) for symbol in some]
            # A list of 3,000 takes its time; streams go on meanwhile.
            await asyncio.sleep(0)
        return entries

    def _asked_symbols(self, query: Query) -> tuple[tuple[SpotSymbol, ...], bool]:
        """Return the markets that `symbol` or `symbols` name, and whether it was `symbol`."""
        if "symbol" in query and "symbols" in query:
            raise error_replies.bad_combination()
        if "symbol" in query:
            return (self._symbol(query),), True
        if "symbols" not in query:
            return self._listed(), False
        try:
            names = json_value(query["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names:
            raise error_replies.illegal(
                "symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}")*\]$'
            )
        return tuple(self._listed_symbol(str(name)) for name in cast("list[object]", names)), False

    def _symbol(self, query: Query) -> SpotSymbol:
        name = query.get("symbol", "")
        if not name:
            raise error_replies.missing("symbol")
        if not ACCEPTED_NAMES.fullmatch(name):
            raise error_replies.illegal("symbol", STATED_NAMES)
        return self._listed_symbol(name)

    def _listed_symbol(self, name: str) -> SpotSymbol:
        try:
            symbol = self._market.symbol(name)
        except UnknownSymbol:
            raise error_replies.invalid_symbol() from None
        if symbol.listed > self._clock.now_ms() // 1_000 or name != symbol.id:
            raise error_replies.invalid_symbol()
        return symbol

    def _listed(self) -> tuple[SpotSymbol, ...]:
        now = self._clock.now_ms() // 1_000
        return tuple(symbol for symbol in self._market.symbols if symbol.listed <= now)


def _permitted(text: str) -> bool:
    """Return whether our markets have one of the permissions that a query names."""
    names = re.findall(r"[A-Z0-9_]+", text)
    if not names:
        raise error_replies.not_valid("permissions")
    return any(name in PERMISSIONS for name in names)


def _handler(answer: Callable[[Query], object]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        found = answer(request.query)
        return _json(await found if inspect.isawaitable(found) else found)

    return handle


def _json(value: object) -> web.Response:
    body = value if isinstance(value, bytes) else json_text(value).encode()
    return web.Response(body=body, content_type="application/json", charset="utf-8")
