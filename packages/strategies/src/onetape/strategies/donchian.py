"""Strategy "donchian": follows a breakout from the range of the last bars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.core.candles import Candles
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, Signals, Strategy, format_level
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class Donchian(Strategy):
    """Buys a close above all highs of the bars before it, sells one below all their lows."""

    name: ClassVar[str] = "donchian"

    entry: int = parameter(20, ge=1, le=2000, help="Bars before, whose highs a close must exceed.")
    exit: int = parameter(10, ge=1, le=2000, help="Bars before, whose lows it must fall below.")

    @property
    def lookback(self) -> int:
        """Return the longer of both ranges, plus one for the bar that leaves the range."""
        return max(self.entry, self.exit) + 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        # The range is that of the bars before: a bar can never leave a range that includes the bar.
        upper = indicators.previous(indicators.highest(candles.high, self.entry))
        lower = indicators.previous(indicators.lowest(candles.low, self.exit))
        signal = (candles.close > upper).view(np.int8) - (candles.close < lower).view(np.int8)
        names = self._names
        return Signals(
            signal,
            dict(zip(names, (upper, lower), strict=True)),
            overlays=frozenset(names),
            reason=signal,
            reason_texts={
                BUY: f"over the highs of {self.entry} bars",
                SELL: f"under the lows of {self.exit} bars",
            },
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a text such as `high20 61,240, low10 58,100 (buys over high20)`."""
        high, low = self._names
        seen = ", ".join(
            f"{name} {format_level(signals.indicators[name][index])}" for name in (high, low)
        )
        return f"{seen} ({f'sells under {low}' if holding else f'buys over {high}'})"

    @property
    def _names(self) -> tuple[str, str]:
        return f"high{self.entry}", f"low{self.exit}"
