"""Read the time of an exchange over REST, and check it before a clock is set to it.

A time that differs from the clock by more than a second counts only if a second response confirms
it: a wrong time would make forming candles count as closed, and the exchange would refuse requests.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.exchange.exchange_clock import ExchangeClock, TimeSample
from onetape.exchange.responses import ResponseTap
from onetape.exchange.wall_clock import WallClock

#: Two times of an exchange agree if their difference, without the time between the responses, is at
#: most this.
AGREEMENT_MS = 1_000
#: Pause before an unchanged exchange time is requested again, because some send whole seconds.
SAME_TIME_PAUSE_SECONDS = 1.5


class ExchangeTimeReader:
    """Requests the time of one exchange. Failed requests are not repeated here."""

    def __init__(
        self,
        client: Any,
        exchange: str,
        wall: WallClock,
        response_tap: ResponseTap,
        *,
        load_markets: Callable[[], Awaitable[None]],
    ) -> None:
        """Initialise; no request is sent.

        Args:
            client: Client of CCXT's asynchronous classes.
            exchange: CCXT exchange id, for the text of an error.
            wall: Clock of the samples and of the pauses.
            response_tap: Tap of the client's responses, for their dates.
            load_markets: Requests the list of markets, if a ticker must be chosen from it.
        """
        self._client = client
        self._exchange = exchange
        self._wall = wall
        self._response_tap = response_tap
        self._load_markets = load_markets
        self.symbol = ""
        """Symbol whose ticker is requested if the exchange states its time only in the dates of its
        responses; empty: any spot market. Set it to the symbol of each request for candles."""

    async def fetch_confirmed_sample(
        self, clock: ExchangeClock, fetch: Callable[[], Awaitable[TimeSample]]
    ) -> TimeSample:
        """Return the exchange's time; a time that differs from the clock is requested once more.

        Args:
            clock: Clock with the last sample.
            fetch: Function that requests the exchange's time.

        Raises:
            ExchangeUnreachable: no usable response, two times that differ, or three equal times.
            ExchangeRefused: the exchange refused the request, or does not state its time.
        """
        first = await fetch()
        if not clock.is_compared or abs(clock.compute_departure_ms(first)) <= AGREEMENT_MS:
            return first
        second = await fetch()
        if second.exchange_ms == first.exchange_ms:
            await self._wall.sleep(SAME_TIME_PAUSE_SECONDS)
            second = await fetch()
        if second.exchange_ms == first.exchange_ms:
            raise ExchangeUnreachable(
                f"{self._exchange} sent the same time in several responses: they are old"
            )
        departed_ms = clock.compute_departure_ms(second) - clock.compute_departure_ms(first)
        if abs(departed_ms) > AGREEMENT_MS + max(first.slack_ms, second.slack_ms):
            raise ExchangeUnreachable(
                f"{self._exchange} sent two times in a row that differ by "
                f"{abs(departed_ms) / 1_000:,.0f} s"
            )
        return second

    async def fetch_sample(self) -> TimeSample:
        """Return the exchange's time from its request for the time, or from the date of a ticker.

        Raises:
            ExchangeRefused: the exchange has no request for its time, and its responses no date.
        """
        if self._client.has.get("fetchTime"):
            exchange_ms = await self.fetch_time()
            return TimeSample(exchange_ms, self._wall.get_monotonic_seconds())
        if not self._client.markets:
            await self._load_markets()
        symbol = self.symbol or next(
            (name for name, info in self._client.markets.items() if info.get("spot")), ""
        )
        began, response = self._wall.get_monotonic_seconds(), self._response_tap.capture()
        await self._client.fetch_ticker(symbol)
        now = self._wall.get_monotonic_seconds()
        if response.date_ms is None:
            raise ExchangeRefused(f"{self._exchange} does not state its time")
        return TimeSample(response.date_ms, now, 1_000 + math.ceil((now - began) * 1_000))

    async def fetch_time(self) -> int:
        """Return the exchange's time, epoch milliseconds, from its request for the time.

        Raises:
            ExchangeUnreachable: the response has no time.
        """
        exchange_ms: Any = await self._client.fetch_time()
        if not isinstance(exchange_ms, int) or exchange_ms <= 0:
            raise ExchangeUnreachable(f"{self._exchange} sent no time")
        return exchange_ms
