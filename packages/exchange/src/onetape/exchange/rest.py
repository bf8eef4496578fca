"""Read public data of an exchange over REST through CCXT: markets, tickers, candles, its time.

A read changes nothing at the exchange, so it is repeated until its time for retries is over.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import ccxt
import ccxt.async_support as ccxt_async

from onetape.core.clock import Clock
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable, UsageError
from onetape.core.message_text import suggest_name
from onetape.core.quirks import Quirks, get_quirks
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.exchange.catalogue import check_exchange
from onetape.exchange.client_loop import ClientLoop
from onetape.exchange.clients import REST_TIMEOUT_MS, Endpoint, make_client_settings, point_client
from onetape.exchange.exchange_clock import ExchangeClock
from onetape.exchange.exchange_time import ExchangeTimeReader
from onetape.exchange.market_clock import SimulatorClock, open_market_clock
from onetape.exchange.markets import MarketInfo as MarketInfo
from onetape.exchange.markets import Ticker, parse_market, parse_ticker
from onetape.exchange.responses import CandleBatch, ResponseTap
from onetape.exchange.retry_policy import RetryPolicy
from onetape.exchange.wall_clock import ComputerWallClock, RateLimitBans, WallClock

T = TypeVar("T")

#: Pause before the second attempt of a read, seconds; later pauses double.
FIRST_PAUSE_SECONDS = 0.5
#: Time for which a failing read is repeated once the exchange has responded, seconds.
RETRY_SECONDS = 600.0
#: Time for which a failing read is repeated for a caller that repeats reads itself, seconds.
BRIEF_RETRY_SECONDS = 4.0


def _ignore_note(text: str) -> None:
    del text


def _make_client(endpoint: Endpoint, timeout_seconds: float, market_ms: Callable[[], int]) -> Any:
    """Return a CCXT client whose requests state the market time."""
    client: Any = getattr(ccxt_async, endpoint.ccxt_class)(make_client_settings(endpoint))
    client.timeout = int(timeout_seconds * 1_000)
    # CCXT's requests state this time, which must be the exchange's, not the computer's.
    client.milliseconds = market_ms
    point_client(client, endpoint)
    return client


class RestExchange:
    """Public data of one exchange over REST. Use it in `async with`, which closes connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        waits_for_ban_end: bool = True,
        timeout_seconds: float = REST_TIMEOUT_MS / 1_000,
        note: Callable[[str], None] = _ignore_note,
        wall: WallClock | None = None,
        seed: int | None = None,
    ) -> None:
        """Initialise; of a simulator the time is requested, which blocks.

        Args:
            endpoint: Endpoint of the exchange.
            first_pause_seconds: Pause before the second attempt of a read; later pauses double, up
                to a minute. As long as the exchange has never responded, a read gives up after
                eight times this pause.
            retry_seconds: Time for which a failing read is repeated once the exchange has
                responded.
            waits_for_ban_end: Whether a read waits for the end of a rate limit ban, however long;
                False: it fails at once if the ban lasts longer than `retry_seconds`.
            timeout_seconds: Time limit of one request.
            note: Called with one line of text: the reason why a read waits (at most once a minute),
                or what an exchange does not serve.
            wall: Clock of the pauses; None: the computer's.
            seed: Random seed of the pauses; None: a different one each time.

        Raises:
            UsageError: CCXT does not have the exchange.
            ExchangeUnreachable: the simulator did not return its time.
        """
        check_exchange(endpoint.exchange)
        self.endpoint = endpoint
        self._wall = wall = wall or ComputerWallClock()
        self._own_clock = open_market_clock(endpoint, wall)
        self.clock: Clock = self._own_clock
        self.quirks: Quirks = get_quirks(endpoint.exchange)
        self._client = client = _make_client(endpoint, timeout_seconds, self._stamp_ms)
        self._client_loop = ClientLoop(client, endpoint.exchange)
        self._known_ms: int | None = None
        self._listing = asyncio.Lock()
        """Held while the list of markets is requested again."""
        self._listed = -math.inf
        """Time at which the newest list of markets was requested, monotonic seconds."""
        self._note = note
        self._noted: set[str] = set()
        self.states_time = True
        """Whether the exchange states its time, by a request or by the dates of its responses."""
        self.served_from: dict[tuple[str, str], int] = {}
        """Open of the oldest candle that the exchange serves, epoch seconds, by symbol and
        timeframe, as far as known."""
        self._retry_policy = RetryPolicy(
            endpoint.exchange,
            wall=wall,
            exchange_ms=self._get_exchange_ms,
            random=random.Random(seed),  # noqa: S311 - jitter, no secret
            note=note,
            first_pause_seconds=first_pause_seconds,
            retry_seconds=retry_seconds,
            waits_for_ban_end=waits_for_ban_end,
        )
        self._response_tap = ResponseTap(
            client, self._retry_policy.record_refusal, plain_rows=self.quirks.plain_rows
        )
        self._time_reader = ExchangeTimeReader(
            client, endpoint.exchange, wall, self._response_tap, load_markets=self._load_markets
        )

    async def __aenter__(self) -> Self:
        """Return the exchange, whose connections belong to the running event loop."""
        self._client_loop.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the running reads, and close the connections."""
        await self._client_loop.close()
        if isinstance(self._own_clock, SimulatorClock):
            self._own_clock.close()

    async def fetch_market(self, symbol: str) -> MarketInfo:
        """Return a spot market; the list of markets is requested once and then reused.

        Raises:
            UsageError: the exchange has no such spot market.
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        if not self._client.markets:
            await self._read(self._load_markets)
        info = self._client.markets.get(symbol)
        if info is None or not info.get("spot"):
            spot = [name for name, market in self._client.markets.items() if market.get("spot")]
            raise UsageError(
                f"{self.endpoint.exchange} has no spot market {symbol!r}"
                f"{suggest_name(symbol, spot)}"
            )
        return parse_market(symbol, info, self._client.precisionMode)

    async def fetch_current_market(
        self, symbol: str, *, max_age_seconds: float = 0.0
    ) -> MarketInfo | None:
        """Request the list of markets again; return a spot market, or None if it is not listed.

        Args:
            symbol: Symbol of the market.
            max_age_seconds: The list is not requested again if its last request is not older than
                this. Tasks of many symbols can so share one request for a long list.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        async with self._listing:
            if time.monotonic() - self._listed > max_age_seconds:
                await self._read(self._load_markets)
        info = self._client.markets.get(symbol)
        if info is None or not info.get("spot"):
            return None
        return parse_market(symbol, info, self._client.precisionMode)

    async def fetch_markets(self) -> list[MarketInfo]:
        """Return all spot markets sorted by symbol, with those that are not traded now.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        mode: int = self._client.precisionMode
        records = {str(info["symbol"]): info for info in await self.load_ccxt_markets()}
        spot = sorted(symbol for symbol, info in records.items() if info.get("spot"))
        return [parse_market(symbol, records[symbol], mode) for symbol in spot]

    async def fetch_tickers(self, symbols: Iterable[str] | None = None) -> dict[str, Ticker]:
        """Return the tickers of spot markets by symbol.

        One request is sent if the exchange serves all tickers together, otherwise one for each
        symbol.

        Args:
            symbols: Symbols of the markets; those that are not traded are left out. None: all
                markets that are traded.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        traded = [market.symbol for market in await self.fetch_markets() if market.active]
        known = set(traded)
        chosen = traded if symbols is None else [symbol for symbol in symbols if symbol in known]
        if not self._client.has.get("fetchTickers"):
            return {symbol: await self.fetch_ticker(symbol) for symbol in chosen}

        async def fetch() -> dict[str, Any]:
            # Without a list of symbols, because some exchanges refuse a long one.
            found: dict[str, Any] = await self._client.fetch_tickers()
            if not found:
                raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of tickers")
            return found

        found = await self._read(fetch)
        return {symbol: parse_ticker(symbol, found[symbol]) for symbol in chosen if symbol in found}

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return the ticker of one spot market.

        Raises:
            ExchangeUnreachable: no usable response.
            ExchangeRefused: the exchange refused the request.
        """
        return parse_ticker(symbol, await self._read(lambda: self._client.fetch_ticker(symbol)))

    def share_rate_limit_bans(self, bans: RateLimitBans) -> None:
        """Use `bans`, which other clients use too, from now on; a ban of this client is added."""
        own = self._retry_policy.bans.find_latest()
        if own is not None:
            bans.extend(own)
        self._retry_policy.bans = bans

    def get_ban_in_force(self) -> RateLimitBan | None:
        """Return the rate limit ban in force, as far as the last read found it; None: no ban.

        May be called in any thread.
        """
        return self._retry_policy.get_ban_in_force()

    def get_banned_seconds(self) -> float:
        """Return the remaining time of the rate limit ban, wall seconds; 0: no ban. Thread-safe."""
        return self._retry_policy.get_banned_seconds()

    def share_budget(self, share: Callable[[], float]) -> None:
        """Use only a fraction of the exchange's request rate from now on.

        Args:
            share: Function that returns the fraction, above 0 and at most 1; called before each
                request.
        """
        client = self._client
        cost: Callable[..., float] = client.calculate_rate_limiter_cost

        def shared(*request: object) -> float:
            return cost(*request) / share()

        client.calculate_rate_limiter_cost = shared

    def note_once(self, text: str, *, about: str) -> None:
        """Pass a text to `note`, unless a text with the same `about` was passed before."""
        if about not in self._noted:
            self._noted.add(about)
            self._note(text)

    async def load_ccxt_markets(self) -> list[dict[str, Any]]:
        """Return CCXT's own market dictionaries, for a streaming client that needs them too.

        Raises:
            ExchangeUnreachable: no usable response.
        """
        if not self._client.markets:
            await self._read(self._load_markets)
        return list(self._client.markets.values())

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of CCXT's connections: that of `async with`."""
        return self._client_loop.loop

    @property
    def seconds_per_request(self) -> float:
        """Return the time between two requests at the exchange's rate limit, as CCXT states it."""
        return self._client.rateLimit / 1_000

    def now_ms(self) -> int:
        """Return the market time, epoch milliseconds UTC."""
        self._known_ms = self.clock.now_ms()
        return self._known_ms

    def _stamp_ms(self) -> int:
        """Return the time that CCXT's requests state, epoch milliseconds.

        For the simulator it is the last known time, so that not every request needs another one
        for the time.
        """
        if self._known_ms is None or isinstance(self.clock, ExchangeClock):
            return self.now_ms()
        return self._known_ms

    def _get_exchange_ms(self) -> int:
        """Return the best known time of the exchange's own clock, epoch milliseconds."""
        clock = self.clock
        is_compared = isinstance(clock, ExchangeClock) and clock.is_compared
        return clock.now_ms() if is_compared else self._wall.get_epoch_ms()

    async def compare_clocks(self) -> int:
        """Request the exchange's time, and set the market time of a real exchange to it.

        A time that differs from the present market time by more than a second is accepted only if a
        second response confirms it. A time that does not change came from a cache.

        Returns:
            Milliseconds by which the computer's clock is ahead of the exchange's (negative:
            behind); 0: the exchange does not state its time.

        Raises:
            ExchangeUnreachable: no usable response.
        """
        clock = self.clock
        if not isinstance(clock, ExchangeClock):
            before_ms = clock.now_ms()
            return before_ms - await self._read(self._time_reader.fetch_time)
        try:
            sample = await self._time_reader.fetch_confirmed_sample(
                clock, lambda: self._read(self._time_reader.fetch_sample)
            )
        except ExchangeRefused:
            if self._client.has.get("fetchTime"):
                raise
            self.states_time = False
            return 0
        self.states_time = True
        clock.set(sample)
        skew_ms = clock.skew_ms
        return 0 if abs(skew_ms) <= sample.slack_ms else skew_ms

    def has_timeframe(self, timeframe: str) -> bool:
        """Return whether candles of a timeframe can be fetched."""
        return timeframe in self._list_timeframes()

    def check_timeframe(self, timeframe: str) -> None:
        """Refuse a timeframe that the exchange does not serve.

        Raises:
            UsageError: the text lists the served timeframes, or the reason against this one.
        """
        served = self._list_timeframes()
        if timeframe in served:
            return
        reason = self.quirks.unserved_timeframes.get(timeframe)
        if reason is not None:
            raise UsageError(f"{timeframe} candles of {self.endpoint.exchange}: {reason}")
        raise UsageError(
            f"{self.endpoint.exchange} serves no {timeframe!r} candles "
            f"(it serves {', '.join(served)}){suggest_name(timeframe, served)}"
        )

    def _list_timeframes(self) -> list[str]:
        known: list[str] = list(self._client.timeframes or {})
        return [name for name in known if name not in self.quirks.unserved_timeframes]

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since_ms: int, limit: int
    ) -> CandleBatch:
        """Return all rows of the response to a request for candles.

        Rows are not checked or sorted: they may be older than requested, and more than requested.

        Args:
            symbol: CCXT spot symbol.
            timeframe: CCXT timeframe.
            since_ms: Start of the requested range, epoch milliseconds.
            limit: Number of candles requested.

        Raises:
            ExchangeUnreachable: no usable response within the time for retries.
            ExchangeRefused: the exchange refused the request.
        """

        async def fetch() -> CandleBatch:
            response = self._response_tap.capture()
            self._time_reader.symbol = symbol
            rows = await self._client.fetch_ohlcv(symbol, timeframe, since_ms, limit)
            if not rows and not response.is_data:
                # CCXT returns no candles for HTML, a cut body, null and {}.
                raise ExchangeUnreachable(
                    f"{self.endpoint.exchange} sent a response without data (HTTP 200)"
                )
            if response.table is not None:
                return CandleBatch.from_table(response.table, response.raw)
            batch = CandleBatch.from_rows(rows, response.raw)
            if not batch.is_readable:
                raise ExchangeUnreachable(f"{self.endpoint.exchange} sent unreadable candles")
            return batch

        return await self._read(fetch)

    async def _read(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a read, repeated until an attempt succeeds or its time is over."""
        return await self._client_loop.run(
            lambda: self._retry_policy.read(lambda: self._request_in_time(request))
        )

    async def _request_in_time(self, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request; if the exchange refuses its time, set the clock and send it once more."""
        try:
            return await request()
        except ccxt.InvalidNonce:
            clock = self.clock
            if not isinstance(clock, ExchangeClock):
                raise
            reader = self._time_reader
            clock.set(await reader.fetch_confirmed_sample(clock, reader.fetch_sample))
            return await request()

    async def _load_markets(self) -> None:
        began = time.monotonic()
        await self._client.load_markets(True)
        self._listed = began
        if not self._client.markets:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of markets")
