"""Strategy "ema_cross": follows the trend that two exponential averages of the close show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onetape.core.candles import Candles
from onetape.strategies import indicators
from onetape.strategies.average_cross import AverageCross
from onetape.strategies.interface import Signals
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class EmaCross(AverageCross):
    """Buys when the fast average crosses above the slow one, sells when it crosses below."""

    name: ClassVar[str] = "ema_cross"

    fast: int = parameter(12, ge=1, le=500, help="Bars of the fast average.")
    slow: int = parameter(26, ge=2, le=1000, help="Bars of the slow average.")

    @property
    def lookback(self) -> int:
        """One candle more than the slow average takes, because a cross compares two."""
        return indicators.ema_lookback(self.slow) + 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        fast = indicators.ema(candles.close, self.fast)
        slow = indicators.ema(candles.close, self.slow)
        signal = indicators.crosses(fast, slow, candles.close * indicators.NOISE)
        return self.build_signals(signal, {f"EMA{self.fast}": fast, f"EMA{self.slow}": slow})
