"""The candles at which a drill signals, chosen so that the price moves little after them.

A position of a drill is held over one candle. Market time stands still while a fault acts, and then
moves to the end of that candle. The price should not reach the configured stop or target on the
way, because these exits are tested by other parts of the drill.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray
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


def make_schedule(
    symbol: str, timeframe: Timeframe, exits: ExitConfig, cooldown_bars: int
) -> Schedule:
    """Return the schedule whose positions are held over the first quiet candles.

    If no candles are quiet, those with the smallest movement are taken.

    Args:
        symbol: A market of the simulator.
        timeframe: Timeframe of the candles.
        exits: Stops and targets of the configuration.
        cooldown_bars: Candles without an entry after an exit.
    """
    market = SimulatedMarket(DEFAULT_SEED)
    second = 4 + cooldown_bars
    first = timeframe.ceil(_FIRST)
    end = timeframe.shift(first, _SEARCHED + second + 3)
    candles = market.get_candles(symbol, timeframe.name, first, end)
    used = _compute_used_share(candles.open, candles.high, candles.low, exits)
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
