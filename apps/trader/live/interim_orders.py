"""Stop and pending exits of a live position while the session cannot be built again.

An unforeseen error ends all tasks of a session, which are built again from the database after a
pause (`supervisor`). The next session may raise the same error at once, again and again, before it
has read the account. So the orders are driven in the pauses too, without the rules of the session:
a resting stop stays, a position without one gets the stop of its entry, and pending exits are sent.
Entries are made by the session alone.
"""

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal

from onetape.cli.output import print_line
from onetape.core.trading import ExitCause
from onetape.exchange.rest import RestExchange
from onetape.store.reading import read_newest_row
from trader.account_funds import AccountFunds
from trader.control_state import format_pause, read_control_state
from trader.exit_journal import ExitJournal
from trader.exit_orders import ExitOrders
from trader.gap_backfiller import GapBackfiller
from trader.journal_entries import JournalEntries
from trader.lease import Lease
from trader.live.executors import DRIVE_SECONDS, make_executor
from trader.live.live_executor import LiveExecutor
from trader.session_context import SessionContext
from trader.states import DATABASE, TraderStates
from trader.stream_recorder import StreamRecorder


class InterimOrders:
    """Drives the orders of one symbol between an error and the next session; real orders only."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        lease: Lease,
        funds: AccountFunds,
        states: TraderStates,
        journal: ExitJournal,
        *,
        is_session_built: Callable[[], bool],
        note_built: Callable[[LiveExecutor], None],
    ) -> None:
        """Initialise; nothing is read or sent.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates requests.
            lease: Lease of account and symbol; it is renewed before anything is sent.
            funds: The money of the account.
            states: States of the trader, which get problems of the orders.
            journal: Exits that were found meanwhile.
            is_session_built: Returns whether the tasks of the session run, which then drive the
                orders.
            note_built: Called with each executor that is built: it has the present orders.
        """
        self._context = context
        self._exchange = exchange
        self._lease = lease
        self._funds = funds
        self._states = states
        self._journal = journal
        self._is_session_built = is_session_built
        self._note_built = note_built

    async def drive(self) -> None:
        """Drive the orders in each pause until cancelled; on paper nothing is done.

        While the database file cannot be used, nothing is sent, because nothing can be stored.

        Raises:
            StoreError: the file cannot be read or written; this may be called again.
            SafetyRefusal: another process trades the account; the next session ends with it.
        """
        if self._context.broker is None:
            await asyncio.Event().wait()
        while True:
            if self._is_barred:
                await asyncio.sleep(DRIVE_SECONDS)
            else:
                await self._drive_in_pause()

    @property
    def _is_barred(self) -> bool:
        """Return whether the session drives the orders, or nothing can be stored."""
        return self._is_session_built() or self._states.has_problem(DATABASE)

    async def _drive_in_pause(self) -> None:
        """Build the orders from the database, and drive them until the session is built."""
        context, exchange, states = self._context, self._exchange, self._states
        self._lease.renew()
        executor = make_executor(context, self._lease.fence, self._funds, exchange, states)
        if not isinstance(executor, LiveExecutor):
            return
        self._note_built(executor)
        # What the rules know of the position is not known here: its resting stop stays.
        executor.set_level_source(lambda: None, lambda: False)
        executor.resume(exchange.now_ms(), "everything is built again")
        recorder = StreamRecorder(context, exchange, GapBackfiller(context, exchange))
        orders = ExitOrders(context, exchange, executor, self._lease, recorder, self._journal)
        executor.set_level_exit(self._make_level_exit(orders))
        journal = JournalEntries(context, self._journal, executor, self._lease.fence)
        while not self._is_barred:
            executor.broker.reported.clear()
            self._step(executor, orders, journal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRIVE_SECONDS):
                    await executor.broker.reported.wait()

    def _step(self, executor: LiveExecutor, orders: ExitOrders, journal: JournalEntries) -> None:
        """Take the steps that are due now; commands that forbid orders hold at once."""
        context = self._context
        self._lease.renew()
        halt = read_control_state(context.store, context.session.account).halt
        orders.halt = None if halt is None else format_pause(halt)
        journal.restore()
        executor.drive(self._exchange.now_ms())
        sent = orders.resend()
        if sent is not None:
            print_line(sent)

    def _make_level_exit(self, orders: ExitOrders) -> Callable[[str, Decimal, str], None]:
        """Return a function that sells because the price over REST has passed the stop, once."""

        def leave(kind: str, level: Decimal, reason: str) -> None:
            if orders.is_exit_pending:
                return
            row = read_newest_row(self._context.store, self._context.key)
            timestamp = 0 if row is None else row.timestamp
            cause: ExitCause = "trailing_stop" if kind == "trailing_stop" else "stop_loss"
            print_line(f"{kind.replace('_', ' ')}: {reason}")
            orders.send_late(*orders.make_exit(cause, timestamp, level, reason))

        return leave
