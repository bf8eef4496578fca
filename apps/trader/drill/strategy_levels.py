"""Stop and target of the user's strategy in a drill, whose BUYs the strategy did not give.

The strategy may give a stop only on the candles of its own BUYs, or one that is not below the close
of the candle with a BUY of the drill. Such a BUY gets a stop at the distance of the last usable
one.
"""

from typing import Final

import numpy as np

from onetape.core.candles import FloatArray, SeriesKey
from onetape.core.strategy_levels import LevelColumns
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.strategies import (
    HigherCandles,
    Strategy,
    align_higher_candles,
    collect_inputs,
    evaluate_strategy,
    get_higher_lookback,
    get_lookback,
)
from onetape.strategies.lookback_window import compute_window_size
from trader.drill.schedule import SearchedRange

#: Distance of a stop below the close if the strategy has given no usable one, as a fraction.
_OTHER_DISTANCE: Final = 0.05


def make_entry_levels(levels: LevelColumns, close: FloatArray) -> LevelColumns:
    """Return levels with which a BUY may come on every candle: the stop below, the target above.

    A stop that is not below the close is replaced by one at the distance of the last usable stop;
    a target that is not above the close is left out (NaN).

    Args:
        levels: Levels of the strategy, shape (n,).
        close: Close of each candle, quote currency, shape (n,).
    """
    stop, target = levels.stop, levels.target
    if stop is not None:
        is_usable = stop < close
        last = np.maximum.accumulate(np.where(is_usable, np.arange(len(close)), -1))
        ratio = np.where(last >= 0, stop[last] / close[last], 1 - _OTHER_DISTANCE)
        stop = np.where(is_usable, stop, close * ratio)
    if target is not None:
        target = np.where(target > close, target, np.nan)
    return LevelColumns(stop, target, levels.stop_mode, levels.target_mode)


def evaluate_levels(
    strategy: Strategy, symbol: str, searched: SearchedRange
) -> LevelColumns | None:
    """Return stop and target for a BUY on each of the searched candles; None: there is neither.

    Args:
        strategy: Strategy of the user.
        symbol: A market of the simulator.
        searched: The candles; the returned columns have one price for each.

    Raises:
        ConfigurationError: the strategy failed, or returned invalid signals.
    """
    timeframe, market = searched.timeframe, SimulatedMarket(DEFAULT_SEED)
    start = timeframe.shift(searched.first, 1 - compute_window_size(get_lookback(strategy)))
    candles = market.get_candles(symbol, timeframe.name, start, searched.end)
    inputs = collect_inputs(strategy, timeframe)
    if any(series.timeframe.name not in TIMEFRAMES for series in inputs):
        # The trader of the drill names the timeframe that the simulator lacks.
        return None
    traded = SeriesKey("simulator", symbol, timeframe.name)
    higher_candles: dict[str, HigherCandles] = {}
    for series in inputs:
        key = series.make_key(traded)
        first = series.timeframe.shift(start, -compute_window_size(get_higher_lookback(strategy)))
        found = market.get_candles(key.symbol, key.timeframe, first, searched.end)
        higher_candles[series.name] = align_higher_candles(
            candles,
            timeframe,
            found,
            series.timeframe,
            key.symbol if series.is_other_market else "",
        )
    levels = evaluate_strategy(strategy, candles, higher_candles).level_columns
    if levels is None:
        return None
    entry_levels = make_entry_levels(levels, candles.close)
    before = int(np.searchsorted(candles.timestamp, searched.first))
    return LevelColumns(
        None if entry_levels.stop is None else entry_levels.stop[before:],
        None if entry_levels.target is None else entry_levels.target[before:],
        entry_levels.stop_mode,
        entry_levels.target_mode,
    )
