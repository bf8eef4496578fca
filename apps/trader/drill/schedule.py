"""The candles at which a drill signals, chosen so that the price moves little after them.

A position of a drill is held over one candle. Market time stands still while a fault acts, and then
moves to the end of that candle. The price should not reach the configured stop or target on the
way, because these exits are tested by other parts of the drill.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import Candles, FloatArray
from onetape.core.strategy_levels import LevelColumns
from onetape.core.timeframes import Timeframe
from onetape.engine import ExitConfig
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket

#: Start of the candles that are searched, epoch seconds: 2024-03-01 00:00 UTC.
_FIRST: Final = 1_709_251_200
#: Number of candles that are searched for the first BUY.
_SEARCHED: Final = 150
#: A candle is quiet if its price moves less than this fraction of the way to a stop or target.
_QUIET_SHARE: Final = 0.6


class Schedule(Struct, frozen=True):
    """Candles at which the strategy of a drill signals: BUY, SELL, BUY, SELL."""

    timeframe: Timeframe
    buys: tuple[int, int]
    """Opens of the candles with a BUY, epoch seconds."""
    sells: tuple[int, int]
    """Opens of the candles with a SELL, epoch seconds."""

    @property
    def start_ms(self) -> int:
        """Return the market time at which the trader starts, in the first candle with a BUY; ms."""
        return self.buys[0] * 1_000 + self.timeframe.average_seconds * 250


class SearchedRange(Struct, frozen=True):
    """Candles of which a schedule chooses four."""

    timeframe: Timeframe
    first: int
    """Open of the first candle, epoch seconds."""
    end: int
    """End of the range, exclusive, epoch seconds."""


def make_searched_range(timeframe: Timeframe, cooldown_bars: int) -> SearchedRange:
    """Return the candles that a schedule is chosen from.

    Args:
        timeframe: Timeframe of the candles.
        cooldown_bars: Candles without an entry after an exit.
    """
    first = timeframe.ceil(_FIRST)
    return SearchedRange(
        timeframe, first, timeframe.shift(first, _SEARCHED + _find_second(cooldown_bars) + 3)
    )


def _find_second(cooldown_bars: int) -> int:
    """Return the number of candles from the first BUY to the second one."""
    return 4 + cooldown_bars


def make_schedule(
    symbol: str,
    timeframe: Timeframe,
    exits: ExitConfig,
    cooldown_bars: int,
    own: LevelColumns | None = None,
) -> Schedule:
    """Return the schedule whose positions are held over the first quiet candles.

    If no candles are quiet, those with the smallest movement are taken.

    Args:
        symbol: A market of the simulator.
        timeframe: Timeframe of the candles.
        exits: Stops and targets of the configuration.
        cooldown_bars: Candles without an entry after an exit.
        own: Stop and target of the strategy for a BUY on each searched candle; None: it gives none.
    """
    market, searched = SimulatedMarket(DEFAULT_SEED), make_searched_range(timeframe, cooldown_bars)
    second = _find_second(cooldown_bars)
    candles = market.get_candles(symbol, timeframe.name, searched.first, searched.end)
    used = _compute_used_share(candles.open, candles.high, candles.low, exits)
    if own is not None:
        used[1:] = np.maximum(used[1:], _compute_own_share(candles, own))
    held = np.maximum(used[1 : _SEARCHED + 1], used[second + 1 : second + 1 + _SEARCHED])
    quiet = np.flatnonzero(held < _QUIET_SHARE)
    index = int(quiet[0]) if len(quiet) else int(np.argmin(held))
    opens = [int(candles.timestamp[index + number]) for number in (0, 1, second, second + 1)]
    return Schedule(timeframe, (opens[0], opens[2]), (opens[1], opens[3]))


def _compute_used_share(
    opened: FloatArray, high: FloatArray, low: FloatArray, exits: ExitConfig
) -> FloatArray:
    """Return for each candle the fraction of the way to a stop or target that its price goes."""
    used = np.zeros(len(opened))
    if exits.stop_loss is not None:
        used = np.maximum(used, (1 - low / opened) / exits.stop_loss)
    if exits.trailing_stop is not None:
        used = np.maximum(used, (1 - low / high) / exits.trailing_stop)
    targets = [one for one in (exits.take_profit, *exits.target_table.values()) if one and one > 0]
    if targets:
        used = np.maximum(used, (high / opened - 1) / min(targets))
    return used


def _compute_own_share(candles: Candles, own: LevelColumns) -> FloatArray:
    """Return the fraction of the way to the strategy's stop or target that each price goes.

    Args:
        candles: Candles, shape (n,).
        own: Stop and target for a BUY on each candle, whose order fills at the next open.

    Returns:
        The fraction for the second candle and those after it, shape (n - 1,); infinity: the candle
        opens beyond the stop or the target.
    """
    opened, used = candles.open[1:], np.zeros(len(candles) - 1)
    ways = (
        (own.stop, opened - candles.low[1:], -1.0),
        (own.target, candles.high[1:] - opened, 1.0),
    )
    for level, moved, direction in ways:
        if level is None:
            continue
        way = direction * (level[:-1] - opened)
        share = np.where(way > 0, moved / np.where(way > 0, way, 1.0), np.inf)
        # Without a price there is no level.
        used = np.maximum(used, np.where(np.isnan(way), 0.0, share))
    return used
