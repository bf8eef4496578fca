"""Fill the tape over REST: the warm-up, what a break swallowed, what the stream cannot prove."""

import asyncio

from onetape.cli.output import print_line
from onetape.core.errors import ExchangeUnreachable
from onetape.exchange.pages import Page, last_closed_open
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import fetch_closed
from onetape.history.gaps import confirm_gaps
from onetape.store.candles import missing_between
from onetape.store.gaps import unexplained
from trader.higher import first_traded, warm_up_larger
from trader.job import Job
from trader.pause import Pause

#: Pauses between two questions for a candle that does not come, and after REST failed: first and
#: longest, wall seconds.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
NEVER = 2**62


class Filler:
    """Fetches the closed candles of one series. Its methods may run as tasks of one loop."""

    def __init__(self, job: Job, exchange: RestExchange) -> None:
        """Prepare; nothing is read or written yet."""
        self._job = job
        self._exchange = exchange
        self._lock = asyncio.Lock()
        self._complete_until: int | None = None
        self._absent = _pause()
        self._failed = _pause()
        self.inserted = 0
        """Candles that REST has added to the tape in this session."""
        self.closed = asyncio.Event()
        """Set whenever a candle was closed; whoever waits for it clears it."""

    async def warm_up(self) -> int:
        """Fetch the last closed candles that strategy and sizing need; return how many were new.

        Raises:
            ExchangeUnreachable: no usable answer.
        """
        job, newest = self._job, self.newest_due()
        await warm_up_larger(job, self._exchange, newest)
        start = min(job.timeframe.shift(newest, 1 - job.history), first_traded(job, newest))
        return await self._fetch(start)

    async def fill(self) -> bool:
        """Fetch what is missing; return whether REST has answered.

        Where it failed shortly ago it is not asked again yet.
        """
        async with self._lock:
            if not self._failed.is_over:
                return False
            try:
                await self._fetch(self.first_missing() or self.newest_due())
            except ExchangeUnreachable as error:
                seconds = self._failed.lengthen()
                print_line(f"REST: {error}; trying again in {seconds:.0f} s")
                return False
            self._failed.reset()
            return True

    async def close_overdue(self) -> None:
        """Ask for candles that ended by the clock and were not closed by the stream."""
        if self.first_missing() is None:
            self._absent.reset()
            return
        if not self._absent.is_over:
            return
        before = self.inserted
        await self.fill()
        if self.inserted > before:
            self._absent.reset()
        else:
            # Where nobody traded there may be no candle: ask more and more rarely.
            self._absent.lengthen()

    def newest_due(self) -> int:
        """Return the open (epoch seconds) of the newest candle that ended by the clock."""
        grace_ms = self._exchange.quirks.close_grace_ms
        return last_closed_open(self._job.timeframe, self._exchange.now_ms(), grace_ms)

    def first_missing(self) -> int | None:
        """Return the first candle that should be closed and is not, or None.

        It looks back over what strategy and sizing need, and over a longer break of this session.
        """
        job = self._job
        due = self.newest_due()
        start = job.timeframe.shift(due, 1 - job.history)
        if self._complete_until is not None:
            start = min(start, self._complete_until)
        end = job.timeframe.next(due)
        missing = unexplained(job.store, job.key, missing_between(job.store, job.key, start, end))
        self._complete_until = missing[0][0] if missing else end
        return missing[0][0] if missing else None

    async def _fetch(self, start: int) -> int:
        """Store the closed candles from `start` on; return how many were new."""
        job = self._job
        newest = start

        def note(page: Page) -> None:
            nonlocal newest
            newest = max([newest, *(row.timestamp for row in page.rows)])

        fetched = await fetch_closed(
            self._exchange, job.store, job.key, start=start, end=NEVER, on_page=note
        )
        # A hole before a candle that REST has is asked for again, then known as one. A candle that
        # only the stream has proves nothing: REST may lag behind it.
        again = await confirm_gaps(self._exchange, job.store, job.key, start=start, end=newest)
        inserted = fetched.inserted + again.inserted
        self.inserted += inserted
        if inserted:
            self.closed.set()
        return inserted


def _pause() -> Pause:
    return Pause(first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
