"""Decide on closed candles: read the last ones from the database, ask the strategy, pass the gates.

Every closed candle since the last decision is decided on, in order, so that the record has no
holes. Only the newest one can become an entry; an exit comes from any of them.
"""

import math
from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

from msgspec import Struct

from onetape.cli.output import print_line
from onetape.core.candles import Candles
from onetape.core.clock import utc_text
from onetape.core.errors import ConfigurationError
from onetape.core.trading import Action, Decision, ExitObligation, Order
from onetape.core.words import counted
from onetape.exchange.rest import RestExchange
from onetape.execution.risk import OK, OrderContext, entry_verdicts, exit_verdicts, obstacle
from onetape.history.gaps import DECIDING_ANSWERS
from onetape.store.candles import (
    closed_timestamps,
    last_closed,
    last_closed_before,
    missing_between,
)
from onetape.store.gaps import unexplained
from onetape.store.ledger import filled_candle, insert_decision, last_decided
from onetape.store.sessions import open_blind_interval
from onetape.strategies import BUY, HOLD, SELL, Signals, checked_signals, lookback_of
from onetape.strategies.extras import LONGEST_TEXT
from onetape.strategies.hearing import printing_to_stderr
from trader.exit_orders import ExitOrders
from trader.exits import PaperExits
from trader.fill import NEVER
from trader.higher import larger_candles
from trader.job import Job
from trader.lease import Lease
from trader.paper import PaperBroker
from trader.reconsider import reconsider
from trader.states import TraderStates
from trader.tape import Tape
from trader.window import DecisionWindow, decision_window


class Verdict(Struct, frozen=True):
    """A decision with what is needed to put it into words."""

    decision: Decision
    close: float
    """Close of the candle, quote currency."""
    seen: str
    """What the strategy saw, in its own words."""
    blocked: str | None
    """Why a signal became no order, in words."""
    wait: str = ""
    """Since when orders are possible after a hole in the warm-up; empty where there is none."""
    is_missed: bool = False
    """Whether the candle closed while no session ran."""


class Decider:
    """Turns closed candles into decisions and orders."""

    def __init__(
        self,
        job: Job,
        exchange: RestExchange,
        tape: Tape,
        broker: PaperBroker,
        lease: Lease,
        exits: PaperExits,
        exit_orders: ExitOrders,
        states: TraderStates,
    ) -> None:
        """Go on where an earlier session of the account stopped deciding.

        Args:
            job: What is traded.
            exchange: Its clock dates the decisions.
            tape: Tells whether the stream is up.
            broker: Takes the orders.
            lease: Proven right before an order is stored.
            exits: Looks at each candle before it is decided on.
            exit_orders: Sends the strategy's exits.
            states: While there is a problem, no position is entered.
        """
        self._job = job
        self._lease = lease
        self._exchange = exchange
        self._tape = tape
        self._broker = broker
        self._exits = exits
        self._exit_orders = exit_orders
        self._states = states
        self._decided = last_decided(job.store, job.session)
        self._missed_until = 0
        """Candles before this one, epoch seconds, closed while no session ran."""
        self.missed: str | None = None
        """Candles that closed while no session ran, in words; None where there are none."""

    @property
    def job(self) -> Job:
        """Return what is traded."""
        return self._job

    @property
    def decided(self) -> int | None:
        """Return the candle that was decided on last, epoch seconds, or None."""
        return self._decided

    def decide_first(self) -> Verdict | None:
        """Decide on the newest closed candle; None where nothing is stored.

        Where an earlier session of the account decided on it, its words are repeated and nothing
        more: a restart never sends the order of a candle again. With a position open, the candles
        that closed while no session ran are left to `decide_new`, which looks for exits in each.
        """
        newest = last_closed(self._job.store, self._job.key, 1)
        if not len(newest):
            return None
        timestamp = int(newest.timestamp[-1])
        if self._decided is not None and self._decided >= timestamp:
            return self._verdict(timestamp, is_newest=False, again=True)
        if self._note_undecided(timestamp) and self._broker.entry_order_id is not None:
            return None
        self._decided = timestamp
        return self._verdict(timestamp, is_newest=True)

    def decide_new(self) -> Iterator[Verdict]:
        """Give the decision on every candle that closed since the last call, oldest first.

        Each is made when it is asked for: before the next one an order may be filled.
        """
        if self._decided is None:
            first = self.decide_first()
            if first is not None:
                yield first
            return
        fresh = closed_timestamps(self._job.store, self._job.key, after=self._decided)
        newest = last_closed_before(self._job.store, self._job.key, NEVER)
        for timestamp in self._contiguous(fresh):
            self._decided = timestamp
            yield self._verdict(timestamp, is_newest=timestamp == newest)

    def evaluate_again(self) -> list[str]:
        """Evaluate again the decisions whose candles were corrected; return what to print."""
        return reconsider(self._job, self._signal_on, self._leave_for)

    def _signal_on(self, timestamp: int) -> int:
        self._exits.note_correction()
        candles = decision_window(self._job, timestamp).candles
        higher, _ = larger_candles(self._job, candles, seen_ms=self._exchange.now_ms())
        return int(checked_signals(self._job.strategy, candles, higher).signal[-1])

    def _leave_for(self, timestamp: int, reason: str) -> bool:
        """Leave the position, where it was open at a decision that is SELL now; return whether."""
        cancelled = self._exit_orders.cancel_entry("a SELL came while it waited for a trade")
        if cancelled is not None:
            print_line(cancelled)
        entry = self._broker.entry_order_id
        filled = None if entry is None else filled_candle(self._job.store, entry)
        # It was decided on the candle before the one that filled it.
        if filled is None or timestamp < self._job.timeframe.shift(filled, -1):
            return False
        if not self._exit_orders.is_owed:
            close = last_closed(self._job.store, self._job.key, 1, up_to=timestamp).close[-1]
            price = Decimal(repr(float(close)))
            self._exit_orders.send_late(*self._exit_orders.make("market", timestamp, price, reason))
        return True

    def _note_undecided(self, timestamp: int) -> bool:
        """Write down which candles passed between two sessions; return whether there are any.

        Nobody enters on them any more; with a position open each is looked at for an exit.
        """
        timeframe = self._job.timeframe
        if self._decided is None or timeframe.next(self._decided) >= timestamp:
            return False
        start = timeframe.next(self._decided)
        passed = counted(timeframe.count_between(start, timestamp), "candle")
        span = f"{utc_text(start)} to {utc_text(timestamp)}"
        what = "not decided on"
        if self._broker.entry_order_id is not None:
            what = "looked at for an exit of the open position, none for an entry"
        self.missed = f"no session ran from {span}: {passed} {what}"
        self._missed_until = timestamp
        open_blind_interval(
            self._job.store,
            self._job.session.session,
            from_ms=start * 1_000,
            to_ms=timestamp * 1_000,
            reason=f"no session ran; {passed} without a decision",
        )
        return True

    def _contiguous(self, fresh: list[int]) -> list[int]:
        """Return the candles before the first hole: a hole is filled, or known, before going on."""
        if self._decided is None or not fresh:
            return fresh
        job = self._job
        start = job.timeframe.next(self._decided)
        holes = missing_between(job.store, job.key, start, fresh[-1])
        missing = unexplained(job.store, job.key, holes, answers=DECIDING_ANSWERS)
        return [timestamp for timestamp in fresh if not missing or timestamp < missing[0][0]]

    def _verdict(self, timestamp: int, *, is_newest: bool, again: bool = False) -> Verdict:
        job = self._job
        window = decision_window(job, timestamp)
        candles = window.candles
        if not again:
            self._exits.watch_closed(timestamp)
        holding = self._broker.entry_order_id is not None
        higher, absent = larger_candles(job, candles, seen_ms=self._exchange.now_ms())
        signals = checked_signals(job.strategy, candles, higher)
        signal = int(signals.signal[-1])
        indicators, seen = _told(job, timestamp, signals, holding=holding)
        context = self._context(
            timestamp,
            window,
            absent.gate if higher else None,
            is_newest=is_newest,
            again=again,
        )
        gates = exit_verdicts(context) if signal == SELL else entry_verdicts(context)
        if signal == BUY:
            gates["state"] = self._states.entry_obstacle or OK
        if signal == BUY and not holding and not again:
            gates["re-entry"] = self._exits.entry_obstacle(timestamp, candles, signals) or OK
        blocked = obstacle(gates)
        action = _action(signal, holding=holding) if blocked is None else "HOLD"
        wanted = _action(signal, holding=holding)
        decision = Decision(
            decision=uuid4().hex,
            session=job.session.session,
            timestamp=timestamp,
            signal=signal,
            indicators=indicators,
            gates=gates,
            action=action,
            decided_ms=self._exchange.now_ms(),
        )
        if not again:
            self._record(decision, candles, seen)
            is_sent = signal != SELL or not holding or action == "SELL"
            self._exits.decide(
                candles, signals, signal if is_sent else HOLD, can_enter=action == "BUY"
            )
        reason = blocked if wanted != "HOLD" and action == "HOLD" else None
        wait = window.wait or absent.wait
        is_missed = timestamp < self._missed_until
        return Verdict(decision, float(candles.close[-1]), seen, reason, wait, is_missed)

    def _context(
        self,
        timestamp: int,
        window: DecisionWindow,
        higher_obstacle: str | None,
        *,
        is_newest: bool,
        again: bool,
    ) -> OrderContext:
        """Return what the checks before an order depend on."""
        job = self._job
        close_ms = job.timeframe.next(timestamp) * 1_000
        age_ms = max(0, self._exchange.now_ms() - close_ms)
        late = "learned too late, after a break"
        if timestamp < self._missed_until:
            late = "no session ran when it closed"
        order = self._broker.open_order
        return OrderContext(
            is_decided_before=again,
            late_reason=None if is_newest else late,
            # On the wall clock: in a simulation that runs fast, an hour may pass while we think.
            age_seconds=self._exchange.clock.wall_seconds(age_ms),
            max_age_seconds=job.settings.max_signal_age_seconds,
            missing_since=window.missing[0][0] if window.missing else None,
            candles=len(window.candles),
            lookback=lookback_of(job.strategy),
            higher_obstacle=higher_obstacle,
            is_stream_up=self._tape.live,
            open_order=None if order is None else order.side,
        )

    def _record(self, decision: Decision, candles: Candles, seen: str) -> None:
        order: Order | None = None
        obligation: ExitObligation | None = None
        close = Decimal(repr(float(candles.close[-1])))
        if decision.action == "BUY":
            order = self._entry_order(decision, close, seen)
        elif decision.action == "SELL":
            order, obligation = self._exit_orders.make(
                "market", decision.timestamp, close, seen, decision=decision.decision
            )
        if order is not None:
            self._lease.renew()
        insert_decision(self._job.store, decision, order, self._lease.fence, obligation=obligation)
        if order is not None:
            self._broker.place(order)

    def _entry_order(self, decision: Decision, close: Decimal, seen: str) -> Order:
        job = self._job
        session = job.session
        ticker = self._tape.ticker
        return Order(
            client_order_id=uuid4().hex,
            session=session.session,
            mode=session.mode,
            account=session.account,
            exchange=session.exchange,
            symbol=session.symbol,
            timeframe=session.timeframe,
            side="buy",
            type="market",
            status="open",
            decision=decision.decision,
            signal_timestamp=decision.timestamp,
            decided_ms=decision.decided_ms,
            bid=ticker.bid if ticker else None,
            ask=ticker.ask if ticker else None,
            intended_price=close,
            reason=seen,
            strategy=session.strategy,
            parameters=session.parameters,
            code_digest=session.code_digest,
        )


def _action(signal: int, *, holding: bool) -> Action:
    if signal == BUY and not holding:
        return "BUY"
    if signal == SELL and holding:
        return "SELL"
    return "HOLD"


def _told(
    job: Job, timestamp: int, signals: Signals, *, holding: bool
) -> tuple[dict[str, float | None], str]:
    """Return the indicators' last values, and what the strategy sees, in one line of its words.

    Raises:
        ConfigurationError: the strategy's own code failed.
    """
    try:
        with printing_to_stderr():
            seen = str(job.strategy.describe(signals, -1, holding=holding))[:LONGEST_TEXT]
        return _last_values(signals), " ".join(seen.split())
    except Exception as error:
        raise ConfigurationError(
            f"strategy {job.strategy.name} could not describe the candle {utc_text(timestamp)} "
            f"({type(error).__name__}: {error}); mend its describe() or its indicators"
        ) from error


def _last_values(signals: Signals) -> dict[str, float | None]:
    values = {name: float(column[-1]) for name, column in signals.indicators.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
