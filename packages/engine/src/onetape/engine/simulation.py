"""Simulation of one symbol: a strategy's signals over candles become fills and equity.

Python code runs once per trade, never once per bar.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles
from onetape.core.price_steps import add_month_steps
from onetape.core.untraded import find_untraded_rows
from onetape.engine.account_config import AccountConfig
from onetape.engine.due_orders import (
    DueOrders,
    compute_due_orders,
    find_order_bars,
    mask_untraded_prices,
)
from onetape.engine.entry_plan import NO_CANDIDATE, EntryPlan
from onetape.engine.equity import compute_equity_parts
from onetape.engine.fill_log import FillLog, OpenPosition
from onetape.engine.fills import FillModel
from onetape.engine.intrabar import IntrabarSource
from onetape.engine.simulation_result import AccountState, SimulationResult
from onetape.engine.symbol_state import SymbolState, trade_alone
from onetape.engine.vectorized import trade_vectorized

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns
    from onetape.engine.guard_log import ClosedTrade, GuardLog

__all__ = ["AccountState", "SimulationResult", "simulate"]


def simulate(
    candles: Candles,
    signal: NDArray[np.int8],
    rules: AccountConfig,
    start_index: int = 0,
    *,
    state: AccountState | None = None,
    intrabar: IntrabarSource | None = None,
    has_volume: bool | None = None,
    levels: "LevelColumns | None" = None,
) -> SimulationResult:
    """Trade a strategy's signals: known at the close of bar t, filled at the open of bar t + 1.

    The next bar is the next one stored, across a gap too; an order that is due in a candle without
    a trade waits for the next traded one (due_orders.py). BUY while long and SELL while flat do
    nothing. Which BUY enters after an exit is the rule `reentry` (entry_search.py). A buy that is
    refused has not entered, so the next BUY may. A position whose sell the market refuses is sold
    by the strategy's next SELL only. A signal on the last bar fills nothing, and an open position
    stays open at the end. In a month whose candles show a finer price step than the stated one,
    the finer step holds, so that no fill before slippage lies outside its candle or at 0.

    Args:
        candles: Closed candles, oldest first, warm-up included; prices above zero.
        signal: 1 BUY, -1 SELL, 0 HOLD, shape (n,).
        rules: Money, fees, market, stops and targets.
        start_index: First candle that is traded; signals before it are not traded.
        state: Account after a run over the candles right before; the last signal of that run is
            traded at the first open. None: an account with cash only.
        intrabar: Intrabar candles, which decide exits inside a bar; None: none are used.
        has_volume: Whether any candle of the whole stored series has volume; None: only `candles`
            are known.
        levels: Stops, targets and limits of the strategy for all candles; None: there are none. A
            limit order that is open at the end of the range is not carried to the next one.

    Raises:
        ValueError: signals and candles differ in length, or start_index is outside them; or there
            are limits, and a range before.
    """
    if state is not None and levels is not None and levels.limit is not None:
        msg = "a run with limit orders cannot continue an earlier one"
        raise ValueError(msg)
    if len(signal) != len(candles) or not 0 <= start_index <= len(candles):
        raise ValueError(
            f"{len(signal)} signals and start_index {start_index} do not fit {len(candles)} candles"
        )
    if state is None:
        state = make_cash_only_state(rules)
    if rules.trading_rules.price_step and rules.trading_rules.months is None:
        rules = replace(rules, trading_rules=add_month_steps(rules.trading_rules, candles))
    traded = candles[start_index:]
    symbol = make_symbol_state(
        candles, signal, rules, start_index, state, intrabar, has_volume, levels
    )
    log = make_guard_log(rules, [candles], state.closed)
    symbol.guard_log = log
    candidate, is_held = _find_first_candidate(symbol, state)
    if symbol.plan.limits is not None:
        from onetape.engine.limit_symbol import trade_limits_alone

        cash, held = trade_limits_alone(symbol, state.cash, candidate)
    else:
        # A pause depends on the trades before, so each trade is carried out by itself.
        is_alone = is_held or log is not None
        in_columns = None if is_alone else trade_vectorized(symbol, state.cash, candidate)
        cash, held = in_columns or trade_alone(symbol, state.cash, candidate, is_held=is_held)
    free = _find_free_bar(symbol, state, rules)
    symbol.record_waiting_orders(free, None if held == NO_CANDIDATE else symbol.plan.prices[held])
    money, value = compute_equity_parts(traded, symbol.fill_log, state.cash, state.base)
    money += value
    return SimulationResult(
        rules=rules,
        candles=traded,
        start_index=start_index,
        start_cash=_compute_value_before(state, candles, start_index),
        equity=money,
        cash=cash,
        base=symbol.fill_log.base,
        fill_log=symbol.fill_log,
        untraded=symbol.due.untraded,
        state=AccountState(
            cash=cash,
            base=symbol.fill_log.base,
            signal=_choose_last_signal(symbol, int(signal[-1]), held)
            if len(traded)
            else state.signal,
            wait_bars=max(0, free - len(traded)),
            waiting=symbol.fill_log.waiting,
            is_used=symbol.due.is_run_used(len(traded) - 1, symbol.fill_log.last_entry),
            position=_make_open_position(symbol, held),
            closed=() if log is None else log.trades,
            levels=None if symbol.levels is None else symbol.levels.find_last_row(),
        ),
        pauses=() if log is None else log.get_pauses(symbol.name),
        levels=symbol.levels,
    )


def make_cash_only_state(rules: AccountConfig) -> AccountState:
    """Return an account that has only cash."""
    return AccountState(rules.cash, 0.0, 0, 0, waiting=0, is_used=False, position=None)


def make_guard_log(
    rules: AccountConfig, series: Sequence[Candles], closed: Iterable["ClosedTrade"] = ()
) -> "GuardLog | None":
    """Return the log of closed trades that entry guards use; None: there are no guards.

    Args:
        rules: Rules of the account.
        series: Candles of each symbol; the smallest difference between two opens is the length of a
            candle.
        closed: Closed trades of an earlier range.
    """
    guards = rules.entry_guards
    if not guards:
        return None
    # Most runs have no entry guards, and load none of it.
    from onetape.engine.guard_log import GuardLog
    from onetape.engine.ratios import compute_candle_seconds

    lengths = (compute_candle_seconds(one.timestamp) for one in series)
    return GuardLog(guards, min(filter(None, lengths), default=0), closed)


def make_symbol_state(
    candles: Candles,
    signal: NDArray[np.int8],
    rules: AccountConfig,
    start_index: int,
    state: AccountState,
    intrabar: IntrabarSource | None,
    has_volume: bool | None,
    levels: "LevelColumns | None" = None,
) -> SymbolState:
    """Return one symbol, ready to be traded; arguments as in `simulate`."""
    traded = candles[start_index:]
    orders = compute_due_orders(signal, start_index, state.signal)
    untraded = _find_untraded(candles, start_index, has_volume)
    bars = find_order_bars(orders, untraded, waiting=state.waiting, is_used=state.is_used)
    hours, closed = rules.entry_hours, None
    if hours is not None:
        # Imported here, because most runs have no trading hours.
        from onetape.engine.entry_hours_filter import drop_buys_outside

        bars, closed = drop_buys_outside(hours, bars, traded.timestamp)
    reached = mask_untraded_prices(traded, untraded)
    fill_log = FillLog(FillModel.from_rules(rules), state.position)
    fill_log.base = state.base
    known = limits = None
    make_symbol = SymbolState
    if levels is not None and levels.limit is not None:
        # Most strategies give no limits, and load none of it.
        from onetape.engine.limit_orders import LimitOrders
        from onetape.engine.limit_symbol import LimitSymbolState

        is_last_sell = bool(len(signal)) and signal[-1] < 0
        limits = LimitOrders(
            levels, start_index, traded, reached, bars, rules, is_last_sell=bool(is_last_sell)
        )
        make_symbol = LimitSymbolState
    if levels is not None and levels.has_exits:
        # Most strategies give no levels, and load none of it.
        from onetape.engine.known_levels import KnownLevels

        known = KnownLevels(
            levels,
            signal,
            start_index,
            before=state.levels,
            carried=None if state.position is None else state.position.levels,
            has_waits=untraded is not None,
        )
    return make_symbol(
        traded,
        EntryPlan(traded, reached, bars, rules, known, limits),
        fill_log,
        rules,
        candles,
        intrabar,
        DueOrders(
            orders=orders,
            untraded=untraded,
            bars=bars,
            reached=reached,
            waiting=state.waiting,
            is_used=state.is_used,
            free=state.wait_bars,
            rules=rules,
            closed=closed,
        ),
        known,
    )


def _find_untraded(
    candles: Candles, start_index: int, has_volume: bool | None
) -> NDArray[np.bool_] | None:
    """Return the mask of candles without a trade; None where each candle has one."""
    # `min` takes half the time of `all`; a NaN fails the comparison, so the rows are examined.
    if len(candles) and candles.volume.min() > 0:
        return None
    untraded = find_untraded_rows(candles, has_volume=has_volume)[start_index:]
    return untraded if untraded.any() else None


def _find_first_candidate(symbol: SymbolState, state: AccountState) -> tuple[int, bool]:
    """Return the candidate to begin with, and whether it is a position that is held already."""
    plan, held = symbol.plan, state.position
    if held is not None:
        candidate = plan.add_candidate(-held.bars, held.fill.before_slippage)
        if held.has_levels:
            plan.find_exit(candidate, held.highest)
        else:
            plan.set_exit_at_next_sell(candidate, -1)
        return candidate, True
    # A BUY that waits was due before the first bar.
    return plan.find_entry_from(-1 if state.waiting > 0 else state.wait_bars), False


def _make_open_position(symbol: SymbolState, candidate: int) -> OpenPosition | None:
    """Return the position of a candidate that is open at the end."""
    if candidate == NO_CANDIDATE:
        return None
    plan, fill_log, candles = symbol.plan, symbol.fill_log, symbol.candles
    bar, carried = int(fill_log.get_entry_column()[-1]), fill_log.carried
    # The high of a bar inside which a limit order was filled may be before the fill.
    first = bar + 1 if bar in fill_log.inside_entries else max(bar, 0)
    highs = symbol.due.reached.high[first:]
    highest = max(float(highs.max(initial=0.0)), fill_log.inside_entries.get(bar, 0.0))
    has_levels = candidate not in plan.without_levels
    row = None if symbol.levels is None else symbol.levels.find_row(bar, len(candles))
    if carried is not None and bar < 0:
        return OpenPosition(
            carried.fill,
            carried.timestamp,
            carried.bars + len(candles),
            max(carried.highest, highest),
            has_levels and carried.has_levels,
            row,
        )
    fill = fill_log.make_last_buy()
    return OpenPosition(
        fill,
        int(candles.timestamp[bar]),
        len(candles) - bar,
        max(fill.before_slippage, highest),
        has_levels,
        row,
    )


def _choose_last_signal(symbol: SymbolState, signal: int, held: int) -> int:
    """Return the signal of the last candle; 0 for a SELL that does not count."""
    if signal >= 0 or held == NO_CANDIDATE:
        return signal
    close = float(symbol.candles.close[-1])
    return signal if symbol.exits.sell_counts(symbol.plan.prices[held], close) else 0


def _find_free_bar(symbol: SymbolState, state: AccountState, rules: AccountConfig) -> int:
    """Return the first bar at which a BUY may be due after the last exit."""
    exits = symbol.fill_log.get_exit_column()
    return int(exits[-1]) + rules.cooldown_bars + 1 if len(exits) else state.wait_bars


def _compute_value_before(state: AccountState, candles: Candles, start_index: int) -> float:
    if not state.base:
        return state.cash
    price = candles.close[start_index - 1] if start_index else candles.open[:1].sum()
    return state.cash + state.base * float(price)
