"""Strategy "macd": follows the trend when the difference of two EMAs crosses its own average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onetape.core.candles import Candles
from onetape.strategies import indicators
from onetape.strategies.interface import BUY, SELL, Signals, Strategy, format_value
from onetape.strategies.parameters import check_under, parameter


@dataclass(frozen=True)
class MacdCross(Strategy):
    """Buys when MACD crosses above its signal line, sells when it crosses below."""

    name: ClassVar[str] = "macd"

    fast: int = parameter(12, ge=1, le=500, help="Bars of the fast EMA.")
    slow: int = parameter(26, ge=2, le=1000, help="Bars of the slow EMA.")
    signal: int = parameter(9, ge=1, le=500, help="Bars of the signal line's EMA.")

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: a parameter is out of bounds, or fast is not under slow.
        """
        super().__post_init__()
        check_under(self, "fast", "slow")

    @property
    def lookback(self) -> int:
        """One candle more than the lines take, because a cross compares two."""
        return indicators.macd_lookback(self.slow, self.signal) + 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return the signals; see the class."""
        del higher
        lines = indicators.macd(candles.close, self.fast, self.slow, self.signal)
        signal = indicators.crosses(lines.macd, lines.signal, candles.close * indicators.NOISE)
        return Signals(
            signal,
            {
                "MACD": lines.macd,
                "MACD signal": lines.signal,
                "MACD histogram": lines.histogram,
            },
            levels={"MACD": (0.0,)},
            reason=signal,
            reason_texts={BUY: "on a cross up", SELL: "on a cross down"},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a text such as `MACD -12.3 under signal -8.1 (buys on a cross up)`."""
        line, average = (signals.indicators[name][index] for name in ("MACD", "MACD signal"))
        side = "over" if line > average else "under"
        rule = "sells on a cross down" if holding else "buys on a cross up"
        return f"MACD {format_value(line)} {side} signal {format_value(average)} ({rule})"
