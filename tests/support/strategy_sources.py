"""Source texts of strategies of a user."""

#: Uses a higher timeframe, and never trades.
HIGHER_TIMEFRAME_STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Larger(Strategy):
    name: ClassVar[str] = "higher"
    higher_timeframes: ClassVar[tuple[str, ...]] = ("1d",)

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.zeros(len(candles), dtype=np.int8), {})
"""


#: BUY on the candles of one list of hours after March 2024, SELL on those of another.
_SCRIPTED = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Market, Signals, Strategy


@dataclass(frozen=True)
class Scripted(Strategy):
    name: ClassVar[str] = "scripted"
    higher_timeframes: ClassVar[tuple[str, ...]] = HIGHER
    informative: ClassVar[tuple[Market, ...]] = tuple(map(Market, INFORMATIVE))
    limit_expiry_candles: ClassVar[int] = 5

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        hour = (candles.timestamp - 1_709_251_200) // 3_600
        signal = np.where(np.isin(hour, BUYS), 1, np.where(np.isin(hour, SELLS), -1, 0))
        return Signals(signal.astype(np.int8), {}, limit=LIMIT)
"""


def make_scripted_source(
    buys: list[int],
    sells: list[int],
    *,
    higher_timeframes: tuple[str, ...] = (),
    informative: tuple[str, ...] = (),
    limit: float | None = None,
) -> str:
    """Return a strategy that trades on candles of 1h.

    Args:
        buys: BUY on the candles of these hours after March 2024.
        sells: SELL on those of these hours.
        higher_timeframes: Higher timeframes that it uses.
        informative: Symbols of other markets that it reads, in the traded timeframe.
        limit: Limit price of each BUY as a fraction of the close; None: BUYs are market orders.
    """
    source = _SCRIPTED.replace("BUYS", str(buys)).replace("SELLS", str(sells))
    column = None if limit is None else f"candles.close * {limit}"
    source = source.replace("LIMIT", str(column)).replace("INFORMATIVE", repr(informative))
    return source.replace("HIGHER", repr(higher_timeframes))
