"""Sells at a level that a candle has reached although an earlier candle is not decided on yet.

A stop does not wait for a candle that the exchange may never send. Three kinds of candles come
before their turn: those after a gap, those after a candle that is overdue, and those of the stream
that are not stored while REST does not respond. The rules themselves are fed with none of them;
copies of the rules are (`RuleStepper.copy`).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from onetape.core.candles import Candle
from onetape.engine import Exit, ExitSent
from onetape.store.reading import read_closed_between, read_newest_row
from trader.session_context import SessionContext
from trader.stepping import RuleStepper, make_candle_rows
from trader.stream_recorder import StreamRecorder
from trader.unwatched_prices import UnwatchedPrices


class CarryOut(Protocol):
    """Function that carries out exits which a candle leads to."""

    def __call__(self, intents: Sequence[Exit], candle: Candle, *, is_late: bool = False) -> None:
        """Carry out the exits; `is_late`: their price passed while the market was not watched."""
        ...


class LaterCandles:
    """Finds and sells exits of one symbol in candles whose turn has not come."""

    def __init__(
        self,
        context: SessionContext,
        recorder: StreamRecorder,
        unwatched: UnwatchedPrices,
        get_stepper: Callable[[], RuleStepper],
        carry_out: CarryOut,
    ) -> None:
        """Initialise; no candle is read.

        Args:
            context: Context of the traded symbol.
            recorder: Recorder with the candles that are held back.
            unwatched: Comparison of candles with the present watch of the market.
            get_stepper: Returns the rules, fed with the candles whose turn has come.
            carry_out: Carries out an exit.
        """
        self._context = context
        self._recorder = recorder
        self._unwatched = unwatched
        self._get_stepper = get_stepper
        self._carry_out = carry_out

    def check_after(self, candle: Candle, ended: int) -> None:
        """Sell if a candle after an overdue one leads to an exit; oldest candle first.

        Args:
            candle: The candle that is overdue.
            ended: Time at which it ended, epoch seconds.
        """
        context = self._context
        newest = read_newest_row(context.store, context.key)
        if newest is None or newest.timestamp < ended:
            return
        later = make_candle_rows(
            read_closed_between(context.store, context.key, ended, newest.timestamp)
        )
        ahead = self._get_stepper().copy()
        for before, row in pairwise((candle, *later, newest)):
            ahead.open(before)
            ahead.close(before)
            if self.sell_at(row, ahead):
                return

    def check_held(self) -> None:
        """Sell if a candle of the stream that is held back leads to an exit; oldest first.

        The price is the newest one of these candles (`ExitOrders.fill_exit`).
        """
        ahead: RuleStepper | None = None
        before: Candle | None = None
        for row in self._recorder.held_rows:
            state = self._get_stepper().state
            is_known = state.opened is not None and row.timestamp < state.opened.timestamp
            if is_known or not state.is_before(row.timestamp):
                continue
            if ahead is None:
                ahead = self._get_stepper().copy()
            if before is not None:
                ahead.open(before)
                ahead.close(before)
            if self.sell_at(row, ahead):
                return
            before = row

    def sell_at(self, candle: Candle, ahead: RuleStepper) -> bool:
        """Sell the position if a candle leads to an exit, although an earlier candle is missing.

        Args:
            candle: The candle.
            ahead: A copy of the rules, fed with the known earlier candles.

        Returns:
            Whether no later candle needs to be checked: no position, or its exit is decided.
        """
        if ahead.state.position is None or ahead.state.order is not None:
            return True
        found = self._unwatched.find_exit(candle, ahead)
        is_late = found is not None
        found = found or ahead.find_exit(candle, is_unwatched=False)
        if found is not None:
            self._get_stepper().step(ExitSent(self._context.key.symbol))
            self._carry_out([found], candle, is_late=is_late)
        return found is not None
