"""EMA cross: follows the trend that two exponential averages of the close show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, Signals, Strategy, value_text
from onetape.strategies.parameters import parameter


@dataclass(frozen=True)
class EmaCross(Strategy):
    """Buys when the fast average crosses above the slow one, sells when it crosses below."""

    name: ClassVar[str] = "ema_cross"

    fast: int = parameter(12, ge=1, le=500, help="Bars of the fast average.")
    slow: int = parameter(26, ge=2, le=1000, help="Bars of the slow average.")

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: one is out of bounds, or fast is not under slow.
        """
        super().__post_init__()
        if self.fast >= self.slow:
            raise UsageError(
                f"strategy ema_cross: fast must be under slow, found fast {self.fast} and "
                f"slow {self.slow}"
            )

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
        names = self._names
        return Signals(
            signal,
            dict(zip(names, (fast, slow), strict=True)),
            overlays=frozenset(names),
            reason=signal,
            reason_texts={BUY: "on a cross up", SELL: "on a cross down"},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return such as `EMA12 61,240 over EMA26 60,980 (sells on a cross down)`."""
        names = self._names
        fast, slow = (signals.indicators[name][index] for name in names)
        side = "over" if fast > slow else "under"
        rule = "sells on a cross down" if holding else "buys on a cross up"
        return f"{names[0]} {value_text(fast)} {side} {names[1]} {value_text(slow)} ({rule})"

    @property
    def _names(self) -> tuple[str, str]:
        return f"EMA{self.fast}", f"EMA{self.slow}"
