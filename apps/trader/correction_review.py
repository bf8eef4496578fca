"""Evaluates past decisions again, so that no exit is lost to a wrong candle or to a late strategy.

A decision is marked for it if its candles were corrected, or if the strategy returned no signal.
The result never enters a position. If it is SELL, and the position that was open at the decision is
still open, that position is sold.
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
from trader.higher_window import find_late_markets
from trader.session_context import SessionContext
from trader.window import MOST_ROWS

#: Effect of a correction that closes no position.
NO_ORDER: Final = "nothing is ordered"
_NAMES = {BUY: "BUY", SELL: "SELL"}


class CorrectionReview:
    """Evaluates marked decisions of one symbol again, oldest first, without waiting for it."""

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
            evaluations: Runs the strategy for this object only.
            require_exit: Called if a decision is SELL now, with the open of its candle (epoch
                seconds) and the reason; returns whether the open position is sold for it.
            on_start: Called when an evaluation of corrected candles starts.
        """
        self._context = context
        self._evaluations = evaluations
        self._require_exit = require_exit
        self._on_start = on_start
        self._under_review: list[CorrectedDecision] = []
        """The decisions that the running evaluation is about."""
        self._failed_at: int | None = None
        """Last decided candle when an evaluation failed; a later one allows another attempt."""

    def collect_lines(self, decided: int | None, *, can_start: bool) -> list[str]:
        """Return a line for each decision whose signal changed; start the next evaluation.

        Args:
            decided: Open of the candle that was decided on last, epoch seconds, or None.
            can_start: Whether an evaluation may start, because no new candle waits for one.

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
            failed: Open of the candle without a signal, epoch seconds.
        """
        self._failed_at = failed

    async def stop(self) -> None:
        """End the evaluation that is running."""
        await self._evaluations.stop()

    def _start(self, decided: int | None) -> None:
        """Start to evaluate the marked decisions, up to the first unexplained gap."""
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
        if find_late_markets(context, end):
            return
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
