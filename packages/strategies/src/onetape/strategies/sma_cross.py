"""SMA cross: follows the trend that two simple averages of the close show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, Signals, Strategy, value_text
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class SmaCross(Strategy):
    """Buys when the fast average crosses above the slow one, sells when it crosses below."""

    name: ClassVar[str] = "sma_cross"

    fast: int = parameter(20, ge=1, le=1000, help="Bars of the fast average.")
    slow: int = parameter(50, ge=2, le=5000, help="Bars of the slow average.")

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: one is out of bounds, or fast is not under slow.
        """
        super().__post_init__()
        if self.fast >= self.slow:
            raise UsageError(
                f"strategy sma_cross: fast must be under slow, found fast {self.fast} and "
                f"slow {self.slow}"
            )

    @property
    def lookback(self) -> int:
        """The slow average of the last two candles."""
        return self.slow + 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        fast = indicators.sma(candles.close, self.fast)
        slow = indicators.sma(candles.close, self.slow)
        signal = indicators.crosses(fast, slow, candles.close * indicators.NOISE)
        names = self._names
        return Signals(
            signal,
            dict(zip(names, (fast, slow), strict=True)),
            overlays=frozenset(names),
            reason=signal,
            reason_texts={BUY: "on a cross up", SELL: "on a cross down"},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return such as `SMA20 61,240 over SMA50 60,980 (sells on a cross down)`."""
        names = self._names
        fast, slow = (signals.indicators[name][index] for name in names)
        side = "over" if fast > slow else "under"
        rule = "sells on a cross down" if holding else "buys on a cross up"
        return f"{names[0]} {value_text(fast)} {side} {names[1]} {value_text(slow)} ({rule})"

    @property
    def _names(self) -> tuple[str, str]:
        return f"SMA{self.fast}", f"SMA{self.slow}"
