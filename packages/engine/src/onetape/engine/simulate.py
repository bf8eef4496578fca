"""Trade the signals of a strategy over stored candles. Python runs per trade, never per bar."""

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles
from onetape.core.price_steps import with_month_steps
from onetape.engine.account import Book, Lane, OpenPosition, equity_of, orders_of, trade_alone
from onetape.engine.detail import Detail
from onetape.engine.fills import FillModel
from onetape.engine.plain import trade_plainly
from onetape.engine.plan import NONE, Plan
from onetape.engine.result import Result, State
from onetape.engine.rules import Rules

__all__ = ["Result", "State", "simulate"]


def simulate(
    candles: Candles,
    signal: NDArray[np.int8],
    rules: Rules,
    start_index: int = 0,
    *,
    state: State | None = None,
    detail: Detail | None = None,
) -> Result:
    """Trade a strategy's signals: known at the close of bar t, filled at the open of bar t + 1.

    A run of BUYs enters at its first bar; BUY while long and SELL while flat do nothing; after a
    stop, a target or a time stop the next entry needs a new run. A signal on the last bar fills
    nothing; nothing is closed by force at the end. The next bar is the next one stored, across a
    gap too. A buy that is refused is tried again on the next bar that says BUY; a position whose
    sell the market refuses is left to the strategy's next SELL. A price step that is coarser than
    the candles' own digits gives way to theirs, month by month: no fill lies outside its candle
    before slippage, and none is at 0.

    Args:
        candles: Closed candles, oldest first, warm-up included; prices above zero.
        signal: 1 BUY, -1 SELL, 0 HOLD, shape (n,).
        rules: Money, fees, market, stops and targets.
        start_index: First candle that is traded: what was signalled before it is not.
        state: Where a run over the candles right before left the account; its last signal is
            traded at the first open. None: cash alone.
        detail: Finer candles, asked about exits inside a bar.

    Raises:
        ValueError: signals and candles differ in length, or start_index is outside them.
    """
    if len(signal) != len(candles) or not 0 <= start_index <= len(candles):
        raise ValueError(
            f"{len(signal)} signals and start_index {start_index} do not fit {len(candles)} candles"
        )
    if state is None:
        state = State(rules.cash, 0.0, (0, 0), 0, is_refused=False, position=None)
    if rules.steps.price_step and rules.steps.months is None:
        rules = replace(rules, steps=with_month_steps(rules.steps, candles))
    traded = candles[start_index:]
    lane = lane_of(candles, signal, rules, start_index, state, detail)
    row, is_held = _first_row(lane, state)
    plainly = None if is_held else trade_plainly(lane, state.cash, row)
    cash, held, is_refused = plainly or trade_alone(lane, state.cash, row, is_held=is_held)
    money, worth = equity_of(traded, lane.book, state.cash, state.base)
    money += worth
    return Result(
        rules=rules,
        candles=traded,
        start_index=start_index,
        start_cash=_worth_before(state, candles, start_index),
        equity=money,
        cash=cash,
        base=lane.book.base,
        book=lane.book,
        state=State(
            cash=cash,
            base=lane.book.base,
            signals=_last_signals(signal[start_index:], state),
            wait_bars=_wait_bars(lane, state, rules),
            is_refused=is_refused or (state.is_refused and row == NONE),
            position=_position(lane, held),
        ),
    )


def lane_of(
    candles: Candles,
    signal: NDArray[np.int8],
    rules: Rules,
    start_index: int,
    state: State,
    detail: Detail | None,
) -> Lane:
    """Return one symbol, ready to be traded; arguments as in `simulate`."""
    traded = candles[start_index:]
    orders = orders_of(signal, start_index, state.signals[1])
    plan = Plan(traded, orders, rules, is_rise=state.signals[0] <= 0)
    book = Book(FillModel.of(rules), state.position)
    book.base = state.base
    return Lane(traded, plan, book, rules, candles, detail)


def _first_row(lane: Lane, state: State) -> tuple[int, bool]:
    """Return the row to begin with, and whether it is a position that is held already."""
    plan, held = lane.plan, state.position
    if held is not None:
        row = plan.added(-held.bars, held.fill.before_slippage)
        if held.has_levels:
            plan.exit_of(row, held.highest)
        else:
            plan.exit_by_signal(row, -1)
        return row, True
    if state.is_refused:
        return plan.retry_after(-1), False
    return plan.entry_from(state.wait_bars), False


def _position(lane: Lane, row: int) -> OpenPosition | None:
    """Return the position of a row that is open at the end."""
    if row == NONE:
        return None
    plan, book, candles = lane.plan, lane.book, lane.candles
    bar, carried = int(book.entry_column()[-1]), book.carried
    highs = candles.high[max(bar, 0) :]
    highest = float(highs.max()) if len(highs) else 0.0
    has_levels = row not in plan.given_up
    if carried is not None and bar < 0:
        return OpenPosition(
            carried.fill,
            carried.timestamp,
            carried.bars + len(candles),
            max(carried.highest, highest),
            has_levels and carried.has_levels,
        )
    fill = book.last_buy()
    return OpenPosition(
        fill,
        int(candles.timestamp[bar]),
        len(candles) - bar,
        max(fill.before_slippage, highest),
        has_levels,
    )


def _wait_bars(lane: Lane, state: State, rules: Rules) -> int:
    exits = lane.book.exit_column()
    free = int(exits[-1]) + rules.cool_down_bars + 1 if len(exits) else state.wait_bars
    return max(0, free - len(lane.candles))


def _last_signals(signal: NDArray[np.int8], state: State) -> tuple[int, int]:
    """Return the signals of the last two candles that were traded."""
    last = [*state.signals, *signal[-2:].tolist()][-2:]
    return last[0], last[1]


def _worth_before(state: State, candles: Candles, start_index: int) -> float:
    if not state.base:
        return state.cash
    price = candles.close[start_index - 1] if start_index else candles.open[:1].sum()
    return state.cash + state.base * float(price)
