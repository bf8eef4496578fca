"""Strategy "bollinger": buys far under the average and sells where the price has come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.core.candles import Candles
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, Signals, Strategy, format_level
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class Bollinger(Strategy):
    """Buys while the close is under the lower band, sells while it is over another line."""

    name: ClassVar[str] = "bollinger"

    period: int = parameter(20, ge=2, le=1000, help="Bars of the average and of the deviation.")
    width: float = parameter(2.0, ge=0.1, le=10, help="Deviations between average and band.")
    exit: str = parameter(
        "middle",
        choices=("middle", "upper"),
        help="middle: sell while over the average; upper: sell while over the upper band.",
    )

    @property
    def lookback(self) -> int:
        """Return the period of the bands."""
        return self.period

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        bands = indicators.bollinger(candles.close, self.period, self.width)
        # Where the price stands still, the bands equal it, apart from rounding.
        noise = candles.close * indicators.NOISE
        limit = bands.middle if self.exit == "middle" else bands.upper
        under = bands.lower - candles.close > noise
        over = candles.close - limit > noise
        signal = under.view(np.int8) - over.view(np.int8)
        columns = {"upper band": bands.upper, "average": bands.middle, "lower band": bands.lower}
        return Signals(
            signal,
            columns,
            overlays=frozenset(columns),
            reason=signal,
            reason_texts={BUY: "under the lower band", SELL: f"over the {self._exit_line}"},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a text such as `lower band 60,110, average 61,240 (buys under the lower band)`."""
        lower, line = (signals.indicators[name][index] for name in ("lower band", self._exit_line))
        rule = f"sells over the {self._exit_line}" if holding else "buys under the lower band"
        return f"lower band {format_level(lower)}, {self._exit_line} {format_level(line)} ({rule})"

    @property
    def _exit_line(self) -> str:
        return "average" if self.exit == "middle" else "upper band"
