"""Finds exits of the open position while the database cannot be written.

The prices of the stream are compared with stop and target, and the strategy is evaluated on the
candles that close. Candles of stream and REST go to a copy of the newest candles in memory, by the
same rules as to the database. An exit is stored in the exit journal; it becomes an obligation of
the position once the database can be written, in this session or in the next one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Final

from msgspec import structs

from onetape.cli.output import print_line
from onetape.core.candles import Candle
from onetape.core.errors import StoreError
from onetape.exchange.rest import RestExchange
from onetape.store.candles import read_last_closed_timestamp
from onetape.store.ledger import read_last_decided
from onetape.store.memory import MemoryStore, copy_to_memory
from onetape.strategies import SELL
from onetape.websocket.events import CandleUpdate, StreamEvent, StreamLost
from trader.evaluations import EvaluatedCandle, Evaluations
from trader.gap_backfiller import NEVER, GapBackfiller
from trader.higher_window import compute_first_traded, compute_higher_starts
from trader.informative_fetchers import InformativeFetchers, InputWait
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.stream_recorder import StreamRecorder
from trader.supervisor import Supervisor
from trader.window import find_next_candles

#: Time between two checks whether the strategy can be evaluated, and between requests, seconds.
CHECK_SECONDS: Final = 1.0


class ExitWatch:
    """Finds exits of one symbol, and stores them in the journal; it runs in the trading thread."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        supervisor: Supervisor,
        states: TraderStates,
        events: Callable[[], AsyncGenerator[StreamEvent]],
        runner: Callable[[], RuleRunner | None],
    ) -> None:
        """Initialise; nothing is read yet.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange that closes candles over REST.
            supervisor: Runs the tasks of the watch.
            states: States of the trader, which get problems of the strategy.
            events: Returns the events of the stream; called once for each task that reads them.
            runner: Returns the rules as they were when the file could last be written; None: they
                have not been built yet.
        """
        self._context = context
        self._exchange = exchange
        self._supervisor = supervisor
        self._states = states
        self._events = events
        self._runner = runner

    async def run(self) -> None:
        """Find exits until cancelled.

        Raises:
            Exception: an error of a task; `run` may be called again.
        """
        await self._supervisor.run_tasks(
            {"levels": self._watch_levels(), "strategy": self._watch_strategy()}
        )

    async def _watch_levels(self) -> None:
        async with contextlib.aclosing(self._events()) as events:
            async for event in events:
                for row in event.rows if isinstance(event, CandleUpdate) else ():
                    self._save_level_exit(row)

    def _save_level_exit(self, row: Candle) -> None:
        runner = self._runner()
        line = None if runner is None else runner.journal_exits.save_level_exit(row)
        if line is not None:
            print_line(line)

    async def _watch_strategy(self) -> None:
        """Evaluate the strategy on each candle that closes while a position is open."""
        copied = self._copy_candles()
        while copied is None:
            await asyncio.sleep(CHECK_SECONDS)
            copied = self._copy_candles()
        with copied as store:
            context, exchange = structs.replace(self._context, store=store), self._exchange
            gap_backfiller = GapBackfiller(context, exchange)
            recorder = StreamRecorder(context, exchange, gap_backfiller)
            evaluations = Evaluations(context, exchange, self._states, gap_backfiller.closed.set)
            fetchers = InformativeFetchers([context], exchange)
            fetchers.wake_at_candles(context.key.symbol, gap_backfiller.closed.set)
            repeat = self._supervisor.repeat
            await self._supervisor.run_tasks(
                {
                    "candles": repeat("stream", partial(self._record, recorder), solves=False),
                    "REST": repeat(
                        "REST", partial(_close_overdue, gap_backfiller, recorder), solves=False
                    ),
                    "decisions": self._decide(
                        context, gap_backfiller, evaluations, InputWait(context, fetchers)
                    ),
                    **fetchers.make_tasks(context.key.symbol, self._supervisor),
                }
            )

    def _copy_candles(self) -> MemoryStore | None:
        """Return a copy of the candles that the strategy needs; None if no decision is possible.

        No decision is possible without a position or a closed candle, or if the file cannot be read
        either.
        """
        runner, context = self._runner(), self._context
        if runner is None or not runner.journal_exits.has_position:
            return None
        try:
            newest = read_last_closed_timestamp(context.store, context.key, NEVER)
            if newest is None:
                return None
            decided = read_last_decided(context.store, context.session) or newest
            start = min(
                context.timeframe.shift(decided, -context.history),
                compute_first_traded(context, newest),
                decided,
            )
            series = [
                (context.key, start),
                *compute_higher_starts(context, context.timeframe.shift(start, -1)),
            ]
            return copy_to_memory(context.store, series)
        except StoreError:
            return None

    async def _record(self, recorder: StreamRecorder) -> None:
        try:
            async with contextlib.aclosing(self._events()) as events:
                async for event in events:
                    if isinstance(event, CandleUpdate | StreamLost):
                        await recorder.handle(event)
        finally:
            await recorder.close()

    async def _decide(
        self,
        context: SessionContext,
        gap_backfiller: GapBackfiller,
        evaluations: Evaluations,
        input_wait: InputWait,
    ) -> None:
        """Evaluate the candles that close, and store a SELL in the journal, until cancelled."""
        decided = read_last_decided(self._context.store, context.session)
        try:
            while True:
                gap_backfiller.closed.clear()
                for found in evaluations.take():
                    decided = found.timestamp
                    self._save_sell(found)
                fresh = [] if evaluations.is_running else find_next_candles(context, decided)
                if fresh and not input_wait.must_wait(fresh[-1]):
                    evaluations.start(fresh, is_repeated=False)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await gap_backfiller.closed.wait()
        finally:
            await evaluations.stop()

    def _save_sell(self, found: EvaluatedCandle) -> None:
        runner = self._runner()
        if runner is None or found.choose_exit_signal(self._context.strategy.lookback) != SELL:
            return
        line = runner.journal_exits.save_sell(found.candle, found.view.holding)
        if line is not None:
            print_line(line)


async def _close_overdue(gap_backfiller: GapBackfiller, recorder: StreamRecorder) -> None:
    """Fetch over REST the candles that the stream has not marked as closed."""
    await gap_backfiller.close_overdue()
    await recorder.catch_up()
    await asyncio.sleep(CHECK_SECONDS)
