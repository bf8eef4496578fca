"""Evaluate decisions again, so that no exit is lost to a wrong candle or to a late strategy.

Decisions are evaluated again if their candles were corrected, or if the strategy returned no
signal. The result never enters a position. If it is SELL, and the position that was open at the
decision is still open, that position is sold.
"""

from collections.abc import Callable
from typing import Final

from onetape.core.clock import format_utc
from onetape.execution.risk import OK
from onetape.history.gaps import DECIDING_RESPONSES
from onetape.store.candles import find_series_gaps, read_closed_timestamps
from onetape.store.corrections import (
    CorrectedDecision,
    read_decisions_to_evaluate_again,
    store_correction,
)
from onetape.store.gaps import find_unexplained
from onetape.strategies import BUY, SELL
from trader.evaluations import Evaluations
from trader.session_context import SessionContext
from trader.window import MOST_ROWS

#: Effect of a correction that closes no position.
NO_ORDER: Final = "nothing is ordered"
_NAMES = {BUY: "BUY", SELL: "SELL"}


class CorrectionReview:
    """Evaluates the marked decisions of an account again, oldest first, without blocking."""

    def __init__(
        self,
        context: SessionContext,
        evaluations: Evaluations,
        require_exit: Callable[[int, str], bool],
        *,
        on_start: Callable[[], None],
    ) -> None:
        """Begin without an evaluation.

        Args:
            context: Context of the traded symbol.
            evaluations: Runs the strategy; nothing else uses it.
            require_exit: Called with the open of a candle, epoch seconds, and the reason where the
                decision on it turned into SELL; returns whether the position that is open has to
                be left for it.
            on_start: Called when an evaluation starts, because candles were corrected.
        """
        self._context = context
        self._evaluations = evaluations
        self._require_exit = require_exit
        self._on_start = on_start
        self._under_review: list[CorrectedDecision] = []
        """The decisions that the running evaluation is about."""
        self._failed_at: int | None = None
        """Last decided candle when an evaluation failed; a later candle allows another attempt."""

    def collect_lines(self, decided: int | None, *, can_start: bool) -> list[str]:
        """Return a line for each decision whose signal changed; start the next evaluation.

        Args:
            decided: The candle decided on last, epoch seconds.
            can_start: Whether no decision waits for the strategy.

        Raises:
            StoreError: the file cannot be written; the decision is evaluated again later.
        """
        found = list(self._evaluations.take())
        if any(each.verdict != OK for each in found):
            self._failed_at = decided
            return []
        lines: list[str] = []
        signals = {
            each.timestamp: each.choose_exit_signal(self._context.strategy.lookback)
            for each in found
        }
        for each in self._under_review if signals else []:
            lines += self._settle(each, signals[each.timestamp])
        has_failed = decided is not None and decided == self._failed_at
        if can_start and not self._evaluations.is_running and not has_failed:
            self._start(decided)
        return lines

    def wait_for_next(self, failed: int) -> None:
        """Start no evaluation before the next decision, because the strategy has just failed.

        Args:
            failed: Candle that it returned no signal for, epoch seconds.
        """
        self._failed_at = failed

    async def stop(self) -> None:
        """End the evaluation that is running."""
        await self._evaluations.stop()

    def _start(self, decided: int | None) -> None:
        context = self._context
        marked = read_decisions_to_evaluate_again(
            context.store, context.key, account=context.session.account
        )
        if not marked:
            return
        # Up to the newest candle: a strategy that fails on this candle as the last one may return
        # its signal with later candles.
        first, last = marked[0].timestamp, max(marked[-1].timestamp, decided or 0)
        candles = read_closed_timestamps(
            context.store, context.key, after=first - 1, limit=MOST_ROWS
        )
        gaps = find_series_gaps(context.store, context.key, first, last)
        missing = find_unexplained(context.store, context.key, gaps, responses=DECIDING_RESPONSES)
        end = min(last, missing[0][0] - 1) if missing else last
        together = [opened for opened in candles if opened <= end]
        self._under_review = [each for each in marked if each.timestamp in together]
        if self._under_review:
            if any(each.failure is None for each in self._under_review):
                self._on_start()
            self._evaluations.start(together, is_repeated=True)

    def _settle(self, marked: CorrectedDecision, signal: int) -> list[str]:
        """Store the effect of the correction on a decision; return the line to print, if any."""
        context = self._context
        if signal == marked.signal:
            store_correction(context.store, marked, f"signal {_format_signal(signal)} as before")
            return []
        closed = format_utc(context.timeframe.next(marked.timestamp))
        text = f"signal {_format_signal(marked.signal)} -> {_format_signal(signal)}"
        cause, how = "corrected candle", "on the corrected candles"
        if marked.failure is not None:
            cause, how = marked.failure, f"evaluated again ({marked.failure})"
        effect = NO_ORDER
        if signal == SELL and self._require_exit(marked.timestamp, f"{cause}: {text}"):
            effect = "the position is sold"
        store_correction(context.store, marked, f"{text}: {effect}")
        if marked.failure is not None and effect == NO_ORDER:
            # After an outage there may be a thousand of them.
            return []
        return [f"decision of {closed} {how}: {text}, {effect}"]


def _format_signal(signal: int) -> str:
    return _NAMES.get(signal, "HOLD")
