"""Runs the strategy of one session on closed candles: starts an evaluation, takes its result later.

Nothing here waits for a user's strategy, which runs in another process (`evaluator`). Candles that
closed during an outage are evaluated together, in one window: the signal of a candle depends on the
candles before it only, which the bias check (`backtester check`) proves.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.cli.stop import cancel_and_wait
from onetape.core.candles import Candle, Candles
from onetape.core.errors import DataError
from onetape.core.strategy_levels import LevelRow
from onetape.exchange.rest import RestExchange
from onetape.execution.risk import OK
from onetape.strategies import HOLD, Signals
from trader.evaluator.failures import STRATEGY_PROBLEM, format_gate_verdict, make_failure_problem
from trader.evaluator.messages import CandleView
from trader.evaluator.results import Evaluation, EvaluationFailure
from trader.higher_window import (
    MissingHigherCandles,
    find_late_markets,
    select_higher_candles,
)
from trader.live.start_plan import has_open_series
from trader.session_context import SessionContext
from trader.states import TraderStates
from trader.window import DecisionWindow, WarmupGaps, read_decision_window

#: A strategy may take this fraction of the timeframe, within the two bounds below (wall seconds).
#: The lower bound is for a busy computer, which makes a quick strategy slow for a moment; above the
#: upper bound, a signal would be too old to become an order.
DEADLINE_SHARE: Final = 0.1
MIN_DEADLINE_SECONDS: Final = 5.0
MAX_DEADLINE_SECONDS: Final = 60.0
_NO_VIEW: Final = CandleView({}, "", "")
_NO_SIGNAL: Final = Signals(np.zeros(1, dtype=np.int8))


class EvaluatedCandle(Struct, frozen=True):
    """A closed candle with the result of the strategy."""

    candles: Candles
    """Candles of the evaluation; the last one is decided on."""
    signals: Signals
    """Signals of these candles alone; a single HOLD where the evaluation failed."""
    view: CandleView
    verdict: str
    """Verdict of the gate `strategy`: ok, or the reason why there is no signal."""
    warmup: WarmupGaps
    """Gaps of the warm-up, which forbid an order."""
    absent: MissingHigherCandles
    """Missing candles of higher timeframes and other markets; empty texts: none is missing."""
    is_repeated: bool
    """Whether an earlier session decided on the candle; its line is printed again."""

    @property
    def timestamp(self) -> int:
        """Return the open of the candle, epoch seconds."""
        return int(self.candles.timestamp[-1])

    @property
    def candle(self) -> Candle:
        """Return the candle that is decided on."""
        last = self.candles[-1:]
        columns = (last.timestamp, last.open, last.high, last.low, last.close, last.volume)
        return Candle(*(column.tolist()[0] for column in columns))

    @property
    def levels(self) -> LevelRow | None:
        """Return stop and target of the candle; None: the strategy gives none.

        As in a backtest, a candle whose warm-up has a gap has none.
        """
        columns = self.signals.level_columns
        return None if columns is None or self.warmup.missing else columns.get_row(-1)

    def choose_exit_signal(self, lookback: int) -> int:
        """Return the signal for an exit: HOLD if a gap leaves fewer candles than the lookback.

        The decision on a SELL makes the same check (`onetape.execution.risk.check_exit`).

        Args:
            lookback: Candles that the strategy needs for one signal.
        """
        is_short = len(self.candles) < lookback
        return HOLD if self.warmup.missing and is_short else int(self.signals.signal[-1])


class _RunningEvaluation(Struct, frozen=True):
    """An evaluation that has started."""

    rows: int
    """Number of the last candles that are decided on."""
    window: DecisionWindow
    """Candles that the strategy was given."""
    absent: list[MissingHigherCandles]
    """Missing candles of higher timeframes and other markets, for each candle to decide on."""
    task: "asyncio.Task[Evaluation | EvaluationFailure]"
    is_repeated: bool
    started_seconds: float
    """Monotonic time at which the evaluation started, seconds."""


class Evaluations:
    """Evaluations of one strategy, one at a time; all methods are called in one event loop."""

    def __init__(
        self,
        context: SessionContext,
        exchange: RestExchange,
        states: TraderStates,
        on_done: Callable[[], None],
    ) -> None:
        """Begin without an evaluation.

        Args:
            context: Context of the traded symbol; its evaluator runs the strategy.
            exchange: Exchange whose clock has the market time, and the length of a timeframe on the
                wall clock.
            states: States of the trader, which a failed evaluation degrades.
            on_done: Called when an evaluation is done, so that `take` is called soon.
        """
        self._context = context
        self._exchange = exchange
        self._states = states
        self._on_done = on_done
        self._running: _RunningEvaluation | None = None
        self._failure: str | None = None
        """Kind of failure of the last evaluation; None: it did not fail."""
        self._survives_failure = False
        """Whether a failed first evaluation does not end the trader: a position was open at one."""

    @property
    def is_running(self) -> bool:
        """Return whether an evaluation was started whose result is not taken yet."""
        return self._running is not None

    @property
    def newest(self) -> int | None:
        """Return the open of the newest candle under evaluation for a decision, epoch seconds.

        None: no evaluation runs, or an earlier session decided on the candle.
        """
        running = self._running
        if running is None or running.is_repeated:
            return None
        return int(running.window.candles.timestamp[-1])

    @property
    def seconds(self) -> float:
        """Return the running time of the evaluation, wall seconds; 0 if no evaluation runs."""
        running = self._running
        return 0.0 if running is None else time.monotonic() - running.started_seconds

    def start(self, timestamps: list[int], *, is_repeated: bool) -> None:
        """Start to evaluate closed candles; `take` returns the result later.

        The strategy's code is not run, and the result is a failure, if the newest candle of
        another market is not stored.

        Args:
            timestamps: Opens of the candles to decide on, epoch seconds, oldest first, at least
                one, without an unexplained gap between them.
            is_repeated: Whether an earlier session has decided on them.

        Raises:
            StoreError: the file cannot be read or written.
        """
        context, rows = self._context, len(timestamps)
        window = read_decision_window(context, timestamps[-1], rows)
        seen_ms = self._exchange.now_ms()
        higher, missing = select_higher_candles(context, window.candles, seen_ms=seen_ms)
        absent = [missing] * rows
        if rows > 1 and higher:
            # The newest candle alone needs fewer candles of higher timeframes and other markets.
            _, absent[-1] = select_higher_candles(
                context, window.candles[-context.window :], seen_ms=seen_ms
            )
        late = find_late_markets(context, timestamps[-1])
        task = asyncio.create_task(
            _fail_for_input(late)
            if late
            else context.evaluator.evaluate(
                window.candles, higher, rows, self._compute_deadline_seconds()
            )
        )
        task.add_done_callback(lambda _: self._on_done())
        self._running = _RunningEvaluation(
            rows, window, absent, task, is_repeated, started_seconds=time.monotonic()
        )

    def take(self) -> Iterator[EvaluatedCandle]:
        """Yield the candles of an evaluation that is done, oldest first; nothing while it runs.

        Raises:
            OnetapeError: the strategy failed, it has never been evaluated by this program, and the
                account has no open position or order.
        """
        running = self._running
        if running is None or not running.task.done():
            return
        self._running = None
        found = running.task.result()
        self._report(found)
        candles = running.window.candles
        for row in range(running.rows):
            later = running.rows - 1 - row
            signals, view, verdict = _NO_SIGNAL, _NO_VIEW, OK
            if isinstance(found, EvaluationFailure):
                verdict = format_gate_verdict(found)
            else:
                signals = _take_first_signals(found, len(candles) - later)
                view = found.views[row]
            yield EvaluatedCandle(
                candles[: len(candles) - later],
                signals,
                view,
                verdict,
                running.window.warmups[row],
                running.absent[row],
                running.is_repeated,
            )

    async def stop(self) -> None:
        """Cancel the evaluation that is running, and wait for its end."""
        if self._running is not None:
            await cancel_and_wait(self._running.task)

    def _compute_deadline_seconds(self) -> float:
        """Return the maximum time of the strategy, wall seconds."""
        chosen = self._context.settings.strategy_timeout_seconds
        if chosen is not None:
            return chosen
        candle_ms = int(self._context.timeframe.average_seconds * 1_000)
        share = self._exchange.clock.wall_seconds(candle_ms) * DEADLINE_SHARE
        return min(max(share, MIN_DEADLINE_SECONDS), MAX_DEADLINE_SECONDS)

    def _report(self, found: Evaluation | EvaluationFailure) -> None:
        """Report a failed evaluation as a problem, once for each kind of failure in a row.

        A success ends the problem.

        Raises:
            OnetapeError: as for `take`.
        """
        if isinstance(found, Evaluation):
            self._failure = None
            self._states.clear_problem(STRATEGY_PROBLEM)
            return
        if found.kind == "failed" and not self._context.evaluator.has_evaluated:
            # The stop, the targets and the time stop of an open position need no signal.
            store, account = self._context.store, self._context.session.account
            self._survives_failure |= has_open_series(store, account)
            if not self._survives_failure:
                raise found.error
        # An evaluation of corrected candles may have ended the problem meanwhile.
        if self._failure != found.kind or not self._states.has_problem(STRATEGY_PROBLEM):
            self._failure = found.kind
            self._states.report(STRATEGY_PROBLEM, make_failure_problem(found))


async def _fail_for_input(late: list[str]) -> EvaluationFailure:
    """Return the failure of an evaluation that lacks candles of other markets."""
    text = f"{' and '.join(late)} not stored yet"
    return EvaluationFailure("input", text, DataError(text))


def _take_first_signals(found: Evaluation, count: int) -> Signals:
    """Return the signals of the first candles of an evaluation, with the strategy's prices."""
    levels = found.levels
    if levels is None:
        return Signals(found.signal[:count])
    return Signals(
        found.signal[:count],
        stop=None if levels.stop is None else levels.stop[:count],
        target=None if levels.target is None else levels.target[:count],
        stop_mode=levels.stop_mode,
        target_mode=levels.target_mode,
        limit=None if levels.limit is None else levels.limit[:count],
        limit_expiry_candles=levels.expiry_candles,
    )
