"""Keep the tape of one series complete and true while the market is watched.

The forming candle is replaced with every frame and committed at once. A later candle on the stream
proves that its period ended, not that our last row of it is final: that is certain only if the
connection has been alive since before the row's open. Every other candle is closed by REST.
"""

import asyncio
import contextlib
import time

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.core.errors import ExchangeUnreachable
from onetape.core.words import counted
from onetape.exchange.pages import last_closed_open
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import confirm_gaps, fetch_closed
from onetape.store.candles import (
    last_closed_before,
    mark_closed,
    missing_between,
    replace_forming,
)
from onetape.store.gaps import unexplained
from onetape.store.ledger import close_blind_intervals, open_blind_interval
from onetape.store.market_data import Ticker, delete_tickers_before, insert_ticker
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost, TickerUpdate
from trader.job import Job

#: Pauses between two questions for a candle that does not come: first and longest, seconds.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
#: Old tickers are deleted this often, milliseconds of market time.
CLEAN_EVERY_MS = 3_600_000
NEVER = 2**62


class Tape:
    """Writes one series. Not for several threads; its methods may run as tasks of one loop."""

    def __init__(self, job: Job, exchange: RestExchange) -> None:
        """Prepare; nothing is read or written yet."""
        self._job = job
        self._exchange = exchange
        self._lock = asyncio.Lock()
        self._connection: int | None = None
        self._first_seen = 0
        self._newest = 0
        self._ticker_second = -1
        self._cleaned_ms = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._ask_again_at = 0.0
        self._went_live = asyncio.Event()
        self.closed = asyncio.Event()
        """Set whenever a candle ended or was closed; whoever waits for it clears it."""
        self.ticker: Ticker | None = None
        """The newest best prices."""

    @property
    def live(self) -> bool:
        """Return whether the stream is up and what it missed is filled in."""
        return self._went_live.is_set()

    async def warm_up(self) -> int:
        """Fetch the last closed candles that the strategy needs; return how many were new.

        Raises:
            ExchangeUnreachable: no usable answer.
        """
        job = self._job
        newest = self._newest_due()
        start = job.timeframe.shift(newest, 1 - job.window)
        return await self._fetch(start)

    async def handle(self, event: StreamEvent) -> None:
        """Write down what the stream told."""
        match event:
            case CandleUpdate():
                await self._candles(event)
            case TickerUpdate():
                self._ticker(event)
            case StreamLost(reason):
                self._lost(reason)

    async def wait_until_live(self, seconds: float) -> None:
        """Wait until the stream is up, at most this long on the wall clock."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._went_live.wait(), seconds)

    async def close_overdue(self) -> None:
        """Ask REST for candles that ended by the clock and were not closed by the stream."""
        missing_from = self._first_missing()
        if missing_from is None:
            self._pause_seconds = FIRST_PAUSE_SECONDS
            self._ask_again_at = 0.0
            return
        if time.monotonic() < self._ask_again_at:
            return
        try:
            await self._fetch(missing_from)
        except ExchangeUnreachable as error:
            print_line(f"REST: {error}; trying again in {self._pause_seconds:.0f} s")
        # Where nobody traded there may be no candle: ask more and more rarely.
        self._ask_again_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    def _first_missing(self) -> int | None:
        """Return the first candle of the window that should be closed and is not, or None."""
        job = self._job
        due = self._newest_due()
        start = job.timeframe.shift(due, 1 - job.window)
        holes = missing_between(job.store, job.key, start, job.timeframe.next(due))
        missing = unexplained(job.store, job.key, holes)
        return missing[0][0] if missing else None

    def _newest_due(self) -> int:
        grace_ms = self._exchange.quirks.close_grace_ms
        return last_closed_open(self._job.timeframe, self._exchange.now_ms(), grace_ms)

    async def _fetch(self, start: int) -> int:
        """Store the closed candles from `start` on; return how many were new."""
        job = self._job
        async with self._lock:
            fetched = await fetch_closed(self._exchange, job.store, job.key, start=start, end=NEVER)
            last = last_closed_before(job.store, job.key, NEVER)
            if last is not None:
                # A hole before the newest candle is asked for again, then known as one.
                again = await confirm_gaps(
                    self._exchange, job.store, job.key, start=start, end=last
                )
                fetched = fetched.plus(again)
        if fetched.inserted:
            self.closed.set()
        return fetched.inserted

    async def _candles(self, update: CandleUpdate) -> None:
        if update.connection != self._connection or self._skips(update):
            await self._connected(update)
        for row in update.rows:
            self._row(row)

    def _skips(self, update: CandleUpdate) -> bool:
        """Return whether a candle is missing between our newest row and those of the update."""
        last = self._newest
        for row in update.rows:
            if last and row.timestamp > self._job.timeframe.next(last):
                return True
            last = max(last, row.timestamp)
        return False

    async def _connected(self, update: CandleUpdate) -> None:
        """Fill what was missed before anything of the new connection is written."""
        again = self._connection is not None
        self._went_live.clear()
        try:
            filled = await self._fetch(self._first_missing() or self._newest_due())
        except ExchangeUnreachable as error:
            # The next frame comes here again; until then the tape ends where it ended.
            print_line(f"stream is back, but what it missed is not: {error}")
            return
        self._connection = update.connection
        self._first_seen = update.rows[-1].timestamp
        self._newest = 0
        self._went_live.set()
        close_blind_intervals(
            self._job.store, self._job.session.session, to_ms=self._exchange.now_ms()
        )
        if again:
            print_line(f"stream is back, {counted(filled, 'missed candle')} filled over REST")

    def _row(self, row: Candle) -> None:
        if self._connection is None:
            return
        job = self._job
        # Seen from its open to its end on one connection: our row of it is the final one.
        ended = row.timestamp > self._newest > 0
        if ended and self._newest > self._first_seen:
            mark_closed(job.store, job.key, self._newest)
        if ended:
            # Closed, or for REST to close: either way the strategy loop has something to do.
            self.closed.set()
        if replace_forming(job.store, job.key, row, seen_ms=self._exchange.now_ms()):
            self._newest = max(self._newest, row.timestamp)

    def _ticker(self, update: TickerUpdate) -> None:
        now_ms = self._exchange.now_ms()
        ticker = Ticker(update.timestamp_ms or now_ms, update.bid, update.ask, update.last)
        self.ticker = ticker
        second = ticker.timestamp_ms // 1_000
        if second == self._ticker_second:
            return
        self._ticker_second = second
        key = self._job.key
        insert_ticker(self._job.store, key.exchange, key.symbol, ticker)
        if now_ms - self._cleaned_ms >= CLEAN_EVERY_MS:
            self._cleaned_ms = now_ms
            oldest_ms = now_ms - int(self._job.settings.ticker_days * 86_400_000)
            delete_tickers_before(self._job.store, key.exchange, key.symbol, oldest_ms)

    def _lost(self, reason: str) -> None:
        if not self.live:
            return
        self._went_live.clear()
        print_line(f"stream lost: {reason}; connecting anew, no entries meanwhile")
        open_blind_interval(
            self._job.store,
            self._job.session.session,
            from_ms=self._exchange.now_ms(),
            reason=reason,
        )
