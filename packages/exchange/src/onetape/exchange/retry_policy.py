"""Retries of reads: growing pauses between attempts, and no request during a rate limit ban.

After HTTP 429 or 418 no task, client or process that shares the bans sends a request before the
ban ends. Other errors that can pass are retried after a pause.
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
from onetape.exchange.waiting import ProcessRateLimitBans, RateLimitBans, Wall

#: Longest pause between two attempts, seconds.
LONGEST_PAUSE_SECONDS: Final = 60.0
#: Number of first pauses, about 4 s in all, after which a read without any response gives up: a
#: user without network should see the error soon.
FIRST_RETRY_PAUSES: Final = 8
#: Least time between two notes that a read waits.
NOTE_EVERY_SECONDS: Final = 60.0
#: Maximum simultaneous requests: after the first refusal at most one more can arrive.
MOST_IN_FLIGHT: Final = 2
#: Length of a ban whose response states no end: the shortest that Binance imposes.
BAN_SECONDS: Final = 120.0
#: The longest ban that Binance imposes; a longer one in a response is a wrong number.
LONGEST_BAN_SECONDS: Final = 3 * 86_400.0
#: Number of bans in a row, each waited for, that must have another cause than the request rate.
MOST_BANS: Final = 5
#: Number of recent bans that are stored, so that none is counted twice.
MOST_COUNTED_BANS: Final = 64
#: Too many requests, a ban, and maintenance.
_BANNING: Final = frozenset({429, 418, 503})
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")

T = TypeVar("T")


@dataclass(slots=True)
class _Spell:
    """Consecutive failures of one read. Times in wall seconds."""

    began: float
    pause_seconds: float
    failures: int = 0
    bans: int = 0
    banned_seconds: float = 0.0


class RetryPolicy:
    """Runs the reads of one exchange: repeats a failed read until its time for retries is over."""

    def __init__(
        self,
        exchange: str,
        *,
        wall: Wall,
        exchange_ms: Callable[[], int],
        random: Random,
        note: Callable[[str], None],
        first_pause_seconds: float,
        retry_seconds: float,
        waits_for_ban_end: bool,
    ) -> None:
        """Prepare.

        Args:
            exchange: Exchange id, for the error texts.
            wall: Clock of the pauses and bans.
            exchange_ms: Returns the time by which the exchange dates the end of a ban, epoch
                milliseconds.
            random: Random numbers of the jitter.
            note: Called with the reason why a read waits: once a minute at most.
            first_pause_seconds: Before the second attempt; doubles from then on.
            retry_seconds: Time that a read may keep failing once the exchange has responded.
            waits_for_ban_end: Wait for the end of a ban, however far; otherwise a read
                fails at once, without a request, where it ends after the time for retries.
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
        self._turns = asyncio.Semaphore(MOST_IN_FLIGHT)
        # Reads run at the same time; each gets the responses to its own task alone.
        self._refusal: ContextVar[HttpRefusal | None] = ContextVar("refusal", default=None)
        self._noted: float | None = None
        self._known_ban: RateLimitBan | None = None
        """The rate limit ban that ends last, over or not."""
        self._ban_end = -math.inf
        """End of the last rate limit ban on the monotonic clock, wall seconds."""
        self._counted: deque[RateLimitBan] = deque(maxlen=MOST_COUNTED_BANS)
        """Bans whose ends were read from the computer's time of day: once each."""
        self._has_responded = False

    async def read(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a read at the first attempt that succeeds.

        Raises:
            ExchangeUnreachable: no usable response within the time for retries.
            ExchangeRefused: the exchange refused the request.
        """
        spell: _Spell | None = None
        while True:
            await self._wait_for_ban_end()
            async with self._turns:
                # The ban may have begun while this read waited for its turn.
                if self._update_banned_seconds() > 0:
                    continue
                requested = self._wall.get_monotonic_seconds()
                refusal = HttpRefusal()
                self._refusal.set(refusal)
                try:
                    with translating_ccxt_errors(self._exchange, refusal):
                        result = await request()
                except ExchangeUnreachable as error:
                    spell = spell or _Spell(requested, self._first_pause_seconds)
                    failure = error
                else:
                    self._has_responded = True
                    return result
            await self._pause(spell, failure)

    def get_ban_in_force(self) -> RateLimitBan | None:
        """Return the rate limit ban in force as far as known, or None; in any thread.

        Bans of other processes are known from the next read on. The end of the ban is given by the
        computer's present time of day.
        """
        ban, seconds = self._known_ban, self.get_banned_seconds()
        if ban is None or seconds <= 0:
            return None
        return RateLimitBan(self._wall.get_epoch_ms() + int(seconds * 1_000), ban.reason)

    def get_banned_seconds(self) -> float:
        """Return the rest of the rate limit ban, wall seconds; 0 without a ban; in any thread."""
        return max(self._ban_end - self._wall.get_monotonic_seconds(), 0.0)

    def record_refusal(self, status: int, headers: Mapping[str, str], body: str) -> None:
        """Read from an error its kind, and the time in which no request may be sent."""
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

    async def _pause(self, spell: _Spell, error: ExchangeUnreachable) -> None:
        """Wait before another attempt; raise the error where the time for retries is over."""
        spell.failures += 1
        seconds = spell.pause_seconds * self._random.uniform(0.5, 1.0)
        # Where little time is allowed, the caller tries again: a pause without end names none.
        longest = min(LONGEST_PAUSE_SECONDS, self._retry_seconds / 2)
        spell.pause_seconds = min(2 * spell.pause_seconds, longest)
        if isinstance(error, RateLimited):
            if error.is_ban:
                spell.bans += 1
                seconds = max(seconds, BAN_SECONDS if self._update_banned_seconds() <= 0 else 0.0)
                spell.banned_seconds += max(seconds, self._update_banned_seconds())
            # Other reads pause too: the exchange counts all requests of this address together.
            self._add_ban(seconds, "HTTP 418" if error.is_ban else "HTTP 429")
            seconds = 0.0
        left = self._compute_budget_seconds() - (
            self._wall.get_monotonic_seconds() - spell.began - spell.banned_seconds
        )
        if spell.bans > MOST_BANS or (spell.failures > 1 and seconds > left):
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
            self._count(ban, ban.compute_left_ms(self._wall.get_epoch_ms()) / 1_000)
        return self._ban_end - self._wall.get_monotonic_seconds()

    def _count(self, ban: RateLimitBan, seconds: float) -> None:
        """Add a ban of this length from now on; a ban that ends later stays."""
        self._counted.append(ban)
        end = self._wall.get_monotonic_seconds() + min(seconds, LONGEST_BAN_SECONDS)
        if end > self._ban_end:
            self._ban_end, self._known_ban = end, ban

    def _add_ban(self, seconds: float, reason: str) -> None:
        now_ms = self._wall.get_epoch_ms()
        wait_ms = int(min(seconds, LONGEST_BAN_SECONDS) * 1_000) + 1
        ban = RateLimitBan(now_ms + wait_ms, reason, now_ms)
        self._count(ban, wait_ms / 1_000)
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
    """Return a rate limit ban with its cause and its end, in one line."""
    kind = "maintenance" if ban.reason == "HTTP 503" else "rate limit ban"
    until = datetime.fromtimestamp(ban.until_ms / 1_000, tz=UTC)
    return f"{exchange}: {kind} ({ban.reason}), no request until {until:%Y-%m-%d %H:%M:%S} UTC"


def _parse_retry_after(headers: Mapping[str, str], now_ms: int) -> float:
    """Return the header Retry-After, seconds or a date, as seconds; 0 without one."""
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
