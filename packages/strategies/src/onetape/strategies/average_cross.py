"""Base class of the strategies `sma_cross` and `ema_cross`: check of parameters, and texts.

The averages and the rule of the signals are in the file of each strategy.
"""

import math
from collections.abc import Mapping

from onetape.core.candles import FloatArray
from onetape.strategies.indicators import NOISE
from onetape.strategies.interface import BUY, SELL, SignalArray, Signals, Strategy, format_level
from onetape.strategies.parameters import check_under


class AverageCross(Strategy):
    """Base of a strategy on a cross of two averages; it declares the parameters `fast`, `slow`."""

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: a parameter is out of bounds, or fast is not under slow.
        """
        super().__post_init__()
        check_under(self, "fast", "slow")

    def build_signals(self, signal: SignalArray, averages: Mapping[str, FloatArray]) -> Signals:
        """Return the signals with their reasons, and the averages drawn over the candles.

        Args:
            signal: 1 where the fast average crosses above the slow one, -1 below; shape (n,).
            averages: The fast one, then the slow one, by name; shape (n,).
        """
        return Signals(
            signal,
            averages,
            overlays=frozenset(averages),
            reason=signal,
            reason_texts={BUY: "on a cross up", SELL: "on a cross down"},
        )

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return a text such as `EMA12 61,240 over EMA26 60,980 (sells on a cross down)`."""
        (fast_name, fasts), (slow_name, slows) = signals.indicators.items()
        fast, slow = fasts[index], slows[index]
        is_touch = math.isclose(fast, slow, rel_tol=NOISE)
        side = "equal to" if is_touch else "over" if fast > slow else "under"
        rule = "sells on a cross down" if holding else "buys on a cross up"
        return f"{fast_name} {format_level(fast)} {side} {slow_name} {format_level(slow)} ({rule})"
