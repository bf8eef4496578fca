"""Rebuilding of the state of the trading rules from stored candles, signals and fills.

A trader does this at each start, and then continues with `stepper.step`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from onetape.core.candles import Candle
from onetape.core.strategy_levels import LevelRow, update_levels
from onetape.engine.guard_log import ClosedTrade
from onetape.engine.step_events import OpenedCandle
from onetape.engine.step_state import (
    HeldPosition,
    StepRules,
    StepState,
    SymbolStepState,
    sort_closed_trades,
)


class CandleFacts(Struct, frozen=True):
    """Stored facts of one candle of a symbol."""

    candle: Candle
    has_trade: bool = True
    """Whether anything was traded in the candle."""
    signal: int | None = None
    """Signal of the strategy: 1 BUY, -1 SELL, 0 HOLD; None: not decided on."""
    can_enter: bool = True
    """Whether a BUY on the candle could become an entry."""
    entry_price: float | None = None
    """Price before slippage of the entry that the candle filled, quote currency; None: none."""
    is_entry_inside: bool = False
    """Whether the entry was filled at its limit inside the candle and not at an open."""
    entry_signal: int | None = None
    """Open of the candle whose BUY led to the limit order that the candle filled, epoch seconds;
    None: the entry was a market order."""
    exit: Literal["", "filled", "refused"] = ""
    """Outcome of the exit in the candle; empty: no exit."""
    is_exit_inside: bool = False
    """Whether the exit was filled inside the candle and not at its open."""
    is_open: bool = False
    """Whether the candle has opened and not closed: only the last one of a symbol may be."""
    levels: LevelRow | None = None
    """Stop and target of the strategy on the candle; None: the strategy gives none."""


def restore_state(
    rules: StepRules,
    facts: Mapping[str, Sequence[CandleFacts]],
    closed: Iterable[ClosedTrade] = (),
) -> StepState:
    """Return the state of an account after the newest candle of each symbol.

    The state depends on the candles from the one whose signal led to the last entry on, so the
    facts may begin there; without any entry the newest candle is enough. Orders in flight and open
    limit orders are not rebuilt: an exit that was neither filled nor refused is due again if it was
    a SELL, and found again on the next candle if it was a stop, target or time stop.

    Args:
        rules: Rules of the account.
        facts: Facts of the candles by symbol, oldest first.
        closed: Closed trades of the account, in any order, as far back as entry guards need
            (`count_candles_needed`).
    """
    state = StepState(StepState.make_flat(rules).symbols, sort_closed_trades(rules, closed))
    for symbol, rows in facts.items():
        state.symbols[symbol] = _restore_symbol(rules, state, symbol, rows)
    return state


def _restore_symbol(
    rules: StepRules, account: StepState, symbol: str, facts: Sequence[CandleFacts]
) -> SymbolStepState:
    """Return the state of a symbol after its stored candles, oldest first."""
    state, runs = SymbolStepState(), dict[int, int | None]()
    for number, fact in enumerate(facts):
        state = _apply_candle(rules, state, fact)
        bought = fact.entry_signal
        if bought is not None and fact.entry_price is not None:
            levels = _find_entry_levels(facts[:number], bought)
            held = None if state.position is None else replace(state.position, levels=levels)
            state = replace(state, position=held, used_run=runs.get(bought, state.used_run))
        if state.buy_due and account.find_pause(rules, symbol, fact.candle.timestamp) is not None:
            state = replace(state, buy_due=False)
        if fact.is_open:
            return replace(
                state, opened=OpenedCandle(symbol, fact.candle.timestamp, fact.candle.open)
            )
        state = state.add_closed_candle(fact.candle.timestamp, fact.candle.close)
        if fact.signal is not None:
            timestamp = fact.candle.timestamp
            state = state.apply_signal(
                rules, timestamp, fact.signal, can_enter=fact.can_enter, levels=fact.levels
            )
            if fact.signal > 0:
                runs[timestamp] = state.run_start
    return state


def _find_entry_levels(facts: Sequence[CandleFacts], bought: int) -> LevelRow | None:
    """Return the levels in force for a limit order after some candles.

    Args:
        facts: The candles, oldest first.
        bought: Open of the candle whose BUY led to the order, epoch seconds.
    """
    levels: LevelRow | None = None
    for fact in facts:
        if fact.candle.timestamp == bought:
            levels = fact.levels
        elif fact.candle.timestamp > bought:
            levels = update_levels(levels, fact.levels)
    return levels


def _apply_candle(rules: StepRules, state: SymbolStepState, fact: CandleFacts) -> SymbolStepState:
    """Return the state with the fills and refusals of one stored candle."""
    held, number = state.position, state.candles
    if fact.entry_price is not None:
        price = fact.entry_price
        is_inside = fact.is_entry_inside
        held = HeldPosition(price, price, number, levels=state.levels, is_inside=is_inside)
        state = replace(state, used_run=state.run_start)
    if held is not None and fact.has_trade and not fact.is_open:
        held = held.add_candle(fact.candle, number)
    if fact.exit == "filled":
        held = None
        inside = fact.candle.timestamp if fact.is_exit_inside else None
        free_from = number + 1 + rules.cooldown_bars
        state = replace(state, free_from=free_from, sold_inside=inside)
    elif fact.exit == "refused" and held is not None:
        held = replace(held, has_levels=False)
    return replace(
        state,
        position=held,
        # A BUY that was due in a candle with a trade has entered or was dropped by now.
        buy_due=state.buy_due and not fact.has_trade and rules.allows_entry(fact.candle.timestamp),
        sell_due=state.sell_due and held is not None and not fact.exit,
    )
