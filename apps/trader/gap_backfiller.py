"""Fetches closed candles over REST: for the warm-up, after a break, and those the stream left open.

If the exchange marks final candles in its stream, a candle is fetched only after a short wait for
its mark.
"""

import asyncio
import time

from onetape.cli.output import print_line
from onetape.core.candles import Candle, find_candle_fault
from onetape.core.errors import ExchangeRefused, ExchangeUnreachable
from onetape.core.refused_rows import describe_refused_rows
from onetape.exchange.ccxt_errors import RateLimited
from onetape.exchange.pages import compute_last_closed_open
from onetape.exchange.rest import RestExchange
from onetape.history.fetch import FetchReport
from onetape.history.gaps import DECIDING_RESPONSES, fetch_and_record_gaps, find_due_gaps
from onetape.store.candles import find_series_gaps, read_candle_at, read_closed_range
from onetape.store.corrections import accept_corrections
from onetape.store.gaps import find_unexplained
from onetape.store.marked_decisions import USUAL_WINDOW
from trader.backoff import Backoff
from trader.higher_window import compute_first_traded, fetch_higher_warm_up, is_higher_fetch_due
from trader.rest_comparison import RestComparison, format_correction_line
from trader.session_context import SessionContext

#: First and longest pause between two requests for a candle that does not arrive, wall seconds.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
#: The longest pause after a failed REST request, wall seconds; short, so that gaps are filled soon
#: after an outage.
LONGEST_FAILED_PAUSE_SECONDS = 2.0
#: Interval at which the end of a rate limit ban is read, wall seconds.
BAN_PAUSE_SECONDS = 15.0
#: Interval at which failures of REST are printed in a long outage, wall seconds.
NOTE_SECONDS = 60.0
#: Maximum wait for the exchange's mark of a candle that has ended, wall seconds.
MARK_TIMEOUT_SECONDS = 1.0
#: A time after every candle, epoch seconds.
NEVER = 2**62


class GapBackfiller:
    """Fetches the closed candles of one series. The methods may run as tasks of one loop."""

    def __init__(
        self, context: SessionContext, exchange: RestExchange, *, compares_early: bool = False
    ) -> None:
        """Initialise; nothing is read or written yet.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange of the candles, with the market time.
            compares_early: Whether each candle is compared with REST a minute after its close, also
                without a position.
        """
        self._context = context
        self._exchange = exchange
        self._lock = asyncio.Lock()
        self._complete_until: int | None = None
        """Open of the first candle that was missing at the last check, epoch seconds, or None."""
        self._absent = _make_backoff(LONGEST_PAUSE_SECONDS)
        """Pause between requests for a candle that REST does not return."""
        self._due: int | None = None
        """The newest candle that has ended, when candles were fetched last, epoch seconds."""
        self._failed = _make_backoff(LONGEST_FAILED_PAUSE_SECONDS)
        """Pause between requests that fail."""
        self._noted: float | None = None
        """Time when a failure of REST was last printed, monotonic seconds."""
        self._ended: tuple[int, float] = (0, 0.0)
        """The newest candle that has ended, and when that was seen first, monotonic seconds."""
        self._comparison = RestComparison(context, exchange, is_early=compares_early)
        self.expects_marks = False
        """Whether the stream is up and marks candles as final."""
        self.is_refused = False
        """Whether the exchange refused the last request for candles and has returned none since."""
        self.is_rate_limited = False
        """Whether the exchange refused the last request for candles because of the request rate."""
        self.inserted = 0
        """Number of candles that REST has added since the session was built."""
        self.refused = ""
        """Text about rows of the last response that were refused; empty: no row was."""
        self.closed = asyncio.Event()
        """Set when a candle was closed or a new one began; the task that waits for it clears it."""

    async def fetch_warm_up(self, since: int | None = None) -> int:
        """Fetch the last closed candles that strategy and sizing need.

        Args:
            since: Open of a candle, epoch seconds: all later ones are fetched too, because each is
                checked for an exit. None: no others.

        Returns:
            The number of candles that were new.

        Raises:
            ExchangeUnreachable: no usable response.
        """
        context, newest = self._context, self.compute_newest_due()
        await fetch_higher_warm_up(context, self._exchange, newest)
        start = min(
            context.timeframe.shift(newest, 1 - context.history),
            compute_first_traded(context, newest),
        )
        if since is not None:
            self._complete_until = since
            start = min(start, since)
        return await self._fetch(start)

    async def fill(self) -> bool:
        """Fetch the missing candles; return whether REST has responded.

        Nothing is fetched during the pause after a failure; the result is False then.

        Raises:
            ExchangeRefused: the exchange refused the request.
        """
        async with self._lock:
            if not self._failed.is_over:
                return False
            due = self.compute_newest_due()
            try:
                if is_higher_fetch_due(self._context, due, self._exchange.now_ms()):
                    await fetch_higher_warm_up(self._context, self._exchange, due)
                await self._fetch(self.find_first_missing() or due)
            except ExchangeUnreachable as error:
                self._note_failure(error, self._pause(error))
                return False
            except ExchangeRefused:
                self.is_refused = True
                raise
            self._failed.reset()
            self.is_refused = False
            if self.is_rate_limited:
                self.is_rate_limited = False
                self.closed.set()
            return True

    async def close_overdue(self) -> None:
        """Fetch candles that ended by the clock and were not closed by the stream.

        If no candle is missing, candles that the stream closed are compared with REST. After a
        refusal a request is sent in any case: only a response proves that the refusal is over.

        Raises:
            ExchangeRefused: the exchange refused the request.
        """
        if self.is_refused or self.is_rate_limited:
            await self.fill()
            return
        due = self.compute_newest_due()
        is_higher_due = is_higher_fetch_due(self._context, due, self._exchange.now_ms())
        missing = self.find_first_missing()
        if missing is None and not is_higher_due:
            self._absent.reset()
            await self.compare()
            return
        if due != self._due:
            self._due = due
            if read_candle_at(self._context.store, self._context.key, due) is not None:
                # The stream sent the candle, so REST has it: the time without trades is over.
                self._absent.reset()
        if not self._absent.is_over or (missing == due and self._is_mark_awaited(due)):
            return
        before = self.inserted
        if not await self.fill():
            return
        if self.inserted > before:
            self._absent.reset()
        else:
            # Without a trade there may be no candle: fetch more and more rarely.
            self._absent.begin_pause()

    def _pause(self, error: ExchangeUnreachable) -> float:
        """Begin the pause after a failed request; return its length in seconds.

        The pause ends at the end of a rate limit ban: the exchange responds from then on.
        """
        if not isinstance(error, RateLimited):
            return self._failed.begin_pause()
        self.is_rate_limited = True
        return self._failed.begin_pause(min(self._exchange.get_banned_seconds(), BAN_PAUSE_SECONDS))

    def _note_failure(self, error: ExchangeUnreachable, seconds: float) -> None:
        """Print that REST failed: each time while the pauses grow, then once a minute."""
        now = time.monotonic()
        is_longest = seconds >= LONGEST_FAILED_PAUSE_SECONDS
        if is_longest and self._noted is not None and now < self._noted + NOTE_SECONDS:
            return
        self._noted = now
        print_line(f"REST: {_describe_failure(error)}; trying again in {seconds:.0f} s")

    async def compare(self) -> None:
        """Compare candles that are due with REST, and accept the values of REST that differ."""
        async with self._lock:
            try:
                await self._comparison.run()
            except ExchangeUnreachable as error:
                print_line(
                    f"REST: {_describe_failure(error)}; candles of the stream are compared later"
                )
                if isinstance(error, RateLimited):
                    self._pause(error)
            except ExchangeRefused:
                self.is_refused = True
                raise
            self._accept_corrections()

    def _accept_corrections(self) -> None:
        """Store the corrections that REST has proven, and print a line for each."""
        context = self._context
        corrections = accept_corrections(
            context.store,
            context.key,
            # The windows of other strategies on this series are not stored.
            window=max(context.window, USUAL_WINDOW),
            corrected_ms=self._exchange.now_ms(),
        )
        for each in corrections:
            print_line(format_correction_line(context, each))
        if corrections:
            self.closed.set()

    def _is_mark_awaited(self, due: int) -> bool:
        """Return whether the stream may still mark the candle that ended last as final."""
        if not self.expects_marks:
            return False
        now = time.monotonic()
        if self._ended[0] != due:
            self._ended = (due, now)
        return now - self._ended[1] < MARK_TIMEOUT_SECONDS

    def compute_newest_due(self) -> int:
        """Return the open (epoch seconds) of the newest candle that ended by the clock."""
        grace_ms = self._exchange.quirks.close_grace_ms
        return compute_last_closed_open(self._context.timeframe, self._exchange.now_ms(), grace_ms)

    def find_first_missing(self) -> int | None:
        """Return the first candle that should be fetched over REST, epoch seconds, or None.

        Counted are candles that should be closed and are not, in the range that strategy and sizing
        need, and in a longer break of this session; none before the first stored candle. A candle
        that enough responses have left out is fetched again only when a further response is due
        that may prove the gap.
        """
        context = self._context
        due = self.compute_newest_due()
        start = context.timeframe.shift(due, 1 - context.history)
        if self._complete_until is not None:
            start = min(start, self._complete_until)
        end = context.timeframe.next(due)
        stored = read_closed_range(context.store, context.key)
        if stored is not None:
            start = max(start, stored[0])
        gaps = find_series_gaps(context.store, context.key, start, end)
        missing = find_unexplained(context.store, context.key, gaps, responses=DECIDING_RESPONSES)
        self._complete_until = missing[0][0] if missing else end
        again = find_due_gaps(
            context.store, context.key, start, end, now_ms=self._exchange.now_ms()
        )
        return min((low for low, _ in [*missing, *again]), default=None)

    async def _fetch(self, start: int) -> int:
        """Store the closed candles from `start` on; return the number of new ones."""
        context = self._context
        refused: dict[Candle, str] = {}
        fetched = await fetch_and_record_gaps(
            self._exchange,
            context.store,
            context.key,
            start=start,
            end=NEVER,
            on_page=lambda page: refused.update(page.refused),
        )
        self.refused = _describe_refused_candles(context, refused, fetched) if refused else ""
        self.inserted += fetched.inserted
        if fetched.inserted:
            self.closed.set()
        return fetched.inserted


def _describe_refused_candles(
    context: SessionContext, refused: dict[Candle, str], fetched: FetchReport
) -> str:
    faults = [find_candle_fault(row, context.timeframe) or "" for row in refused]
    sound = fetched.inserted + fetched.present
    return describe_refused_rows(
        faults, next(iter(refused.values())), context.key.timeframe, sound=sound
    )


def _describe_failure(error: ExchangeUnreachable) -> str:
    """Return the text of an error without its advice, which is for a program that has ended."""
    return str(error).partition("; ")[0]


def _make_backoff(longest_seconds: float) -> Backoff:
    return Backoff(first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=longest_seconds)
