"""The public REST endpoints of Binance spot under /api/v3, with data of the simulated market."""

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
    REFUSED_NAME_PATTERN,
    SpotSymbol,
    UnknownSymbol,
)
from onetape.simulator.market.tickers import (
    make_average_price,
    make_book_ticker,
    make_day_ticker,
    make_depth,
    make_price_ticker,
)
from onetape.simulator.server import error_replies
from onetape.simulator.server.exchange_info import PERMISSIONS, format_exchange_info
from onetape.simulator.server.klines import Klines, parse_limit, parse_number
from onetape.simulator.server.public_trades import (
    make_aggregate_rows,
    make_last_rows,
    make_rows_from_id,
)
from onetape.simulator.server.wire import JsonObject, format_json, parse_json
from onetape.simulator.trading.rules import RuleBook

DEFAULT_DEPTH: Final = 100
DEFAULT_TRADES: Final = 500
MAX_TRADES: Final = 1_000
STATUSES: Final = ("TRADING", "HALT", "BREAK")
#: Fields of a 24-hour ticker with `type=MINI`.
_MINI_KEYS: Final = (
    "symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume",
    "openTime", "closeTime", "firstId", "lastId", "count",
)  # fmt: skip
#: Number of markets of a list that are computed in one go.
_MARKETS_PER_BATCH: Final = 32
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

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        responders: dict[str, Callable[[Query], object]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._clock.now_ms()},
            "exchangeInfo": self._get_exchange_info,
            "depth": self._get_depth,
            "avgPrice": self._get_average_price,
            "trades": self._get_trades,
            "historicalTrades": self._get_historical_trades,
            "aggTrades": self._get_aggregate_trades,
            "ticker/24hr": self._get_day_tickers,
            "ticker/price": lambda query: self._collect_entries(query, make_price_ticker),
            "ticker/bookTicker": lambda query: self._collect_entries(query, make_book_ticker),
        }
        for path, respond in responders.items():
            app.router.add_get(f"/api/v3/{path}", _make_handler(respond))
        for path in ("klines", "uiKlines"):
            app.router.add_get(f"/api/v3/{path}", self._get_klines)

    def _get_exchange_info(self, query: Query) -> bytes:
        named = "symbol" in query or "symbols" in query
        status = query.get("symbolStatus")
        if named and ("permissions" in query or status is not None):
            raise error_replies.make_invalid_combination_refusal()
        if status not in (None, *STATUSES):
            raise error_replies.make_illegal_characters_refusal(
                "symbolStatus", "TRADING|HALT|BREAK"
            )
        symbols, _ = self._parse_symbols(query)
        if "permissions" in query and not _has_permission(query["permissions"]):
            symbols = ()
        if status is not None:
            now = self._clock.now_ms() // 1_000
            symbols = tuple(symbol for symbol in symbols if symbol.get_status(now) == status)
        shown = query.get("showPermissionSets", "true") != "false"
        now_ms = self._clock.now_ms()
        return format_exchange_info(symbols, now_ms, self._rules, permission_sets=shown)

    async def _get_klines(self, request: web.Request) -> web.Response:
        query = request.query
        symbol = self._parse_symbol(query)
        body = await self._pages.make_reply_body(symbol, query, self._clock.now_ms())
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    def _get_depth(self, query: Query) -> object:
        limit = parse_limit(query, DEFAULT_DEPTH, LEVELS)
        return make_depth(self._market, self._parse_symbol(query), self._clock.now_ms(), limit)

    def _get_average_price(self, query: Query) -> object:
        return make_average_price(self._market, self._parse_symbol(query), self._clock.now_ms())

    def _get_trades(self, query: Query) -> object:
        limit = parse_limit(query, DEFAULT_TRADES, MAX_TRADES)
        return make_last_rows(self._market, self._parse_symbol(query), self._clock.now_ms(), limit)

    def _get_historical_trades(self, query: Query) -> object:
        from_id = parse_number(query, "fromId")
        if from_id is None:
            return self._get_trades(query)
        limit = parse_limit(query, DEFAULT_TRADES, MAX_TRADES)
        symbol, now_ms = self._parse_symbol(query), self._clock.now_ms()
        return make_rows_from_id(self._market, symbol, from_id, now_ms, limit)

    def _get_aggregate_trades(self, query: Query) -> object:
        from_id, start_ms, end_ms = (
            parse_number(query, name) for name in ("fromId", "startTime", "endTime")
        )
        if from_id is not None and (start_ms is not None or end_ms is not None):
            raise error_replies.make_invalid_combination_refusal()
        return make_aggregate_rows(
            self._market,
            self._parse_symbol(query),
            self._clock.now_ms(),
            parse_limit(query, DEFAULT_TRADES, MAX_TRADES),
            from_id=from_id,
            start_ms=start_ms,
            end_ms=end_ms,
        )

    async def _get_day_tickers(self, query: Query) -> object:
        if query.get("type", "FULL") not in ("FULL", "MINI"):
            raise error_replies.make_invalid_value_refusal("type")
        mini = query.get("type") == "MINI"

        def make_entry(market: SimulatedMarket, symbol: SpotSymbol, now_ms: int) -> JsonObject:
            ticker = make_day_ticker(market, symbol, now_ms)
            return {name: ticker[name] for name in _MINI_KEYS} if mini else ticker

        return await self._collect_entries(query, make_entry)

    async def _collect_entries(
        self, query: Query, make_entry: Callable[[SimulatedMarket, SpotSymbol, int], JsonObject]
    ) -> object:
        symbols, single = self._parse_symbols(query)
        now_ms = self._clock.now_ms()
        if single:
            return make_entry(self._market, symbols[0], now_ms)
        entries: list[JsonObject] = []
        for first in range(0, len(symbols), _MARKETS_PER_BATCH):
            some = symbols[first : first + _MARKETS_PER_BATCH]
            self._market.prepare_last_day(some, now_ms)
            entries += [make_entry(self._market, symbol, now_ms) for symbol in some]
            # A list of 3,000 takes its time; streams go on meanwhile.
            await asyncio.sleep(0)
        return entries

    def _parse_symbols(self, query: Query) -> tuple[tuple[SpotSymbol, ...], bool]:
        """Return the markets in `symbol` or `symbols`, and whether `symbol` was given."""
        if "symbol" in query and "symbols" in query:
            raise error_replies.make_invalid_combination_refusal()
        if "symbol" in query:
            return (self._parse_symbol(query),), True
        if "symbols" not in query:
            return self._get_listed_symbols(), False
        try:
            names = parse_json(query["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names:
            raise error_replies.make_illegal_characters_refusal(
                "symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}")*\]$'
            )
        return tuple(
            self._get_listed_symbol(str(name)) for name in cast("list[object]", names)
        ), False

    def _parse_symbol(self, query: Query) -> SpotSymbol:
        name = query.get("symbol", "")
        if not name:
            raise error_replies.make_missing_parameter_refusal("symbol")
        if not ACCEPTED_NAMES.fullmatch(name):
            raise error_replies.make_illegal_characters_refusal("symbol", REFUSED_NAME_PATTERN)
        return self._get_listed_symbol(name)

    def _get_listed_symbol(self, name: str) -> SpotSymbol:
        try:
            symbol = self._market.get_symbol(name)
        except UnknownSymbol:
            raise error_replies.make_invalid_symbol_refusal() from None
        if symbol.listed > self._clock.now_ms() // 1_000 or name != symbol.id:
            raise error_replies.make_invalid_symbol_refusal()
        return symbol

    def _get_listed_symbols(self) -> tuple[SpotSymbol, ...]:
        now = self._clock.now_ms() // 1_000
        return tuple(symbol for symbol in self._market.symbols if symbol.listed <= now)


def _has_permission(text: str) -> bool:
    """Return whether the simulator's markets have one of the permissions that a query names."""
    names = re.findall(r"[A-Z0-9_]+", text)
    if not names:
        raise error_replies.make_invalid_value_refusal("permissions")
    return any(name in PERMISSIONS for name in names)


def _make_handler(respond: Callable[[Query], object]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        found = respond(request.query)
        return _make_json_response(await found if inspect.isawaitable(found) else found)

    return handle


def _make_json_response(value: object) -> web.Response:
    body = value if isinstance(value, bytes) else format_json(value).encode()
    return web.Response(body=body, content_type="application/json", charset="utf-8")
