"""Strategy "rsi": buys while Wilder's RSI is low and sells while it is high."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, SignalArray, Signals, Strategy
from onetape.strategies.parameters import check_under, parameter

#: RSI points that rounding alone can make.
_NOISE_POINTS = 1e-9


@dataclass(frozen=True)
class Rsi(Strategy):
    """Buys at a low and sells at a high level of Wilder's RSI, while beyond it or at a cross."""

    name: ClassVar[str] = "rsi"

    period: int = parameter(14, ge=2, le=500, help="Bars of Wilder's averages.")
    buy: float = parameter(30.0, ge=0, le=100, help="Level to buy at.")
    sell: float = parameter(70.0, ge=0, le=100, help="Level to sell at.")
    entry: str = parameter(
        "below",
        choices=("below", "cross_up"),
        help="below: buy while under the level, sell while over the other. "
        "cross_up: buy when crossing back up, sell when crossing back down.",
    )

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: a parameter is out of bounds, or buy is not under sell.
        """
        super().__post_init__()
        check_under(self, "buy", "sell")

    @property
    def lookback(self) -> int:
        """Return the lookback of RSI, and one candle more if the entry is a cross."""
        return indicators.rsi_lookback(self.period) + (self.entry == "cross_up")

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        rsi = indicators.rsi(candles.close, self.period)
        signal = (
            self._compute_crossing_signal(rsi)
            if self.entry == "cross_up"
            else self._compute_level_signal(rsi)
        )
        return Signals(
            signal,
            {"RSI": rsi},
            levels={"RSI": (self.buy, self.sell)},
            reason=signal,
            reason_texts={BUY: self._when_to_buy, SELL: self._when_to_sell},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a text such as `RSI 41.2 (buys under 30)`."""
        value = signals.indicators["RSI"][index]
        seen = "not known yet" if np.isnan(value) else f"{value:.1f}"
        rule = f"sells {self._when_to_sell}" if holding else f"buys {self._when_to_buy}"
        return f"RSI {seen} ({rule})"

    def _compute_level_signal(self, rsi: FloatArray) -> SignalArray:
        return (rsi < self.buy).view(np.int8) - (rsi > self.sell).view(np.int8)

    def _compute_crossing_signal(self, rsi: FloatArray) -> SignalArray:
        up = indicators.crosses(rsi, self.buy, _NOISE_POINTS) == 1
        down = indicators.crosses(rsi, self.sell, _NOISE_POINTS) == -1
        return up.view(np.int8) - down.view(np.int8)

    @property
    def _when_to_buy(self) -> str:
        verb = "when it crosses above" if self.entry == "cross_up" else "under"
        return f"{verb} {self.buy:g}"

    @property
    def _when_to_sell(self) -> str:
        verb = "when it crosses below" if self.entry == "cross_up" else "over"
        return f"{verb} {self.sell:g}"
