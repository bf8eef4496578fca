"""Repeat failed reads: growing pauses between attempts, and no request during a rate limit ban.

After HTTP 429 or 418, no task, client or process that shares the bans sends a request before the
ban ends. After another temporary error the read is repeated after a pause.
"""

import asyncio
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final, TypeVar

from onetape.core.errors import ExchangeUnreachable
from onetape.core.rate_limit_ban import RateLimitBan
from onetape.exchange.ccxt_errors import HttpRefusal, RateLimited, translating_ccxt_errors
from onetape.exchange.wall_clock import ProcessRateLimitBans, RateLimitBans, WallClock

#: Longest pause between two attempts, seconds.
LONGEST_PAUSE_SECONDS: Final = 60.0
#: If the exchange has never responded, a read gives up after this multiple of the first pause,
#: about 4 s: a user without network should see the error soon.
FIRST_RETRY_PAUSES: Final = 8
#: Minimum time between two notes that a read waits, seconds.
NOTE_EVERY_SECONDS: Final = 60.0
#: Maximum number of simultaneous requests: after the first refusal at most one more can arrive.
MOST_IN_FLIGHT: Final = 2
#: Length of a ban whose response states no end: the shortest ban of Binance.
BAN_SECONDS: Final = 120.0
#: The longest ban of Binance; a longer one in a response is an error.
LONGEST_BAN_SECONDS: Final = 3 * 86_400.0
#: Number of bans in a row after which a read gives up: they have another cause than the rate.
MOST_BANS: Final = 5
#: Number of recent bans that are remembered, so that none is counted twice.
MOST_COUNTED_BANS: Final = 64
#: HTTP statuses of too many requests, a ban, and maintenance.
_BANNING: Final = frozenset({429, 418, 503})
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")

T = TypeVar("T")


@dataclass(slots=True)
class _FailureSeries:
    """Consecutive failures of one read."""

    began: float
    """Time of the first attempt, monotonic seconds."""
    pause_seconds: float
    """Length of the next pause, before its random shortening."""
    failures: int = 0
    bans: int = 0
    """Number of failures that were bans."""
    banned_seconds: float = 0.0
    """Time waited for bans, which does not count as time for retries."""


class RetryPolicy:
    """Repeats each failed read of one exchange until its time for retries is over."""

    def __init__(
        self,
        exchange: str,
        *,
        wall: WallClock,
        exchange_ms: Callable[[], int],
        random: Random,
        note: Callable[[str], None],
        first_pause_seconds: float,
        retry_seconds: float,
        waits_for_ban_end: bool,
    ) -> None:
        """Initialise without failures and bans.

        Args:
            exchange: Exchange id, for the error texts.
            wall: Clock of the pauses and bans.
            exchange_ms: Function that returns the time of the exchange's clock, in which it states
                the end of a ban, epoch milliseconds.
            random: Random numbers by which pauses are shortened.
            note: Called with the reason why a read waits, at most once a minute.
            first_pause_seconds: Pause before the second attempt; later pauses double.
            retry_seconds: Time for which a failing read is repeated once the exchange has
                responded.
            waits_for_ban_end: Whether a read waits for the end of a ban, however long; False: it
                fails at once, without a request, if the ban ends after the time for retries.
        """
        self.bans: RateLimitBans = ProcessRateLimitBans()
        self._exchange = exchange
        self._wall = wall
        self._exchange_ms = exchange_ms
        self._random = random
        self._note = note
        self._first_pause_seconds = first_pause_seconds
        self._retry_seconds = retry_seconds
        self._waits_for_ban_end = waits_for_ban_end
        self._free_requests = asyncio.Semaphore(MOST_IN_FLIGHT)
        # Several reads run at once; each task has its own record.
        self._refusal: ContextVar[HttpRefusal | None] = ContextVar("refusal", default=None)
        self._noted: float | None = None
        self._known_ban: RateLimitBan | None = None
        """The rate limit ban that ends last, over or not."""
        self._ban_end = -math.inf
        """End of the last rate limit ban on the monotonic clock, wall seconds."""
        self._counted: deque[RateLimitBan] = deque(maxlen=MOST_COUNTED_BANS)
        """Bans whose ends were converted from the computer's time of day to the monotonic clock."""
        self._has_responded = False

    async def read(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a read, repeated until an attempt succeeds or its time is over.

        Args:
            request: Function that sends the request.

        Raises:
            ExchangeUnreachable: no usable response within the time for retries.
            ExchangeRefused: the exchange refused the request.
        """
        series: _FailureSeries | None = None
        while True:
            await self._wait_for_ban_end()
            async with self._free_requests:
                # A ban may have begun while this read waited.
                if self._update_banned_seconds() > 0:
                    continue
                requested = self._wall.get_monotonic_seconds()
                refusal = HttpRefusal()
                self._refusal.set(refusal)
                try:
                    with translating_ccxt_errors(self._exchange, refusal):
                        result = await request()
                except ExchangeUnreachable as error:
                    series = series or _FailureSeries(requested, self._first_pause_seconds)
                    failure = error
                else:
                    self._has_responded = True
                    return result
            await self._pause(series, failure)

    def get_ban_in_force(self) -> RateLimitBan | None:
        """Return the rate limit ban in force, as far as it is known; None: no ban. Thread-safe.

        Bans of other processes are found by the next read. `until_ms` of the result is computed
        with the computer's present time.
        """
        ban, seconds = self._known_ban, self.get_banned_seconds()
        if ban is None or seconds <= 0:
            return None
        return RateLimitBan(self._wall.get_epoch_ms() + int(seconds * 1_000), ban.reason)

    def get_banned_seconds(self) -> float:
        """Return the remaining time of the rate limit ban, wall seconds; 0: no ban. Thread-safe."""
        return max(self._ban_end - self._wall.get_monotonic_seconds(), 0.0)

    def record_refusal(self, status: int, headers: Mapping[str, str], body: str) -> None:
        """Store an HTTP error for the running read, and the ban that it states, if any."""
        refusal = self._refusal.get()
        if refusal is not None:
            refusal.status, refusal.body = status, body
        if status not in _BANNING:
            return
        seconds = _parse_retry_after(headers, self._exchange_ms())
        banned = _BANNED_UNTIL.search(body) if status == 418 else None
        if banned is not None:
            seconds = max(seconds, (int(banned[1]) - self._exchange_ms()) / 1_000)
        if seconds > 0:
            self._add_ban(seconds, f"HTTP {status}")

    async def _pause(self, series: _FailureSeries, error: ExchangeUnreachable) -> None:
        """Wait before another attempt; raise the error if the time for retries is over."""
        series.failures += 1
        seconds = series.pause_seconds * self._random.uniform(0.5, 1.0)
        # If little time is allowed, the caller repeats the read, so the pauses stay short.
        longest = min(LONGEST_PAUSE_SECONDS, self._retry_seconds / 2)
        series.pause_seconds = min(2 * series.pause_seconds, longest)
        if isinstance(error, RateLimited):
            if error.is_ban:
                series.bans += 1
                seconds = max(seconds, BAN_SECONDS if self._update_banned_seconds() <= 0 else 0.0)
                series.banned_seconds += max(seconds, self._update_banned_seconds())
            # All reads wait: the exchange counts the requests of an internet address together.
            self._add_ban(seconds, "HTTP 418" if error.is_ban else "HTTP 429")
            seconds = 0.0
        left = self._compute_budget_seconds() - (
            self._wall.get_monotonic_seconds() - series.began - series.banned_seconds
        )
        if series.bans > MOST_BANS or (series.failures > 1 and seconds > left):
            raise error
        if seconds:
            self._note_at_intervals(f"{error}; trying again for {_format_duration(left)}")
            await self._wall.sleep(seconds)

    def _compute_budget_seconds(self) -> float:
        first = FIRST_RETRY_PAUSES * self._first_pause_seconds
        return self._retry_seconds if self._has_responded else min(first, self._retry_seconds)

    def _update_banned_seconds(self) -> float:
        """Return the wall seconds in which no request may be sent; 0 or less: send at once."""
        ban = self.bans.find_latest()
        if ban is not None and ban not in self._counted:
            self._set_ban_end(ban, ban.compute_left_ms(self._wall.get_epoch_ms()) / 1_000)
        return self._ban_end - self._wall.get_monotonic_seconds()

    def _set_ban_end(self, ban: RateLimitBan, seconds: float) -> None:
        """Set the end of the ban to `seconds` from now, unless a known ban ends later."""
        self._counted.append(ban)
        end = self._wall.get_monotonic_seconds() + min(seconds, LONGEST_BAN_SECONDS)
        if end > self._ban_end:
            self._ban_end, self._known_ban = end, ban

    def _add_ban(self, seconds: float, reason: str) -> None:
        """Begin a ban of `seconds` now, and share it."""
        now_ms = self._wall.get_epoch_ms()
        wait_ms = int(min(seconds, LONGEST_BAN_SECONDS) * 1_000) + 1
        ban = RateLimitBan(now_ms + wait_ms, reason, now_ms)
        self._set_ban_end(ban, wait_ms / 1_000)
        self.bans.extend(ban)

    async def _wait_for_ban_end(self) -> None:
        while (seconds := self._update_banned_seconds()) > 0:
            ban = self.get_ban_in_force()
            text = "" if ban is None else format_ban_line(self._exchange, ban)
            if not self._waits_for_ban_end and seconds > self._retry_seconds:
                raise RateLimited(text, is_ban=True)
            self._note_at_intervals(f"{text}; waiting")
            await self._wall.sleep(min(seconds, NOTE_EVERY_SECONDS))

    def _note_at_intervals(self, text: str) -> None:
        now = self._wall.get_monotonic_seconds()
        if self._noted is None or now - self._noted >= NOTE_EVERY_SECONDS:
            self._noted = now
            self._note(text)


def format_ban_line(exchange: str, ban: RateLimitBan) -> str:
    """Return one line of text on a rate limit ban: its cause and its end."""
    kind = "maintenance" if ban.reason == "HTTP 503" else "rate limit ban"
    until = datetime.fromtimestamp(ban.until_ms / 1_000, tz=UTC)
    return f"{exchange}: {kind} ({ban.reason}), no request until {until:%Y-%m-%d %H:%M:%S} UTC"


def _parse_retry_after(headers: Mapping[str, str], now_ms: int) -> float:
    """Return the seconds of the header Retry-After, which may be a date; 0: no such header."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    try:
        return float(int(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now_ms / 1_000


def _format_duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"
