"""The trading rules of an account, event by event: `step` returns the orders after an event.

The trader calls `step`. A backtest computes the same orders from columns (simulation.py,
shared_account.py); property tests compare both, fill by fill. The rules:

- A signal is known when its candle has closed; its order is due at the next open with a trade. With
  `exit_profit_offset` a SELL counts only if that close is above the minimum price that follows from
  the setting.
- At an open, exits come before entries, and entries come in the order of the symbols. An entry
  that finds all slots taken is dropped; the next BUY may enter.
- A candle that closes ends a position at its stop or target by `exits.find_exit_in_bar`; a forming
  candle does so by `exits.find_final_exit`, if later prices cannot change the exit.
- After an exit in candle j, a BUY is due from candle j + 1 + cooldown_bars on. A run of BUYs that
  has led to an entry is used up until it ends, unless `reentry` is `while_signal`.
- A candle that opens outside the trading hours, or at whose open an entry guard pauses entries,
  drops a BUY that is due; its run stays usable.
- A position whose exit was refused is sold by the strategy's next SELL only.
- The strategy's stop and target come with its signal (core.strategy_levels). A position begins with
  those of the BUY that led to it, and those of later candles act from the candle after them on.
- A BUY with a limit price sends a limit order at the open that would fill a market order. An open
  limit order takes a slot, and further BUYs are ignored. Each candle from then on fills the order
  at an open below the limit, or else at the limit if the candle's low is below. Slot and money of
  an order that ends without a fill are free from the next open on.

Every order is in flight until an event reports its fill or refusal. Amounts are not decided here:
the fill of an order is computed by `fills.FillModel` when the order is carried out.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from onetape.core.candles import Candle
from onetape.engine.exits import (
    EXIT_KINDS,
    SIGNAL,
    TIME_STOP,
    BarExit,
    Levels,
    compute_levels,
    find_exit_after_limit,
    find_exit_at_open,
    find_exit_in_bar,
    find_final_exit,
    find_final_exit_after_limit,
)
from onetape.engine.guard_log import insert_trade
from onetape.engine.limit_orders import compute_fill_bound, round_limit_down
from onetape.engine.step_events import (
    CancelLimit,
    CandleClosed,
    CandleForming,
    CandlesOpened,
    Enter,
    EntryFilled,
    EntryRefused,
    Exit,
    ExitDue,
    ExitFilled,
    ExitRefused,
    ExitSent,
    FillLimit,
    Intent,
    LimitEnd,
    LimitSent,
    OpenedCandle,
    StepEvent,
    StrategySignal,
)
from onetape.engine.step_state import (
    HeldPosition,
    OpenLimit,
    OrderInFlight,
    StepRules,
    StepState,
    SymbolStepState,
)

#: When due entries are made: once no exit is in flight, at once, or not at this event.
EntryTurn = Literal["after_exits", "at_once", "later"]
#: A symbol's state after an event, and the order that the event leads to.
_Stepped = tuple[SymbolStepState, Exit | FillLimit | CancelLimit | None]


def step(
    rules: StepRules, state: StepState, event: StepEvent, *, entries: EntryTurn = "after_exits"
) -> tuple[StepState, list[Intent]]:
    """Return the state after an event, and the orders to carry out now, first to last.

    Args:
        rules: Rules of the account.
        state: State before the event; it is not changed.
        event: The event; step_events.py states the order of a symbol's events. `CandlesOpened`
            without a candle changes nothing except that due entries are made.
        entries: When due entries are made; `later`: not at this event.

    Raises:
        ValueError: the event does not fit to the events before.
        KeyError: the event is of a symbol that is not one of the rules.
    """
    symbols, closed = dict(state.symbols), state.closed
    intents: list[Intent] = []
    if isinstance(event, CandlesOpened):
        by_symbol = {opened.symbol: opened for opened in event.candles}
        for symbol in sorted(by_symbol, key=rules.symbols.index):
            symbols[symbol], found = _apply_open(rules, symbols[symbol], by_symbol[symbol])
            if found is not None:
                intents.append(found)
    else:
        is_paused = _is_limit_paused(rules, state, event)
        symbols[event.symbol], found = _apply_event(
            rules, symbols[event.symbol], event, is_paused=is_paused
        )
        if found is not None:
            intents.append(found)
        if isinstance(event, ExitFilled) and event.trade is not None and rules.entry_guards:
            closed = insert_trade(
                rules.entry_guards, closed, event.trade, rules.symbols, rules.candle_seconds
            )
    after = StepState(symbols, closed)
    if isinstance(event, CandleClosed):
        _drop_paused_buy(rules, after, event)
    if entries != "later":
        intents.extend(_choose_entries(rules, after, is_exit_awaited=entries == "after_exits"))
    return after, intents


def _drop_paused_buy(rules: StepRules, state: StepState, event: CandleClosed) -> None:
    """Drop in `state.symbols` a BUY that waits over a candle at whose open entries pause."""
    symbol, before = event.symbol, state.symbols[event.symbol]
    if before.buy_due and state.find_pause(rules, symbol, event.candle.timestamp) is not None:
        state.symbols[symbol] = replace(before, buy_due=False)


def _is_limit_paused(rules: StepRules, state: StepState, event: StepEvent) -> bool:
    """Return whether an entry guard pauses entries in a candle of a symbol with an open limit."""
    if not isinstance(event, CandleForming | CandleClosed):
        return False
    if state.symbols[event.symbol].limit is None:
        return False
    return state.find_pause(rules, event.symbol, event.candle.timestamp) is not None


def _apply_event(
    rules: StepRules, state: SymbolStepState, event: StepEvent, *, is_paused: bool
) -> _Stepped:
    """Return the state of a symbol after an event, and the order that it leads to."""
    match event:
        case CandleForming():
            return _apply_forming(rules, state, event, is_paused=is_paused)
        case CandleClosed():
            return _apply_close(rules, state, event, is_paused=is_paused)
        case StrategySignal():
            return _apply_signal(rules, state, event)
        case ExitDue():
            return replace(state, sell_due=not state.is_flat), None
        case ExitSent():
            return _apply_exit_sent(state, event), None
        case LimitSent():
            return _apply_limit_sent(state, event)
        case EntryFilled() | EntryRefused():
            return _apply_entry_result(rules, state, event)
        case ExitFilled() | ExitRefused():
            after = _apply_exit_result(rules, state, event)
            is_filled = isinstance(event, ExitFilled)
            return _apply_due_orders(rules, after) if is_filled else (after, None)
        case CandlesOpened():
            raise TypeError("candles that open are taken together, not symbol by symbol")


def _apply_open(rules: StepRules, state: SymbolStepState, opened: OpenedCandle) -> _Stepped:
    """Return the state after a candle's first trade, with an exit at its open or an entry due."""
    if state.opened is not None or not state.is_before(opened.timestamp):
        raise _make_misplaced_error(opened.symbol, "open", opened.timestamp, state)
    state = replace(state, opened=opened)
    held = state.position
    if held is None or state.order is not None or state.sell_due or not held.has_levels:
        return _apply_due_orders(rules, state)
    bars, age = rules.exits.time_stop_bars, state.candles - held.candle
    if bars is not None and age >= bars:
        found = BarExit(opened.price, TIME_STOP, is_ambiguous=False)
    else:
        found = find_exit_at_open(
            opened.price, _compute_levels(rules, state, held, opened.price_step)
        )
    return _begin_exit(state, opened.symbol, opened.timestamp, found)


def _apply_due_orders(rules: StepRules, state: SymbolStepState) -> _Stepped:
    """Return the state after the orders that are due at the open of the candle that has opened."""
    opened = state.opened
    if opened is None or state.order is not None:
        return state, None
    if state.position is None:
        is_due = state.buy_due and rules.allows_entry(opened.timestamp)
        if state.due_limit is not None and state.due_limit.last < state.candles:
            # The limit order has expired while it waited for a trade.
            is_due = False
        return replace(state, buy_due=is_due, is_slot_awaited=is_due), None
    found = BarExit(opened.price, SIGNAL, is_ambiguous=False) if state.sell_due else None
    return _begin_exit(state, opened.symbol, opened.timestamp, found)


def _apply_signal(rules: StepRules, state: SymbolStepState, event: StrategySignal) -> _Stepped:
    """Return the state after a signal, with its order at once where the next candle has opened."""
    if event.timestamp not in state.undecided:
        raise _make_misplaced_error(event.symbol, "signal", event.timestamp, state)
    after = state.apply_signal(
        rules, event.timestamp, event.signal, can_enter=event.can_enter, levels=event.levels
    )
    if state.limit is not None and after.limit is None:
        after = after.end_limit(event.timestamp)
        return after, CancelLimit(event.symbol, event.timestamp, "sell")
    return _apply_due_orders(rules, after)


def _apply_forming(
    rules: StepRules, state: SymbolStepState, event: CandleForming, *, is_paused: bool
) -> _Stepped:
    """Return the state after a forming candle, with a fill or exit that no later price changes."""
    candle, held = event.candle, state.position
    if state.opened is None or state.opened.timestamp != candle.timestamp:
        raise _make_misplaced_error(event.symbol, "forming prices", candle.timestamp, state)
    if state.limit is not None and state.order is None:
        return _apply_candle_to_limit(rules, state, state.limit, event, is_paused=is_paused)
    if held is None or state.order is not None:
        return state, None
    found: BarExit | None = None
    if state.sell_due:
        found = BarExit(candle.close, SIGNAL, is_ambiguous=False)
    elif held.has_levels:
        levels = _compute_levels(rules, state, held, event.price_step)
        if held.is_filled_inside(state.candles):
            rule = find_exit_after_limit if event.is_unwatched else find_final_exit_after_limit
            found = rule(held.entry_price, candle.high, candle.low, levels)
        else:
            rule = find_exit_in_bar if event.is_unwatched else find_final_exit
            found = rule(candle.open, candle.high, candle.low, levels)
    return _begin_exit(state, event.symbol, candle.timestamp, found, is_inside=True)


def _apply_close(
    rules: StepRules, state: SymbolStepState, event: CandleClosed, *, is_paused: bool
) -> _Stepped:
    """Return the state after a candle's close, with a fill or an exit inside that candle."""
    candle, held, opened = event.candle, state.position, state.opened
    is_next = state.is_before(candle.timestamp)
    if not is_next if opened is None else candle.timestamp != opened.timestamp:
        raise _make_misplaced_error(event.symbol, "close", candle.timestamp, state)
    found: BarExit | None = None
    if opened is not None and held is not None:
        if held.has_levels and state.order is None:
            levels = _compute_levels(rules, state, held, event.price_step)
            found = _find_exit_in_candle(held, state.candles, candle, levels)
        held = held.add_candle(candle, state.candles)
    if state.limit is not None and state.order is None:
        state, order = _apply_candle_to_limit(rules, state, state.limit, event, is_paused=is_paused)
    else:
        state, order = _begin_exit(state, event.symbol, candle.timestamp, found, is_inside=True)
    return (
        replace(
            state.add_closed_candle(candle.timestamp, candle.close),
            opened=None,
            position=held,
            # An entry that was not made in a candle with a trade is dropped.
            buy_due=state.buy_due
            and not state.is_slot_awaited
            and rules.allows_entry(candle.timestamp),
            is_slot_awaited=False,
        ),
        order,
    )


def _find_exit_in_candle(
    held: HeldPosition, number: int, candle: Candle, levels: Levels
) -> BarExit | None:
    """Return the exit in a candle that has closed, by the number of the candle; None: no exit."""
    if held.is_filled_inside(number):
        return find_exit_after_limit(held.entry_price, candle.high, candle.low, levels)
    return find_exit_in_bar(candle.open, candle.high, candle.low, levels)


def _apply_candle_to_limit(
    rules: StepRules,
    state: SymbolStepState,
    limit: OpenLimit,
    event: CandleForming | CandleClosed,
    *,
    is_paused: bool,
) -> _Stepped:
    """Return the state after a candle with an open limit order, with its fill or its end."""
    candle, symbol = event.candle, event.symbol
    timestamp, bound = candle.timestamp, compute_fill_bound(limit.price)
    ended: LimitEnd | None = None
    if not rules.allows_entry(timestamp):
        ended = "trading_hours"
    elif is_paused:
        ended = "entry_guard"
    elif state.opened is not None and min(candle.open, candle.low) < bound:
        is_inside = candle.open >= bound
        order = OrderInFlight(
            "buy",
            state.candles,
            limit.run,
            levels=limit.levels,
            is_filled_inside=is_inside,
            closed=candle if isinstance(event, CandleClosed) else None,
            price_step=event.price_step,
        )
        price = limit.price if is_inside else candle.open
        fill = FillLimit(symbol, timestamp, price, is_inside)
        return replace(state, order=order, limit=None), fill
    elif isinstance(event, CandleClosed) and limit.last <= state.candles:
        ended = "expired"
    if ended is None:
        return state, None
    return state.end_limit(timestamp), CancelLimit(symbol, timestamp, ended)


def _apply_limit_sent(state: SymbolStepState, event: LimitSent) -> _Stepped:
    """Return the state with an open limit order; a SELL that came meanwhile cancels the order."""
    order = state.order
    if order is None or order.limit is None:
        raise ValueError(f"{event.symbol} has no limit order in flight")
    after = replace(
        state.clear_order(),
        limit=replace(order.limit, levels=order.levels),
        buy_due=False,
        due_limit=None,
    )
    if not state.sell_due:
        return after, None
    timestamp = 0 if state.closed is None else state.closed
    return after.end_limit(timestamp), CancelLimit(event.symbol, timestamp, "sell")


def _compute_levels(
    rules: StepRules, state: SymbolStepState, held: HeldPosition, price_step: float
) -> Levels:
    # The candle of a fill may have closed before the fill was reported.
    age = state.number - held.candle
    return compute_levels(rules.exits, held.entry_price, held.highest, age, price_step, held.levels)


def _begin_exit(
    state: SymbolStepState,
    symbol: str,
    timestamp: int,
    found: BarExit | None,
    *,
    is_inside: bool = False,
) -> _Stepped:
    """Return the state with an exit in flight, and the exit; the state alone where none is due."""
    if found is None:
        return state, None
    order = OrderInFlight("sell", state.number, inside=timestamp if is_inside else None)
    after = replace(state, order=order, sell_due=False)
    kind = EXIT_KINDS[found.kind]
    return after, Exit(symbol, timestamp, kind, found.price, found.is_ambiguous)


def _apply_exit_sent(state: SymbolStepState, event: ExitSent) -> SymbolStepState:
    if state.position is None or state.order is not None:
        raise ValueError(f"{event.symbol} has no position that could be sold now")
    inside = None if state.opened is None else state.opened.timestamp
    order = OrderInFlight("sell", state.number, inside=inside)
    return replace(state, order=order, sell_due=False)


def _apply_entry_result(
    rules: StepRules, state: SymbolStepState, event: EntryFilled | EntryRefused
) -> _Stepped:
    """Return the state after the result of an entry, with an exit in the candle that filled it.

    Only a limit order is filled in a candle that has closed; any other candle leads to its exit
    when it closes.
    """
    order = state.order
    if order is None or order.side != "buy":
        raise ValueError(f"{event.symbol} has no entry in flight that {event} could end")
    if isinstance(event, EntryRefused):
        return state.clear_order(), None
    held = HeldPosition(
        event.price,
        event.price,
        order.candle,
        levels=order.levels,
        is_inside=order.is_filled_inside,
    )
    state = replace(state, position=held, used_run=order.run).clear_order()
    candle = order.closed
    if candle is None:
        return state, None
    levels = _compute_levels(rules, state, held, order.price_step)
    found = _find_exit_in_candle(held, order.candle, candle, levels)
    state = replace(state, position=held.add_candle(candle, order.candle))
    return _begin_exit(state, event.symbol, candle.timestamp, found, is_inside=True)


def _apply_exit_result(
    rules: StepRules, state: SymbolStepState, event: ExitFilled | ExitRefused
) -> SymbolStepState:
    """Return the state without the position, or after a refusal with a position without levels.

    A BUY that came while the exit was in flight is made at once if the next candle has opened
    already, unless the cooldown forbids it.
    """
    order, held = state.order, state.position
    if order is None or order.side != "sell" or held is None:
        raise ValueError(f"{event.symbol} has no exit in flight that {event} could end")
    if isinstance(event, ExitRefused):
        return replace(state, position=replace(held, has_levels=False)).clear_order()
    free_from = state.find_candle_number(event.timestamp) + 1 + rules.cooldown_bars
    is_due = state.buy_due and (state.opened is None or free_from <= state.candles)
    after = replace(state, position=None, free_from=free_from, sold_inside=order.inside)
    return replace(after, buy_due=is_due).clear_order()


def _choose_entries(
    rules: StepRules, account: StepState, *, is_exit_awaited: bool
) -> Sequence[Enter]:
    """Return the entries whose turn it is, and record the outcome of each in `account.symbols`.

    While an exit is in flight, entries wait, because the exit frees a slot and money. While an
    entry for the last slot is in flight, other entries wait, because it may be refused. A position
    that was sold inside a candle still takes its slot at the open of that candle.
    """
    symbols = account.symbols
    if not any(state.is_slot_awaited for state in symbols.values()):
        return ()
    sides = {state.order.side for state in symbols.values() if state.order is not None}
    if is_exit_awaited and "sell" in sides:
        return ()
    is_entering, entries = "buy" in sides, list[Enter]()
    for symbol in rules.symbols:
        state = symbols[symbol]
        opened = state.opened
        if not state.is_slot_awaited or opened is None:
            continue
        taken = sum(one.is_slot_taken(opened.timestamp) for one in symbols.values())
        if account.find_pause(rules, symbol, opened.timestamp) is not None:
            order = None
        elif taken < rules.max_open_trades:
            limit = _make_limit(state, opened)
            order = OrderInFlight(
                "buy", state.candles, state.run_start, levels=state.levels, limit=limit
            )
            price = None if limit is None else limit.price
            entries.append(Enter(symbol, opened.timestamp, opened.price, price))
            is_entering = True
        elif is_entering:
            continue
        else:
            order = None
        symbols[symbol] = replace(state, order=order, buy_due=False, is_slot_awaited=False)
    return entries


def _make_limit(state: SymbolStepState, opened: OpenedCandle) -> OpenLimit | None:
    """Return the limit order of the BUY that is due, to be sent at an open; None: at the market."""
    due = state.due_limit
    if due is None:
        return None
    price = round_limit_down(due.price, opened.price_step)
    return replace(due, price=price, run=state.run_start)


def _make_misplaced_error(
    symbol: str, what: str, timestamp: int, state: SymbolStepState
) -> ValueError:
    opened = "none" if state.opened is None else f"that of {state.opened.timestamp}"
    return ValueError(
        f"{symbol}: the {what} of candle {timestamp} does not fit: "
        f"the newest closed candle is that of {state.closed}, "
        f"the open one is {opened}, and {len(state.undecided)} wait for a signal"
    )
