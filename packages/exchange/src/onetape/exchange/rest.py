"""CCXT's REST classes: markets, candles and the exchange's clock. Every read may be tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

import ccxt
import ccxt.async_support as ccxt_async

from onetape.core.candles import Candle
from onetape.core.clock import Clock
from onetape.core.errors import ExchangeUnreachable, UsageError
from onetape.core.steps import MarketSteps
from onetape.core.symbols import SIMULATOR_ID, base_and_quote
from onetape.core.words import did_you_mean
from onetape.exchange.clients import Endpoint, client_settings, redirect
from onetape.exchange.market_clock import SimulatorClock, market_clock
from onetape.exchange.quirks import Quirks, quirks_of
from onetape.exchange.translate import translated

#: Attempts of one read in all; the pauses between them double from the first.
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Market:
    """One spot market as the exchange states it."""

    symbol: str
    base: str
    quote: str
    steps: MarketSteps
    active: bool


def exchange_ids() -> list[str]:
    """Return every exchange id that may be named: CCXT's, and `simulator`."""
    return [SIMULATOR_ID, *ccxt.exchanges]


def check_exchange(exchange: str) -> str:
    """Return the id where CCXT knows it.

    Raises:
        UsageError: it does not; the text names the nearest one.
    """
    if exchange not in exchange_ids():
        raise UsageError(
            f"exchange {exchange!r} is not known to CCXT{did_you_mean(exchange, exchange_ids())}"
        )
    return exchange


class RestExchange:
    """One exchange over REST. Use it as an async context manager: CCXT holds open connections."""

    def __init__(
        self, endpoint: Endpoint, *, first_pause_seconds: float = FIRST_PAUSE_SECONDS
    ) -> None:
        """Prepare; nothing but the simulator's clock is asked before the first call.

        Args:
            endpoint: Which exchange.
            first_pause_seconds: Before the second attempt of a read; doubles from then on.

        Raises:
            UsageError: CCXT does not know the exchange.
        """
        check_exchange(endpoint.exchange)
        self.endpoint = endpoint
        self._own_clock = market_clock(endpoint)
        self.clock: Clock = self._own_clock
        self.quirks: Quirks = quirks_of(endpoint.exchange)
        client: Any = getattr(ccxt_async, endpoint.ccxt_class)(client_settings(endpoint))
        if endpoint.simulator_url is not None:
            redirect(client.urls["api"], endpoint.simulator_url)
            # Whatever CCXT stamps with a time must carry the market's.
            client.milliseconds = self.now_ms
        # Off by default; without it an empty list of candles looks like no answer at all.
        client.enableLastJsonResponse = True
        self._client = client
        self._ahead_ms = 0
        self._first_pause_seconds = first_pause_seconds
        self._random = random.Random()  # noqa: S311 - jitter, no secret

    async def __aenter__(self) -> Self:
        """Return the exchange."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close CCXT's connections."""
        await self._client.close()
        if isinstance(self._own_clock, SimulatorClock):
            self._own_clock.close()

    async def market(self, symbol: str) -> Market:
        """Return a spot market.

        Raises:
            UsageError: the exchange has no such spot market.
            ExchangeUnreachable: no usable answer.
            ExchangeRefused: the exchange answered no.
        """
        if not self._client.markets:
            await self._try(self._load_markets)
        info = self._client.markets.get(symbol)
        if info is None or not info.get("spot"):
            spot = [name for name, market in self._client.markets.items() if market.get("spot")]
            raise UsageError(
                f"{self.endpoint.exchange} has no spot market {symbol!r}"
                f"{did_you_mean(symbol, spot)}"
            )
        return _market(symbol, info, self._client.precisionMode)

    async def ccxt_markets(self) -> list[dict[str, Any]]:
        """Return CCXT's own market records, so that a streaming client need not fetch them again.

        Raises:
            ExchangeUnreachable: no usable answer.
        """
        if not self._client.markets:
            await self._try(self._load_markets)
        return list(self._client.markets.values())

    def now_ms(self) -> int:
        """Return the market time, held back where the computer's clock runs ahead of it."""
        return self.clock.now_ms() - self._ahead_ms

    async def compare_clocks(self) -> int:
        """Ask for the exchange's time and return how far ours is ahead (negative: behind), in ms.

        A clock that runs ahead would take a forming candle for a closed one.

        Raises:
            ExchangeUnreachable: no usable answer.
        """
        if not self._client.has.get("fetchTime"):
            return 0

        async def fetch() -> int:
            before = self.clock.now_ms()
            theirs: Any = await self._client.fetch_time()
            # The answer is at most one round trip old: no credit for a part that cannot be known.
            return before - int(theirs)

        ahead_ms = await self._try(fetch)
        self._ahead_ms = max(0, ahead_ms)
        return ahead_ms

    def check_timeframe(self, timeframe: str) -> None:
        """Refuse a timeframe that the exchange does not serve.

        Raises:
            UsageError: the text lists the ones it serves.
        """
        unserved = self.quirks.unserved_timeframes
        known: list[str] = list(self._client.timeframes or {})
        served = [name for name in known if name not in unserved]
        if timeframe not in served:
            raise UsageError(
                f"{self.endpoint.exchange} serves no {timeframe!r} candles "
                f"(it serves {', '.join(served)}){did_you_mean(timeframe, served)}"
            )

    async def candles(
        self, symbol: str, timeframe: str, *, since_ms: int, limit: int
    ) -> list[Candle]:
        """Return up to `limit` candles that open at or after `since_ms`, the forming one included.

        Values are as the exchange sent them: nothing is checked here, None becomes NaN.

        Raises:
            ExchangeUnreachable: no usable answer, after several attempts.
            ExchangeRefused: the exchange answered no.
        """

        async def fetch() -> list[Candle]:
            rows = await self._client.fetch_ohlcv(symbol, timeframe, since_ms, limit)
            if not rows and not self._answered_with_candles():
                # CCXT reads HTML, a cut body, null, {} and garbage alike as "no candles".
                raise ExchangeUnreachable(
                    f"{self.endpoint.exchange} sent an answer without data (HTTP 200)"
                )
            return [candle_of(row) for row in rows]

        return await self._try(fetch)

    async def _load_markets(self) -> None:
        await self._client.load_markets(True)
        if not self._client.markets:
            raise ExchangeUnreachable(f"{self.endpoint.exchange} sent an empty list of markets")

    def _answered_with_candles(self) -> bool:
        answer: object = self._client.last_json_response
        if not isinstance(answer, list) or not answer:
            return isinstance(answer, list) or bool(answer)
        # Rows came and CCXT dropped them all: older than asked for, which is fine, or unreadable.
        parsed: list[list[Any]] = self._client.parse_ohlcvs(answer)
        return any(row[0] is not None for row in parsed)

    async def _try(self, read: Callable[[], Awaitable[T]]) -> T:
        """Run a read; try again after a pause while it may help."""
        pause_seconds = self._first_pause_seconds
        for _ in range(ATTEMPTS - 1):
            try:
                with translated(self.endpoint.exchange):
                    return await read()
            except ExchangeUnreachable:
                await asyncio.sleep(pause_seconds * self._random.uniform(0.7, 1.3))
                pause_seconds *= 2
        with translated(self.endpoint.exchange):
            return await read()


def candle_of(row: list[Any]) -> Candle:
    """Return a CCXT row (milliseconds first) as a candle; what is no number becomes NaN or -1."""
    timestamp_ms, *values = (*row, None, None, None, None, None)[:6]
    numbers = [float("nan") if value is None else float(value) for value in values]
    timestamp = -1 if timestamp_ms is None else int(timestamp_ms) // 1_000
    if timestamp_ms is not None and int(timestamp_ms) % 1_000:
        timestamp = -1
    return Candle(timestamp, *numbers)


def _market(symbol: str, info: dict[str, Any], precision_mode: int) -> Market:
    base, quote = base_and_quote(symbol)
    precision: dict[str, Any] = info.get("precision") or {}
    limits: dict[str, Any] = info.get("limits") or {}
    steps = MarketSteps(
        price_step=_step(precision.get("price"), precision_mode),
        amount_step=_step(precision.get("amount"), precision_mode),
        min_amount=_minimum(limits, "amount"),
        min_notional=_minimum(limits, "cost"),
    )
    return Market(symbol, base, quote, steps, active=info.get("active") is not False)


def _minimum(limits: dict[str, Any], what: str) -> Decimal:
    bounds: dict[str, Any] = limits.get(what) or {}
    return _decimal(bounds.get("min")) or Decimal(0)


def _step(precision: float | str | None, precision_mode: int) -> Decimal | None:
    """Return the step that a precision of CCXT means; it states them in one of three ways."""
    if precision is None or precision_mode == ccxt.SIGNIFICANT_DIGITS:
        return None
    if precision_mode == ccxt.DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(precision))
    return _decimal(precision)


def _decimal(value: float | str | None) -> Decimal | None:
    """Return the decimal that a float of CCXT stands for: 1e-05 is 0.00001."""
    return None if value is None else Decimal(repr(value) if isinstance(value, float) else value)
