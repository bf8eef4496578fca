"""Reason why a trader decides on no candle: a problem that degrades the trader while it lasts."""

import time
from typing import Final

from onetape.core.clock import format_utc
from onetape.store.candles import read_last_closed_timestamp
from trader.gap_backfiller import NEVER, GapBackfiller
from trader.session_context import SessionContext
from trader.states import Problem

#: Source of the problem.
CANDLES: Final = "candles"

#: Lateness of a candle that ended before its absence is printed, wall seconds.
NOTICE_AFTER_SECONDS: float = 15.0
#: Kinds of reasons.
NOTHING: Final = "nothing stored"
LATE: Final = "a late candle"
GAP: Final = "a gap"


class WaitNotice:
    """Finds the reason why a candle that ended is not decided on."""

    def __init__(self, context: SessionContext, gap_backfiller: GapBackfiller) -> None:
        """Begin without a reason.

        Args:
            context: Context of the traded symbol.
            gap_backfiller: Has the candles that REST returned, and the refused rows.
        """
        self._context = context
        self._gap_backfiller = gap_backfiller
        self._since: dict[tuple[str, bool], float] = {}
        """Time when each reason was first found since the last decision, monotonic seconds."""
        self._problems: dict[tuple[str, bool], Problem] = {}
        """Found since the last decision, oldest first."""

    def find_problem(self, decided: int | None) -> Problem | None:
        """Return the reason why no candle is decided on, if that has lasted; None otherwise.

        Args:
            decided: The candle that was decided on last, epoch seconds, or None.
        """
        kind = self._find_wait_kind(decided)
        if kind is None:
            self._since.clear()
            self._problems.clear()
            return None
        now = time.monotonic()
        reason = (kind, bool(self._gap_backfiller.refused))
        since = self._since.setdefault(reason, now)
        is_over = kind == NOTHING or now - since >= NOTICE_AFTER_SECONDS
        if is_over and reason not in self._problems:
            self._problems[reason] = Problem(
                f"no decision: {self._describe_wait(kind, decided)}",
                "no entries meanwhile, stops go on; it is fetched again and again",
                "look at the status page of the exchange, if this lasts",
            )
        # A repeated reason is not printed again.
        return next(reversed(self._problems.values()), None)

    def _find_wait_kind(self, decided: int | None) -> str | None:
        context = self._context
        newest = read_last_closed_timestamp(context.store, context.key, NEVER)
        if newest is None:
            return NOTHING
        if decided is None or decided >= self._gap_backfiller.compute_newest_due():
            return None
        return GAP if newest > decided else LATE

    def _describe_wait(self, kind: str, decided: int | None) -> str:
        context, refused = self._context, self._gap_backfiller.refused
        if kind == NOTHING or decided is None:
            why = refused or "the exchange has returned none yet"
            return f"no closed candle of {context.key} is stored: {why}"
        absent = format_utc(context.timeframe.next(decided))
        why = f": {refused}" if refused else ""
        if kind == GAP:
            return f"the candle of {absent} is missing and not proven absent{why}"
        return f"the candle of {absent} ended and the exchange has not returned it{why}"
