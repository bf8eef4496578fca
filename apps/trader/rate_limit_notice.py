"""Degrades the trader while the exchange refuses requests because of their rate (HTTP 429, 418).

Orders would be refused as well, and no candle is fetched or compared meanwhile, even while the
stream goes on.
"""

import time
from typing import Final

from onetape.exchange.rest import RestExchange
from onetape.exchange.retry_policy import format_ban_line
from trader.gap_backfiller import GapBackfiller
from trader.states import Problem
from trader.supervisor import RATE_LIMIT_RULE

#: Name under which the problem is reported to the trader's states.
RATE_LIMIT_PROBLEM: Final = "rate limit"
#: Refusals that end sooner do not degrade the trader, wall seconds.
NOTICE_AFTER_SECONDS: float = 15.0


class RateLimitNotice:
    """Reports a rate limit ban, or refused requests for candles, that last too long."""

    def __init__(self, exchange: RestExchange, gap_backfiller: GapBackfiller) -> None:
        """Initialise without a refusal.

        Args:
            exchange: Exchange that has the rate limit ban in force.
            gap_backfiller: Shows whether its last request was refused because of the rate.
        """
        self._exchange = exchange
        self._gap_backfiller = gap_backfiller
        self._since: float | None = None
        """Time when the exchange began to refuse requests, monotonic seconds; None: no refusal."""
        self._until_ms = 0
        """End of the ban that the problem names, epoch milliseconds."""
        self._problem: Problem | None = None
        """The problem that lasts, or None."""

    def find_problem(self) -> Problem | None:
        """Return the problem of refused requests, if they last 15 s or longer; None otherwise."""
        ban = self._exchange.get_ban_in_force()
        if ban is None and not self._gap_backfiller.is_rate_limited:
            self._since = self._problem = None
            return None
        now, left = time.monotonic(), self._exchange.get_banned_seconds()
        if self._since is None:
            self._since = now
        name = self._exchange.endpoint.exchange
        if ban is not None and left >= NOTICE_AFTER_SECONDS:
            if (
                self._problem is None
                or ban.until_ms > self._until_ms + NOTICE_AFTER_SECONDS * 1_000
            ):
                self._until_ms = ban.until_ms
                self._problem = _make_problem(format_ban_line(name, ban))
        elif self._problem is None and now - self._since >= NOTICE_AFTER_SECONDS:
            refused = f"{name} has refused requests for {NOTICE_AFTER_SECONDS:g} s"
            self._problem = _make_problem(f"{refused}: too many of them (HTTP 429)")
        return self._problem


def _make_problem(reason: str) -> Problem:
    return Problem(reason, RATE_LIMIT_RULE.measure, RATE_LIMIT_RULE.remedy)
