"""Fetches the candles of other markets that strategies read (`informative`), over REST.

A series is fetched once for all sessions of an account: the warm-up at the start, and each further
candle when it has closed. If a session of this process trades the market in the same timeframe, its
stream usually has stored the candle before, and nothing is requested. A decision waits for the
candles of other markets that closed with its own candle, `WAIT_SECONDS` at most.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from msgspec import structs

from onetape.cli.output import prefix_lines
from onetape.core.candles import SeriesKey
from onetape.core.errors import ExchangeRefused, UsageError
from onetape.exchange.rest import RestExchange
from onetape.strategies import InputSeries
from onetape.strategies.lookback_window import compute_window_size
from trader.gap_backfiller import GapBackfiller
from trader.higher_window import find_late_markets
from trader.session_context import SessionContext
from trader.supervisor import Supervisor

#: Longest time that a decision waits for a candle of another market, wall seconds.
WAIT_SECONDS: float = 10.0
#: Longest interval between two checks for a candle that has closed, wall seconds.
CHECK_SECONDS: float = 1.0
#: Longest pause after a request that the exchange refused or did not respond to, wall seconds.
LONGEST_PAUSE_SECONDS: Final = 3.0


class InformativeFetcher:
    """Fetches the closed candles of one series of another market, and stores them."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, owner: str, *, is_streamed: bool
    ) -> None:
        """Initialise; nothing is fetched yet.

        Args:
            context: Context of a session that needs the series, with key, timeframe and lookback of
                the series.
            exchange: Exchange of the candles.
            owner: Symbol of the session that runs the fetcher.
            is_streamed: Whether a session of this process has the series in its stream.
        """
        self.context = context
        self.owner = owner
        self._is_streamed = is_streamed
        self._exchange = exchange
        self._backfiller: GapBackfiller | None = None
        """Fetches the candles; None: the first attempt has not begun."""
        self._is_warm = False
        """Whether the candles of the warm-up were fetched."""
        self.has_tried = False
        """Whether the first attempt to fetch the warm-up has ended, with or without success."""
        self.requested = asyncio.Event()
        """Set when a decision waits for a candle of the series."""

    @property
    def label(self) -> str:
        """Return the name of the series for output, such as `BTC/USDT 1h`."""
        return f"{self.context.key.symbol} {self.context.key.timeframe}"

    async def fetch_missing(self) -> bool:
        """Fetch the candles that have closed and are not stored; return whether any was new.

        Raises:
            ExchangeUnreachable: no usable response to the request for the warm-up.
            ExchangeRefused: the exchange refused the request, or has no such market any more.
            StoreError: the file cannot be written.
        """
        with prefix_lines(f"{self.label}: "):
            backfiller = self._backfiller
            if backfiller is None:
                backfiller = self._backfiller = await self._make_backfiller()
            before = backfiller.inserted
            if self._is_warm:
                await backfiller.close_overdue()
            else:
                await backfiller.fetch_warm_up()
                self._is_warm = True
        return backfiller.inserted > before

    async def _make_backfiller(self) -> GapBackfiller:
        try:
            self._exchange.check_timeframe(self.context.key.timeframe)
            market = await self._exchange.fetch_market(self.context.key.symbol)
        except UsageError as error:
            # A start refuses it; in a running trader, exits of an open position go on.
            raise ExchangeRefused(str(error)) from error
        self.context = structs.replace(self.context, market=market)
        # Positions of any symbol may depend on the series.
        backfiller = GapBackfiller(self.context, self._exchange, compares_early=True)
        # The stream usually brings the candle before REST has it.
        backfiller.expects_marks = self._is_streamed
        return backfiller


class InformativeFetchers:
    """Fetchers of all series of other markets that the sessions of an account read."""

    def __init__(self, contexts: Sequence[SessionContext], exchange: RestExchange) -> None:
        """Initialise; nothing is fetched yet.

        Args:
            contexts: Context of each traded symbol.
            exchange: Exchange of the candles.
        """
        self._fetchers: dict[SeriesKey, InformativeFetcher] = {}
        self._wake: dict[str, Callable[[], None]] = {}
        """Function to call after new candles, by traded symbol."""
        traded = {context.key for context in contexts}
        longest: dict[SeriesKey, SessionContext] = {}
        for context in contexts:
            for series in context.other_markets:
                key, own = series.make_key(context.key), _make_series_context(context, series)
                if key not in longest or longest[key].window < own.window:
                    longest[key] = own
                self._fetchers[key] = InformativeFetcher(
                    longest[key], exchange, context.key.symbol, is_streamed=key in traded
                )

    def wake_at_candles(self, symbol: str, wake: Callable[[], None]) -> None:
        """Call a function of a traded symbol's session after each new candle."""
        self._wake[symbol] = wake

    def make_tasks(
        self, symbol: str, supervisor: Supervisor
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """Return the tasks that the session of a traded symbol runs, by name.

        Args:
            symbol: The traded symbol; each fetcher is run by one session.
            supervisor: Supervisor of the session, which repeats the tasks.
        """
        own = [fetcher for fetcher in self._fetchers.values() if fetcher.owner == symbol]
        names = {f"candles of {fetcher.label}": fetcher for fetcher in own}
        return {
            name: supervisor.repeat(
                name, partial(self._run_step, fetcher), longest_pause=lambda: LONGEST_PAUSE_SECONDS
            )
            for name, fetcher in names.items()
        }

    def find_missing(self, context: SessionContext, timestamp: int) -> list[InformativeFetcher]:
        """Return the fetchers that a decision waits for; empty: all candles are stored.

        Args:
            context: Context of the traded symbol.
            timestamp: Open of the traded candle to decide on, epoch seconds.
        """
        fetchers = [self._fetchers[one.make_key(context.key)] for one in context.other_markets]
        untried = [fetcher for fetcher in fetchers if not fetcher.has_tried]
        return untried or (fetchers if find_late_markets(context, timestamp) else [])

    async def _run_step(self, fetcher: InformativeFetcher) -> None:
        """Fetch what is missing of a series, then wait a moment, or until a decision needs it."""
        fetcher.requested.clear()
        try:
            if await fetcher.fetch_missing() or not fetcher.has_tried:
                self._wake_all()
        finally:
            # A decision that waits for the first attempt goes on after a failed one, too.
            fetcher.has_tried = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await fetcher.requested.wait()

    def _wake_all(self) -> None:
        for wake in self._wake.values():
            wake()


class InputWait:
    """Holds the decisions of one symbol until the candles of other markets are stored."""

    def __init__(self, context: SessionContext, fetchers: InformativeFetchers) -> None:
        """Begin without a decision that waits.

        Args:
            context: Context of the traded symbol.
            fetchers: Fetch the candles.
        """
        self._context = context
        self._fetchers = fetchers
        self._candle: int | None = None
        """Open of the traded candle whose decision has waited last, epoch seconds."""
        self._since = 0.0
        """Time since which that decision waits, monotonic seconds."""
        self._is_waiting = False

    @property
    def candle(self) -> int | None:
        """Return the open of the candle whose decision waits, epoch seconds; None: none waits."""
        return self._candle if self._is_waiting else None

    @property
    def seconds(self) -> float:
        """Return the time for which a decision waits, wall seconds; 0 if none waits."""
        return time.monotonic() - self._since if self._is_waiting else 0.0

    def must_wait(self, timestamp: int) -> bool:
        """Return whether a decision waits for a candle of another market; requests that candle.

        Args:
            timestamp: Open of the traded candle to decide on, epoch seconds.

        Raises:
            StoreError: the file cannot be read.
        """
        missing = self._fetchers.find_missing(self._context, timestamp)
        if missing and timestamp != self._candle:
            if not self._is_waiting:
                # A newer candle does not begin the wait again.
                self._since = time.monotonic()
            self._candle = timestamp
        longest = min(WAIT_SECONDS, self._context.settings.max_signal_age_seconds / 2)
        is_untried = any(not fetcher.has_tried for fetcher in missing)
        is_over = time.monotonic() - self._since >= longest
        self._is_waiting = bool(missing) and (is_untried or not is_over)
        if self._is_waiting:
            for fetcher in missing:
                fetcher.requested.set()
        return self._is_waiting


def _make_series_context(context: SessionContext, series: InputSeries) -> SessionContext:
    """Return the context of a series that a strategy reads, with the number of candles it needs."""
    window = context.window * context.timeframe.average_seconds
    inside = -(-window // series.timeframe.average_seconds)
    lookback = inside + compute_window_size(context.strategy.higher_lookback) + 1
    return structs.replace(
        context,
        key=series.make_key(context.key),
        timeframe=series.timeframe,
        strategy=structs.replace(context.strategy, lookback=lookback, inputs=()),
    )
