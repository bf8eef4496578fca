"""Copies exits of the exit journal into the database once their position is known.

An exit whose position is closed is dropped. A position may not be booked yet when its exit is read
from the journal: one of its orders has no response, or a backup of the database was restored and
the orders are taken over from the exchange.
"""

from onetape.cli.output import print_line
from onetape.store.leases import Fence
from onetape.store.obligations import is_obligation_stored, restore_obligation
from trader.executor import Executor
from trader.exit_journal import ExitJournal
from trader.session_context import SessionContext


class JournalEntries:
    """Copies the exits of one symbol's journal into the database."""

    def __init__(
        self, context: SessionContext, journal: ExitJournal, executor: Executor, fence: Fence
    ) -> None:
        """Initialise; nothing is read or stored yet.

        Args:
            context: Context of the traded symbol.
            journal: Journal whose exits are copied, and removed from it then.
            executor: Executor of the symbol, with the position.
            fence: The lease of account and symbol.
        """
        self._context = context
        self._journal = journal
        self._executor = executor
        self._fence = fence

    def restore(self) -> None:
        """Store the exits of the open position; drop those whose position is closed.

        Call it repeatedly: `exit_watch` adds exits to the journal until the session's tasks run
        again.

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
