"""Decides on closed candles: runs the strategy, checks its signal, stores decision and order.

Every closed candle since the last decision is decided on, in order, so that the stored decisions
have no gaps. Each signal must pass the gates: checks that are stored with the decision (`trader
explain` shows them). Only the newest candle can lead to an entry; an exit comes from any of them.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final
from uuid import uuid4

from msgspec import Struct

from onetape.cli.output import print_line
from onetape.core.candles import Candles
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.strategy_levels import LevelRow
from onetape.core.trading import Action, Decision, ExitObligation, Order
from onetape.exchange.rest import RestExchange
from onetape.execution.risk import OK, RiskContext, check_entry, check_exit, find_obstacle
from onetape.store.account_reading import read_last_decision
from onetape.store.candles import (
    read_last_closed,
    read_last_closed_timestamp,
)
from onetape.store.event_reading import UNDECIDED
from onetape.store.ledger import insert_decision, read_last_decided
from onetape.store.orders import read_signal_timestamp
from onetape.store.sessions import open_data_outage
from onetape.strategies import BUY, HOLD, SELL
from trader.correction_review import CorrectionReview
from trader.evaluations import EvaluatedCandle, Evaluations
from trader.evaluator.failures import INPUT_LATE
from trader.evaluator.stand_in import is_loading
from trader.executor import Executor
from trader.exit_orders import ExitOrders
from trader.gap_backfiller import NEVER
from trader.informative_fetchers import InformativeFetchers, InputWait
from trader.lease import Lease
from trader.limit_entries import make_entry_type
from trader.new_orders import make_order
from trader.reentry import find_command_obstacle
from trader.rule_runner import RuleRunner
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.stream_recorder import StreamRecorder
from trader.window import find_next_candles

#: Maximum time that exits of the forming candle wait for the decision before, wall seconds.
EXITS_WAIT_SECONDS: Final = 1.0
#: Maximum time that a BUY waits for the fill of an exit at an exchange, wall seconds: as long as a
#: stop may take to fire, or a sell to be acknowledged.
BUY_WAIT_SECONDS: Final = 10.0


class DecisionReport(Struct, frozen=True):
    """A decision with the facts for its printed line."""

    decision: Decision
    """The decision, as it is stored."""
    candles: Candles
    """Candles of the evaluation; the last one is decided on."""
    strategy_text: str
    """Text of the strategy about the candle; may be empty."""
    blocked: str | None
    """Reason why a signal led to no order; None: nothing blocked the order."""
    wait: str = ""
    """Time from which orders are possible after a gap in the warm-up; empty: no such gap."""
    is_missed: bool = False
    """Whether the candle closed while no session ran, or while the trader could not decide."""

    @property
    def close(self) -> float:
        """Return the close of the candle, quote currency."""
        return float(self.candles.close[-1])


class StrategyRunner:
    """Makes decisions and orders of closed candles; it does not wait for the strategy."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        recorder: StreamRecorder,
        executor: Executor,
        lease: Lease,
        rule_runner: RuleRunner,
        exit_orders: ExitOrders,
        states: TraderStates,
        on_evaluated: Callable[[], None],
        fetchers: InformativeFetchers,
    ) -> None:
        """Continue after the last decision of an earlier session of the account.

        Args:
            context: Context of the traded symbol.
            exchange: Exchange whose clock dates the decisions.
            recorder: Recorder that shows whether the stream is up.
            executor: Executor of the symbol, which sends the orders.
            lease: Lease that is renewed right before an order is stored.
            rule_runner: Rules of the symbol, which check each candle before it is decided on.
            exit_orders: Sends the strategy's exits.
            states: States of the trader; while there is a problem, no position is entered.
            on_evaluated: Called when an evaluation is done, so that `decide_new` is called soon.
            fetchers: Fetch the candles of other markets that the strategy reads.
        """
        self._context = context
        self._lease = lease
        self._exchange = exchange
        self._recorder = recorder
        self._executor = executor
        self._rule_runner = rule_runner
        self._exit_orders = exit_orders
        self._states = states
        self._decided = read_last_decided(context.store, context.session)
        self._missed_until = 0
        """Candles before this open, epoch seconds, closed while no decision was possible."""
        self._missed_because = "no session ran"
        """Reason why no decision was possible then."""
        self._is_first = True
        self._evaluations = Evaluations(context, exchange, states, on_evaluated)
        self._evaluated = deque[EvaluatedCandle]()
        """Evaluated candles without a decision, oldest first."""
        self._input_wait = InputWait(context, fetchers)
        """Holds a decision until the candles of other markets are stored."""
        self._waiting_since: float | None = None
        """Time since which a BUY waits for an exit, monotonic seconds; None: no BUY waits."""
        review = Evaluations(context, exchange, states, on_evaluated)
        self._review = CorrectionReview(
            context, review, self._sell_for_correction, on_start=rule_runner.note_correction
        )

    @property
    def context(self) -> SessionContext:
        """Return the context of the traded symbol."""
        return self._context

    @property
    def decided(self) -> int | None:
        """Return the open of the candle that was decided on last, epoch seconds, or None."""
        return self._decided

    @property
    def started(self) -> int | None:
        """Return the newest candle whose evaluation has started (open, epoch seconds), or None.

        If no candle is being evaluated, that is the last decided candle.
        """
        is_waiting = self._waiting_since is not None
        waiting = self._evaluated[0].timestamp if is_waiting else self._input_wait.candle
        return waiting or self._evaluations.newest or self._decided

    @property
    def exits_watched_after(self) -> int | None:
        """Return the open of the candle after which exits are checked now, epoch seconds, or None.

        Exits in a candle wait for the decision on the candle before it, unless the strategy takes
        longer than exits may wait.
        """
        seconds = max(self._evaluations.seconds, self._input_wait.seconds)
        is_slow = seconds > EXITS_WAIT_SECONDS
        return self.started if is_slow or self._waiting_since is not None else self._decided

    @property
    def is_deciding(self) -> bool:
        """Return whether exits wait for the decision on a closed candle that is being evaluated.

        Exits wait no longer once the strategy takes longer than exits may wait.
        """
        running = self._evaluations
        return running.newest is not None and running.seconds <= EXITS_WAIT_SECONDS

    @property
    def is_input_awaited(self) -> bool:
        """Return whether the next decision waits for a candle of another market."""
        return self._input_wait.candle is not None

    @property
    def is_first(self) -> bool:
        """Return whether no evaluation has started yet."""
        return self._is_first

    def start_next(self) -> bool:
        """Start to evaluate the closed candles to decide on next; return whether there are any.

        No evaluation is started while one is running, while a decision waits, or while a candle of
        another market is waited for.

        Raises:
            StoreError: the file cannot be read or written.
        """
        if self._evaluated or self._evaluations.is_running or self._must_wait_for_input():
            return False
        timestamps, is_repeated = (
            self._find_first_candles() if self._is_first else (self._find_next_candles(), False)
        )
        if not timestamps:
            return False
        self._is_first = False
        self._evaluations.start(timestamps, is_repeated=is_repeated)
        return True

    def _must_wait_for_input(self) -> bool:
        """Return whether the next decision waits for a candle of another market; request it."""
        if not self._context.other_markets:
            return False
        newest = read_last_closed_timestamp(self._context.store, self._context.key, NEVER)
        is_decided = not self._is_first and newest == self._decided
        return newest is not None and not is_decided and self._input_wait.must_wait(newest)

    def decide_new(self) -> Iterator[DecisionReport]:
        """Decide on the candles whose evaluation is done, and yield the decisions.

        The first candle is the newest closed one. If an earlier session of the account decided on
        it, only its line is repeated: a restart never sends the order of a candle again. With a
        position open, the candles that closed while no session ran come first, each checked for an
        exit. Later every candle that closed is decided on, oldest first. Each decision is made when
        the caller takes it, so that an order may be filled before the next one.

        Raises:
            OnetapeError: the strategy failed, it has never been evaluated by this program, and the
                account has no open position or order.
        """
        self._evaluated.extend(self._evaluations.take())
        while self._evaluated:
            found = self._evaluated[0]
            if not found.is_repeated:
                self._rule_runner.watch_closed(found.timestamp)
            if self._is_waiting_for_exit(found):
                return
            self._evaluated.popleft()
            if not found.is_repeated:
                self._decided = found.timestamp
            yield self._make_decision_report(found)

    def _is_waiting_for_exit(self, found: EvaluatedCandle) -> bool:
        """Return whether a BUY must wait for the fill of an exit that was sent to an exchange.

        A stop that ends the position in the candle may be followed by an entry at the next open.
        """
        order = self._executor.open_order
        is_leaving = self._executor.is_live and order is not None and order.side == "sell"
        is_buy = not found.is_repeated and int(found.signals.signal[-1]) == BUY
        if not (is_leaving and is_buy and found.verdict == OK):
            self._waiting_since = None
            return False
        now = time.monotonic()
        since = self._waiting_since = self._waiting_since or now
        wait_seconds = min(BUY_WAIT_SECONDS, self._context.settings.max_signal_age_seconds / 2)
        if now - since < wait_seconds:
            return True
        self._waiting_since = None
        return False

    async def stop(self) -> None:
        """Cancel the evaluations that are running."""
        await self._evaluations.stop()
        await self._review.stop()

    def _find_first_candles(self) -> tuple[list[int], bool]:
        """Return the first candles to decide on, and whether an earlier session decided on them."""
        newest = read_last_closed_timestamp(self._context.store, self._context.key, NEVER)
        if newest is None:
            return [], False
        if self._decided is not None and self._decided >= newest:
            return [newest], True
        if self._note_undecided(newest) and self._executor.entry_order_id is not None:
            self._is_first = False
            return self._find_next_candles(), False
        return [newest], False

    def _find_next_candles(self) -> list[int]:
        """Return the closed candles to decide on next, oldest first."""
        return find_next_candles(self._context, self._decided)

    def evaluate_again(self) -> list[str]:
        """Evaluate again the decisions whose candles were corrected; return the lines to print."""
        # Decisions on new candles come first: each failure may last as long as the deadline.
        is_waiting = self._is_first or self._evaluations.is_running
        return self._review.collect_lines(self._decided, can_start=not is_waiting)

    def _sell_for_correction(self, timestamp: int, reason: str) -> bool:
        """Sell the position if it was open at a decision that is SELL now; return whether it is.

        Args:
            timestamp: Open of the candle of that decision, epoch seconds.
            reason: Reason as a text.
        """
        waiting = self._executor.open_order
        if waiting is not None and waiting.signal_timestamp <= timestamp:
            cancelled = self._exit_orders.cancel_entry("a SELL came while it waited for a trade")
            if cancelled is not None:
                print_line(cancelled)
        entry = self._executor.entry_order_id
        # The fill may have come later: an order waits for a candle with a trade in it.
        bought = None if entry is None else read_signal_timestamp(self._context.store, entry)
        if bought is None or timestamp < bought:
            return False
        close = read_last_closed(self._context.store, self._context.key, 1, up_to=timestamp).close[
            -1
        ]
        if self._rule_runner.obstacles.find_sell_obstacle(float(close)) is not None:
            return False
        if not self._exit_orders.is_exit_pending:
            price = Decimal(repr(float(close)))
            order, obligation = self._exit_orders.make_exit("market", timestamp, price, reason)
            self._exit_orders.send_late(order, obligation)
        return True

    def _note_undecided(self, timestamp: int) -> bool:
        """Store and print that candles closed without a decision; return whether there are any.

        They lie after the last decision. No entry is made on them any more; with a position open
        each is checked for an exit.

        Args:
            timestamp: Open of the newest closed candle, epoch seconds.
        """
        timeframe = self._context.timeframe
        if self._decided is None or timeframe.next(self._decided) >= timestamp:
            return False
        if is_loading(self._context.evaluator):
            # The session that has the strategy decides on them.
            return True
        start = timeframe.next(self._decided)
        passed = format_count(timeframe.count_between(start, timestamp), "candle")
        span = f"{format_utc(start)} to {format_utc(timestamp)}"
        effect = "not decided on"
        if self._executor.entry_order_id is not None:
            effect = "checked for an exit of the open position only, no entries"
        context = self._context
        if read_last_decision(context.store, context.session.session) is not None:
            # This session had begun: an error of the file prevented the decision.
            self._missed_because = "the trader could not decide"
        print_line(f"{self._missed_because} from {span}: {passed} {effect}")
        self._missed_until = timestamp
        open_data_outage(
            self._context.store,
            self._context.session.session,
            from_ms=start * 1_000,
            to_ms=timestamp * 1_000,
            reason=f"{self._missed_because}; {passed} {UNDECIDED}",
        )
        return True

    def _make_gates(self, found: EvaluatedCandle) -> dict[str, str]:
        """Return the verdict of each check on the signal of an evaluated candle, by its name."""
        context, timestamp, obstacles = self._context, found.timestamp, self._rule_runner.obstacles
        holding = self._executor.entry_order_id is not None
        signal = int(found.signals.signal[-1])
        order_context = self._make_risk_context(found)
        gates = {"strategy": found.verdict}
        gates |= check_exit(order_context) if signal == SELL else check_entry(order_context)
        if signal == SELL and holding:
            gates["profit"] = obstacles.find_sell_obstacle(float(found.candles.close[-1])) or OK
        if signal == BUY:
            gates["state"] = self._states.entry_obstacle or OK
        if signal == BUY and not holding and not found.is_repeated:
            closed = obstacles.find_hours_obstacle(timestamp)
            if closed is not None:
                gates["trading hours"] = closed
            paused = obstacles.find_guard_obstacle(timestamp)
            if paused is not None:
                gates["entry guards"] = paused
            reentry = obstacles.find_entry_obstacle(
                timestamp, found.candles, found.signals
            ) or find_command_obstacle(
                context.store, context.session, self._executor.fills, timestamp
            )
            gates["re-entry"] = reentry or OK
        return gates

    def _make_decision_report(self, found: EvaluatedCandle) -> DecisionReport:
        """Store the decision on an evaluated candle, and return it."""
        context, timestamp, is_repeated = self._context, found.timestamp, found.is_repeated
        holding = self._executor.entry_order_id is not None
        signal = int(found.signals.signal[-1])
        gates = self._make_gates(found)
        blocked = find_obstacle(gates)
        wanted = _choose_action(signal, holding=holding)
        action = wanted if blocked is None else "HOLD"
        strategy_text = found.view.holding if holding else found.view.flat
        decision = Decision(
            decision=uuid4().hex,
            session=context.session.session,
            timestamp=timestamp,
            signal=signal,
            indicators={
                **found.view.indicators,
                **(found.levels.make_values() if found.levels else {}),
            },
            gates=gates,
            action=action,
            decided_ms=self._exchange.now_ms(),
        )
        if not is_repeated:
            self._record(decision, found.candles, strategy_text, found.levels)
        if found.verdict not in (OK, INPUT_LATE):
            self._review.wait_for_next(timestamp)
        if not is_repeated and found.verdict == OK:
            # Of a candle without signals the rules get the signal of the next evaluation.
            is_sent = signal != SELL or not holding or action == "SELL"
            self._rule_runner.decide(
                found.candles,
                found.signals,
                signal if is_sent else HOLD,
                can_enter=action == "BUY",
                levels=found.levels,
            )
        is_blocked = wanted != action or found.verdict != OK
        return DecisionReport(
            decision,
            found.candles,
            strategy_text,
            blocked if is_blocked else None,
            found.warmup.wait or found.absent.wait,
            is_missed=timestamp < self._missed_until,
        )

    def _make_risk_context(self, found: EvaluatedCandle) -> RiskContext:
        """Return the facts that the gates of `onetape.execution.risk` check."""
        context, timestamp = self._context, found.timestamp
        close_ms = context.timeframe.next(timestamp) * 1_000
        age_ms = max(0, self._exchange.now_ms() - close_ms)
        is_newest = timestamp == read_last_closed_timestamp(context.store, context.key, NEVER)
        late = "evaluated too late, after a break"
        if timestamp < self._missed_until:
            late = f"{self._missed_because} when it closed"
        order = self._executor.open_order
        missing = found.warmup.missing
        return RiskContext(
            is_decided_before=found.is_repeated,
            late_reason=None if is_newest else late,
            # On the wall clock: in a simulation that runs fast, an hour may pass during the
            # evaluation.
            age_seconds=self._exchange.clock.wall_seconds(age_ms),
            max_age_seconds=context.settings.max_signal_age_seconds,
            missing_since=missing[0][0] if missing else None,
            candles=len(found.candles),
            lookback=context.strategy.lookback,
            higher_obstacle=found.absent.gate if context.higher_timeframes else None,
            market_obstacle=found.absent.market_gate if context.other_markets else None,
            is_stream_up=self._recorder.live,
            open_order=None if order is None else order.side,
        )

    def _record(
        self,
        decision: Decision,
        candles: Candles,
        strategy_text: str,
        levels: LevelRow | None,
    ) -> None:
        """Store a decision with its order in one transaction, then send the order."""
        order: Order | None = None
        obligation: ExitObligation | None = None
        close = Decimal(repr(float(candles.close[-1])))
        if decision.action == "BUY":
            order = self._make_entry_order(decision, close, strategy_text, levels)
        elif decision.action == "SELL":
            order, obligation = self._exit_orders.make_exit(
                "market", decision.timestamp, close, strategy_text, decision=decision.decision
            )
            if self._exit_orders.halt is not None:
                order = None
        if order is not None:
            self._lease.renew()
        insert_decision(
            self._context.store, decision, order, self._lease.fence, obligation=obligation
        )
        if order is not None:
            self._executor.place(order, self._exchange.now_ms())

    def _make_entry_order(
        self, decision: Decision, close: Decimal, strategy_text: str, levels: LevelRow | None
    ) -> Order:
        type_, price = make_entry_type(levels, close, self._context.rules.trading_rules)
        return make_order(
            self._context.session,
            self._executor.make_order_id(),
            "buy",
            type_,
            price,
            strategy_text,
            signal_timestamp=decision.timestamp,
            decided_ms=decision.decided_ms,
            ticker=self._recorder.tickers.ticker,
            decision=decision.decision,
        )


def _choose_action(signal: int, *, holding: bool) -> Action:
    """Return the order that a signal leads to if all gates are passed."""
    if signal == BUY and not holding:
        return "BUY"
    if signal == SELL and holding:
        return "SELL"
    return "HOLD"
