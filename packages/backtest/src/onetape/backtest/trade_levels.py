"""Stop and target of a trade, candle by candle, for the report and for `explain`."""

import math
from typing import NamedTuple

import numpy as np

from onetape.core.candles import FloatArray
from onetape.core.price_steps import find_price_step
from onetape.engine import Levels, SimulationResult, Trade, compute_levels

#: Bars from which a level holds, and the level, quote currency.
LevelChanges = tuple[tuple[int, float], ...]


class TradeLevels(NamedTuple):
    """LevelChanges of stop and target of one trade; empty where the trade has no such level."""

    stop: LevelChanges
    target: LevelChanges


def compute_trade_levels(result: SimulationResult) -> list[TradeLevels]:
    """Return the levels of each trade, by the engine's rule."""
    return [
        _compute_levels_of_trade(result, trade, buy.before_slippage)
        for trade, buy in zip(result.trades, result.buys, strict=True)
    ]


def _compute_levels_of_trade(result: SimulationResult, trade: Trade, entry: float) -> TradeLevels:
    """Return the changes of stop and target from the entry to the exit of a trade."""
    exits = result.rules.exits
    if not result.has_levels:
        return TradeLevels((), ())
    first, last = max(trade.entry_index, 0), _find_last_bar(result, trade)
    moved = {first, *(trade.entry_index + age for age in exits.target_table)}
    if exits.has_moving_stop:
        highs = _get_highs(result, first, last).copy()
        if trade.entry_index in result.fill_log.inside_entries:
            highs[:1] = result.fill_log.inside_entries[trade.entry_index]
        high = np.maximum.accumulate(highs)
        # A bar's high moves the stop of the next bar.
        moved |= {*(np.flatnonzero(np.diff(high, prepend=-math.inf) > 0) + first + 1).tolist()}
    if result.levels is not None:
        moved |= {*result.levels.find_moves(trade.entry_index, last).tolist()}
    bars = sorted(bar for bar in moved if first <= bar <= last)
    found = [(bar, compute_levels_at(result, trade, entry, bar)) for bar in bars]
    return TradeLevels(
        _make_changes([(bar, levels.stop) for bar, levels in found]),
        _make_changes([(bar, levels.target) for bar, levels in found]),
    )


def compute_levels_at(result: SimulationResult, trade: Trade, entry: float, bar: int) -> Levels:
    """Return the levels that one bar of a trade met.

    Args:
        result: The run.
        trade: A trade of the run.
        entry: Price of the trade's buy before slippage, quote currency.
        bar: Index among the bars of the candles that were traded, within the trade.
    """
    carried = result.fill_log.carried if trade.entry_index < 0 else None
    first, known = max(trade.entry_index, 0), carried.highest if carried else 0.0
    inside = result.fill_log.inside_entries.get(trade.entry_index)
    if inside is not None and bar > first:
        # The high of the candle may be before the fill inside it.
        first, known = first + 1, inside
    highs = _get_highs(result, first, bar)
    highest = max(entry, known, float(highs.max()) if len(highs) else 0.0)
    step = find_price_step(result.rules.trading_rules, int(result.candles.timestamp[bar]))
    row = None if result.levels is None else result.levels.find_row(trade.entry_index, bar)
    return compute_levels(result.rules.exits, entry, highest, bar - trade.entry_index, step, row)


def _get_highs(result: SimulationResult, first: int, end: int) -> FloatArray:
    """Return the highs of bars; minus infinity where nothing was traded, to move no stop."""
    highs = result.candles.high[first:end]
    if result.untraded is None:
        return highs
    return np.where(result.untraded[first:end], -math.inf, highs)


def _find_last_bar(result: SimulationResult, trade: Trade) -> int:
    if trade.exit_index is None:
        return len(result.candles) - 1
    # After a sell at the open the levels of its bar do not matter.
    is_inside = trade.exit_kind in ("stop_loss", "trailing_stop", "target")
    return trade.exit_index if is_inside else max(trade.exit_index - 1, trade.entry_index, 0)


def _make_changes(levels: list[tuple[int, float]]) -> LevelChanges:
    found: list[tuple[int, float]] = []
    for bar, level in levels:
        if math.isfinite(level) and (not found or found[-1][1] != level):
            found.append((bar, level))
    return tuple(found)
