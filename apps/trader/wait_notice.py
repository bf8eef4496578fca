"""Degrades the trader while no candle can be decided on: none is stored, one is late, or a gap."""

import time
from typing import Final

from onetape.core.clock import format_utc
from onetape.store.candles import is_proven_closed, read_last_closed_timestamp
from trader.evaluator.stand_in import is_loading
from trader.gap_backfiller import NEVER, GapBackfiller
from trader.session_context import SessionContext
from trader.states import Problem

#: Name under which the problem is reported to the trader's states.
CANDLES_PROBLEM: Final = "candles"

#: Time that a candle must be overdue before it is a problem, wall seconds.
NOTICE_AFTER_SECONDS: float = 15.0
#: The reasons why no candle is decided on.
NOTHING: Final = "nothing stored"
LATE: Final = "a late candle"
GAP: Final = "a gap"
UNDECIDED: Final = "no signals"
#: Measure and remedy of the problem, by reason; of other reasons `_FETCHING`.
_FETCHING: Final = (
    "no entries meanwhile, stops go on; it is fetched again and again",
    "look at the status page of the exchange, if this lasts",
)
_MEASURES: Final = {
    UNDECIDED: (
        "no entries meanwhile, stops go on; the next candle is tried, too",
        "see what is printed about the strategy, and make it faster or correct it",
    )
}


class WaitNotice:
    """Finds the reason why no candle of one symbol is decided on."""

    def __init__(self, context: SessionContext, gap_backfiller: GapBackfiller) -> None:
        """Initialise without a reason.

        Args:
            context: Context of the traded symbol.
            gap_backfiller: Shows which candle is due, and which rows of REST were refused.
        """
        self._context = context
        self._gap_backfiller = gap_backfiller
        self._since: dict[tuple[str, bool], float] = {}
        """Time when each reason was first found since the last decision, monotonic seconds.

        A key is a reason, and whether rows of REST were refused.
        """
        self._problems: dict[tuple[str, bool], Problem] = {}
        """Problems that were returned since the last decision, oldest first, by their reason."""

    def find_problem(self, decided: int | None) -> Problem | None:
        """Return the problem that no candle is decided on, if it has lasted 15 s; None otherwise.

        Args:
            decided: Open of the candle that was decided on last, epoch seconds, or None.
        """
        kind = self._find_wait_kind(decided)
        if kind is None:
            self._since.clear()
            self._problems.clear()
            return None
        now = time.monotonic()
        reason = (kind, bool(self._gap_backfiller.refused))
        since = self._since.setdefault(reason, now)
        has_lasted = kind == NOTHING or now - since >= NOTICE_AFTER_SECONDS
        if has_lasted and reason not in self._problems:
            self._problems[reason] = Problem(
                f"no decision: {self._describe_wait(kind, decided)}",
                *_MEASURES.get(kind, _FETCHING),
            )
        # A repeated reason is not printed again.
        return next(reversed(self._problems.values()), None)

    def _find_wait_kind(self, decided: int | None) -> str | None:
        context = self._context
        newest = read_last_closed_timestamp(context.store, context.key, NEVER)
        if newest is None:
            return NOTHING
        if is_loading(context.evaluator):
            # The candles wait for the strategy, not for the exchange.
            return None
        if decided is None or decided >= self._gap_backfiller.compute_newest_due():
            return None
        following = context.timeframe.next(decided)
        if is_proven_closed(context.store, context.key, following):
            return UNDECIDED
        return GAP if newest > decided else LATE

    def _describe_wait(self, kind: str, decided: int | None) -> str:
        """Return the reason of a kind as a text, with the rows that REST refused."""
        context, refused = self._context, self._gap_backfiller.refused
        if kind == NOTHING or decided is None:
            why = refused or "the exchange has returned none yet"
            return f"no closed candle of {context.key} is stored: {why}"
        absent = format_utc(context.timeframe.next(decided))
        why = f": {refused}" if refused else ""
        if kind == UNDECIDED:
            return f"the candle of {absent} is stored, and the strategy has no signals for it yet"
        if kind == GAP:
            return f"the candle of {absent} is missing and not proven absent{why}"
        return f"the candle of {absent} ended and the exchange has not returned it{why}"
