"""Strategy "sma_cross": follows the trend that two simple averages of the close show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onetape.core.candles import Candles
from onetape.strategies import indicators
from onetape.strategies.average_cross import AverageCross
from onetape.strategies.interface import Signals
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class SmaCross(AverageCross):
    """Buys when the fast average crosses above the slow one, sells when it crosses below."""

    name: ClassVar[str] = "sma_cross"

    fast: int = parameter(20, ge=1, le=1000, help="Bars of the fast average.")
    slow: int = parameter(50, ge=2, le=5000, help="Bars of the slow average.")

    @property
    def lookback(self) -> int:
        """One candle more than the slow average takes, because a cross compares two."""
        return self.slow + 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        fast = indicators.sma(candles.close, self.fast)
        slow = indicators.sma(candles.close, self.slow)
        signal = indicators.crosses(fast, slow, candles.close * indicators.NOISE)
        return self.build_signals(signal, {f"SMA{self.fast}": fast, f"SMA{self.slow}": slow})
