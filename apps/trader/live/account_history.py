"""Executions from before a session, read from the exchange once after the first comparison.

These executions show sales of others since the position was opened, and orders of this database
that it lacks because a backup was restored. An entry waits for them. So does an exit if the account
has coins that belong to no position: the exit might sell those coins. A stop does not wait.
"""

import time
from collections.abc import Set

from onetape.core.clock import format_utc
from trader.brokers.live_records import AccountHistory
from trader.live.book import LiveBook
from trader.live.fills_of_others import find_first_bought_ms
from trader.live.older_orders import OlderOrders
from trader.live.reading_pause import ReadingPause
from trader.states import Problem

#: Source of the problem that the history cannot be read.
HISTORY_PROBLEM = "account history"
#: Measure of a problem while an exit might sell coins of the account that belong to no position.
STOPS_ALONE = "stops go on, and no exit is sent: it might sell coins of the account's own"


class HistoryReading:
    """The executions of one symbol from before the session."""

    def __init__(self, book: LiveBook, older: OlderOrders) -> None:
        """Initialise; nothing is read yet.

        Args:
            book: The orders and fills of the symbol.
            older: Orders that are older than the account.
        """
        self._book = book
        self._older = older
        self._pause = ReadingPause(book.times.read_again)
        self._began = time.monotonic()
        self._since_ms: int | None = None
        self.is_read = False
        """Whether the whole history was read."""
        self.is_compared = False
        """Whether a reading of the account was compared after that."""

    def read_history(
        self, known: Set[str], now_ms: int, *, bars_exits: bool
    ) -> AccountHistory | None:
        """Return the history once, when it was read; until then request it and return None.

        Args:
            known: The exchange's ids of orders whose client order ids are known.
            now_ms: Market time, epoch milliseconds.
            bars_exits: Whether no exit is sent before the history is read.
        """
        book = self._book
        is_reading = book.broker.is_request_running("history", book.context.key.symbol)
        # A history that was requested before everything was built again lacks events up to the
        # first present reading.
        histories = [
            history for history in book.broker.take_histories() if history.begun >= self._began
        ]
        if histories:
            self.is_read = True
            book.states.clear_problem(HISTORY_PROBLEM)
            return histories[-1]
        if self.is_read or is_reading:
            return None
        self._pause.note_ended(book.times.poll)
        if self._pause.is_over:
            self._since_ms = self._since_ms or self._compute_first_ms(now_ms)
            self._pause.note_begun()
            book.broker.read_history(self._since_ms, known)
        self._report(bars_exits=bars_exits)
        return None

    def _compute_first_ms(self, now_ms: int) -> int:
        """Return the time from which executions are read, epoch milliseconds."""
        book, first_ms = self._book, self._older.first_ms
        if first_ms is not None and self._older.is_to_take_over:
            return min(first_ms, now_ms)
        times = [live_order.state.deadline_ms for live_order in book.orders.values()]
        if book.position.is_flat:
            times.append(max((fill.executed_ms for fill in book.fills), default=None))
        else:
            # Coins that others have sold since then may belong to the position.
            times.append(find_first_bought_ms(book))
        found = [moment for moment in times if moment is not None]
        # An execution dated ahead must not hide executions that arrive until then.
        return min(*(found or [now_ms if first_ms is None else first_ms]), now_ms)

    def _report(self, *, bars_exits: bool) -> None:
        """Report a problem if the history is still not read after `history_unread` seconds."""
        book = self._book
        if self._since_ms is None or time.monotonic() - self._began < book.times.history_unread:
            return
        fault = book.broker.history_fault.partition("; ")[0]
        book.states.report(
            HISTORY_PROBLEM,
            Problem(
                f"executions since {format_utc(self._since_ms // 1_000)} are not read yet"
                f"{f': {fault}' if fault else ''}",
                f"no entries meanwhile; {STOPS_ALONE if bars_exits else 'stops and exits go on'}",
                "check the network and the API key, if this lasts",
            ),
        )
