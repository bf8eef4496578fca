"""Exits that only the journal has: stored once their position is known, dropped once it is closed.

A position may not be booked yet when its exit is read from the journal: one of its orders has no
response, or a backup of the database was restored and the orders are taken over from the exchange.
"""

from onetape.cli.output import print_line
from onetape.store.leases import Fence
from onetape.store.obligations import is_obligation_stored, restore_obligation
from trader.executor import Executor
from trader.exit_journal import ExitJournal
from trader.session_context import SessionContext


class JournalEntries:
    """The exits of one symbol's journal that are not in the database."""

    def __init__(
        self, context: SessionContext, journal: ExitJournal, executor: Executor, fence: Fence
    ) -> None:
        """Initialise; nothing is read or stored yet.

        Args:
            context: Context of the traded symbol.
            journal: Keeps the exits until they are stored, or their position is closed.
            executor: Has the position.
            fence: The lease of account and symbol.
        """
        self._context = context
        self._journal = journal
        self._executor = executor
        self._fence = fence

    def restore(self) -> None:
        """Store the exits of the open position; drop those whose position is closed.

        Call this method repeatedly: the watch of exits adds to the journal while the database
        cannot be written, also shortly before everything is built again.

        Raises:
            SafetyRefusal: another process trades the account.
            StoreError: the file cannot be read or written.
        """
        if not self._journal.has_entries:
            return
        store, entry = self._context.store, self._executor.entry_order_id
        is_known = self._executor.is_position_known
        for one in self._journal.read_entries():
            if one.entry_order_id == entry:
                if restore_obligation(store, one, self._fence):
                    print_line(f"exit from the journal, pending now: {one.reason}")
            elif not is_known and not is_obligation_stored(store, one.obligation):
                # An order that is not booked yet may have opened the position of the exit.
                continue
            self._journal.remove(one.obligation)
