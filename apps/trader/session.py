"""The session of one symbol: builds its tasks (stream, REST, decisions, orders ...) and runs them.

The tasks build their memory from the database each time that they begin, so a session recovers from
an error of the file, or an unforeseen one, as from a kill.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Generator
from functools import partial

from onetape.cli.events import EventLevel, add_event_fields, log_event
from onetape.cli.output import prefix_lines, print_line
from onetape.cli.stop import StopRequest
from onetape.core.errors import ConfigurationError, OnetapeError, SafetyRefusal, StoreError
from onetape.core.message_text import format_count, format_error
from onetape.exchange.rest import RestExchange
from onetape.store.leases import make_lease_name
from onetape.store.ledger import read_last_decided
from onetape.store.sessions import close_data_outages, end_session
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost
from trader import decision_loop
from trader.account_context import AccountContext
from trader.clock_watch import ClockWatch
from trader.control_watch import ControlWatch
from trader.decision_lines import format_closing_line, format_opening_lines
from trader.executor import Executor
from trader.exit_journal import ExitJournal
from trader.exit_orders import ExitOrders
from trader.exit_watch import ExitWatch
from trader.gap_backfiller import GapBackfiller
from trader.idle_commands import show_commands_while_idle
from trader.informative_fetchers import InformativeFetchers
from trader.journal_entries import JournalEntries
from trader.lease import Lease
from trader.live.executors import drive_orders, make_executor, settle_orders
from trader.live.interim_orders import InterimOrders
from trader.market_status import MarketStatus
from trader.monitoring.heartbeat import note_heartbeat
from trader.rate_limit_notice import RateLimitNotice
from trader.rest_price import RestPrice
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.strategy_runner import StrategyRunner
from trader.stream import MarketStreams
from trader.stream_recorder import StreamRecorder
from trader.supervisor import Supervisor
from trader.warm_up import WarmUp

#: Longest pause between two requests while REST refuses them, wall seconds.
LONGEST_REST_PAUSE_SECONDS = 3.0
#: Maximum time that a write waits for another process, wall seconds; then the trader is degraded.
WRITE_TIMEOUT_SECONDS = 1.0
#: Maximum time that a write waits at the end of a session, wall seconds.
END_WRITE_TIMEOUT_SECONDS = 0.5


class TradingSession:
    """One trading session: its tasks are built from the database, and again after an error."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        lease: Lease,
        streams: MarketStreams,
        account_context: AccountContext,
        states: TraderStates,
        notes: list[str],
        fetchers: InformativeFetchers,
    ) -> None:
        """Initialise; nothing runs before `run`.

        Args:
            context: Context of the traded symbol.
            exchange: Open exchange.
            lease: Lease of account and symbol.
            streams: Streams of the markets that the process trades.
            account_context: Objects that the sessions of the account share.
            states: States of this session.
            notes: Lines to print after the opening lines.
            fetchers: Fetch candles of other markets for all sessions of the account.
        """
        self._context = context
        self._exchange = exchange
        self._lease = lease
        self._streams = streams
        self._account_context = account_context
        self._states = states
        self._supervisor = Supervisor(states)
        streams.probe.on_recovery.append(self._supervisor.end_pauses)
        self._clock_watch = ClockWatch(exchange, states)
        self._notes = notes
        self._fetchers = fetchers
        self._executor: Executor | None = None
        self._rule_runner: RuleRunner | None = None
        self._journal = ExitJournal(
            context.store.path, make_lease_name(context.session.account, context.key.symbol)
        )
        if self._journal.fault:
            notes.append(f"exits cannot be stored on a full disk: {self._journal.fault}")
        self._exit_watch = ExitWatch(
            context,
            exchange,
            self._supervisor,
            states,
            self._iterate_events,
            lambda: self._rule_runner,
        )
        self._is_open = False
        """Whether the opening lines are printed."""
        self._is_built = False
        """Whether the tasks of the session are built or run."""
        self._interim = InterimOrders(
            context,
            exchange,
            lease,
            account_context.funds,
            states,
            self._journal,
            is_session_built=lambda: self._is_built,
            note_built=self._take_executor,
        )

    async def run(self, stop: StopRequest) -> None:
        """Trade until the stop, then store and print the reason of the end.

        Raises:
            OnetapeError: an error that ends the trader (`supervisor.ERROR_RULES`).
        """
        session = self._context.session
        with (
            prefix_lines(self._context.prefix),
            add_event_fields(account=session.account, symbol=session.symbol),
        ):
            log_event(
                "session", f"session started with {session.strategy}", session=session.session
            )
            await self._run(stop)

    async def _run(self, stop: StopRequest) -> None:
        """Run the tasks under the supervisor until the stop or an error, then store the end."""
        context = self._context
        for number, ban in enumerate(context.entry_bans, 1):
            self._states.report(f"start {number}", ban)
        context.store.lock_timeout_seconds = min(
            context.store.lock_timeout_seconds, WRITE_TIMEOUT_SECONDS
        )
        reason = "an error"
        try:
            await stop.run_unless_stopped(
                self._supervisor.run(self._trade, self._run_exits_and_commands)
            )
            reason = stop.name
        except Exception as error:
            reason = str(error) if isinstance(error, OnetapeError) else type(error).__name__
            if isinstance(error, SafetyRefusal):
                # Another process trades the account now, and decides by itself.
                self._journal.clear()
            raise
        finally:
            try:
                await self._settle()
            finally:
                # Also if an error interrupts the settling of the orders.
                self._end(reason)
            level: EventLevel = "INFO" if stop.name else "ERROR"
            log_event("session", f"session ended: {reason}", level=level, reason=reason)
            if self._executor is not None:
                print_line(format_closing_line(context, self._executor, stop.name or "an error"))
            self._journal.close()

    async def _trade(self) -> None:
        """Build the tasks of the session from the stored state, and run them until one fails."""
        self._is_built = True
        try:
            await self._build_and_run()
        finally:
            self._is_built = False

    def _take_executor(self, executor: Executor) -> None:
        """Take the executor that has the present orders; earlier ones are not used any more."""
        self._executor = executor

    async def _build_and_run(self) -> None:
        """Build the tasks of the session from the stored state, and run them until one fails."""
        context, exchange, lease = self._context, self._exchange, self._lease
        # If the file cannot be written, nothing is sent to the exchange.
        lease.renew()
        self._executor = executor = make_executor(
            context, lease.fence, self._account_context.funds, exchange, self._states
        )
        journal = JournalEntries(context, self._journal, executor, lease.fence)
        journal.restore()
        self._resume(executor)
        gap_backfiller = GapBackfiller(context, exchange)
        recorder = StreamRecorder(context, exchange, gap_backfiller)
        # With a position open, the candles since the last decision are checked for an exit.
        since = (
            read_last_decided(context.store, context.session) if executor.entry_order_id else None
        )
        warm_up = WarmUp(gap_backfiller, since)
        orders = ExitOrders(context, exchange, executor, lease, recorder, self._journal)
        rule_runner = self._rule_runner = RuleRunner(
            context, exchange, executor, orders, recorder, self._account_context.rules
        )
        strategy_runner = StrategyRunner(
            context,
            exchange,
            recorder,
            executor,
            lease,
            rule_runner,
            orders,
            self._states,
            gap_backfiller.closed.set,
            self._fetchers,
        )
        self._fetchers.wake_at_candles(context.key.symbol, gap_backfiller.closed.set)
        await self._supervisor.run_tasks(
            {
                "stream": self._supervisor.repeat(
                    "stream", partial(self._watch, recorder, warm_up), solves=False
                ),
                "REST": self._supervisor.repeat(
                    "REST",
                    partial(
                        self._close_candles,
                        warm_up,
                        gap_backfiller,
                        recorder,
                        executor,
                        rule_runner,
                    ),
                    solves=False,
                    longest_pause=self._compute_longest_rest_pause,
                ),
                "market": self._supervisor.repeat(
                    "market status",
                    MarketStatus(context, exchange, recorder, executor, lease, self._states).check,
                ),
                "controls": self._supervisor.repeat(
                    "controls",
                    ControlWatch(
                        context, exchange, orders, rule_runner, self._states, self._account_context
                    ).carry_out_commands,
                ),
                "price": self._supervisor.repeat(
                    "price over REST",
                    RestPrice(
                        context, exchange, recorder, orders, rule_runner, self._states
                    ).fill_if_stream_down,
                ),
                "clock": self._supervisor.repeat("clock comparison", self._compare_clocks),
                "probe": self._supervisor.repeat("probe", partial(self._probe_rest, recorder)),
                "orders": self._supervisor.repeat(
                    "orders",
                    partial(
                        drive_orders,
                        context,
                        executor,
                        rule_runner,
                        exchange,
                        lease,
                        gap_backfiller.closed.set,
                    ),
                ),
                "lease": self._supervisor.repeat("lease", partial(self._renew, journal)),
                **self._fetchers.make_tasks(context.key.symbol, self._supervisor),
                "strategy": decision_loop.run_decisions(
                    warm_up,
                    recorder,
                    gap_backfiller,
                    executor,
                    strategy_runner,
                    lease,
                    rule_runner,
                    orders,
                    self._account_context.pending,
                    self._supervisor,
                    RateLimitNotice(exchange, gap_backfiller),
                ),
            }
        )

    async def _run_exits_and_commands(self) -> None:
        """Find exits, print commands, and drive real orders, until the tasks run again."""
        await self._supervisor.run_tasks(
            {
                "orders": self._supervisor.keep_running(self._interim.drive),
                "exits": self._exit_watch.run(),
                "commands": show_commands_while_idle(
                    self._context, self._account_context.commands, self._states
                ),
            }
        )

    def _resume(self, executor: Executor) -> None:
        """Continue the exits that an earlier session left open, and cancel its orders to buy."""
        cancelled = executor.resume(self._exchange.now_ms(), "the session that placed it ended")
        if not cancelled:
            return
        orders = f"{format_count(cancelled, 'order')} to buy"
        if self._is_open:
            print_line(f"cancelled without a fill: {orders} from before the error")
        else:
            self._notes.append(f"cancelled without a fill: {orders} of a session that was killed")

    async def _close_candles(
        self,
        warm_up: WarmUp,
        gap_backfiller: GapBackfiller,
        recorder: StreamRecorder,
        executor: Executor,
        rule_runner: RuleRunner,
    ) -> None:
        """Fetch the warm-up until that succeeds, then close candles that the stream leaves open."""
        if not warm_up.done.is_set():
            new_candles = await warm_up.fetch()
            if new_candles and executor.entry_order_id is not None:
                # The rules were built before these candles were stored.
                rule_runner.note_correction()
            self._open(executor, new_candles, gap_backfiller.refused)
        await decision_loop.close_candles(gap_backfiller, recorder, self._supervisor)

    def _compute_longest_rest_pause(self) -> float:
        """Return the longest pause between two requests, seconds; it ends with a ban."""
        left = self._exchange.get_banned_seconds()
        return min(left, LONGEST_REST_PAUSE_SECONDS) if left > 0 else LONGEST_REST_PAUSE_SECONDS

    def _open(self, executor: Executor, new_candles: int, refused: str) -> None:
        """Print the opening lines of the session, once."""
        if self._is_open:
            return
        self._is_open = True
        opening = format_opening_lines(
            self._context, self._exchange, executor, new_candles, refused
        )
        for line in (*opening, *self._notes):
            print_line(line)

    async def _watch(self, recorder: StreamRecorder, warm_up: WarmUp) -> None:
        """Pass the events of the stream to the recorder, until an error."""
        # An attempt only: the prices of the stream are needed where REST returns no candles, too.
        await warm_up.tried.wait()
        try:
            async with contextlib.aclosing(self._iterate_events()) as events:
                async for event in events:
                    await recorder.handle(event)
                    # Only candles without an earlier gap prove that stream and REST both work.
                    if isinstance(event, CandleUpdate) and recorder.live:
                        self._supervisor.note_success("stream")
        except StoreError:
            # Everything is built again from the file, with a recorder that has seen no price.
            raise
        except Exception as error:
            # Until this task runs again, no price of the stream is known, so no sale may use one.
            await recorder.handle(StreamLost(format_error(error).partition("; ")[0]))
            raise
        finally:
            await recorder.close()

    def _iterate_events(self) -> AsyncGenerator[StreamEvent]:
        return self._streams.events(self._context.key)

    async def _compare_clocks(self) -> None:
        await self._clock_watch.compare_if_due()
        await asyncio.sleep(decision_loop.LOOP_SECONDS)

    async def _probe_rest(self, recorder: StreamRecorder) -> None:
        if not recorder.live and not recorder.is_quiet:
            await self._streams.probe.send_if_due()
        await asyncio.sleep(decision_loop.LOOP_SECONDS)

    async def _renew(self, journal: JournalEntries) -> None:
        self._lease.renew()
        journal.restore()
        note_heartbeat(self._context.session.account, self._context.key.symbol, self._states.state)
        self._states.remind()
        await asyncio.sleep(decision_loop.LOOP_SECONDS)

    async def _settle(self) -> None:
        """Wait a moment for orders that were sent, and protect the coins that they have bought."""
        if sys.exception() is not None and isinstance(sys.exception(), SafetyRefusal):
            return
        with report_end_errors(self._context):
            if not await settle_orders(self._executor, self._exchange, self._lease):
                print_line(
                    "an order is on its way, or a position has no stop at the exchange; the next "
                    "session looks up the outcome first"
                )

    def _end(self, reason: str) -> None:
        """Store the end of the session, and cancel an order to buy that was not sent."""
        context, now_ms = self._context, self._exchange.now_ms()
        with report_end_errors(context):
            close_data_outages(context.store, context.session.session, to_ms=now_ms)
            end_session(context.store, context.session.session, ended_ms=now_ms, reason=reason)
            executor = self._executor
            if executor is None:
                return
            cancelled = executor.cancel_entry(now_ms, f"session ended by {reason}")
            if cancelled is not None:
                print_line(cancelled)
            if executor.open_order is not None:
                print_line(
                    "the order to sell stays open: the next session fills it at its first price"
                )


@contextlib.contextmanager
def report_end_errors(context: SessionContext, *, is_silent: bool = False) -> Generator[None]:
    """Print, instead of raising, an error of the block, which stores the end of a session.

    Nothing is printed if another error ends the session already. A write waits for another process
    for a moment only, because a stop should not take long; the next session of the account stores
    what is missing.

    Args:
        context: Context of the traded symbol.
        is_silent: Whether nothing is printed, because the error was printed before.
    """
    context.store.lock_timeout_seconds = min(
        context.store.lock_timeout_seconds, END_WRITE_TIMEOUT_SECONDS
    )
    ending = sys.exception()
    try:
        yield
    except (StoreError, ConfigurationError, SafetyRefusal) as error:
        if ending is None and not is_silent:
            print_line(f"the end of the session is not stored; the next one stores it: {error}")
