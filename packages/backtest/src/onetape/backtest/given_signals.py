"""Signals that `ot.backtest_signals` gets as arrays, instead of a strategy that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.strategies import HigherCandles, SignalArray, Signals, Strategy


@dataclass(frozen=True)
class GivenSignals(Strategy):
    """Placeholder strategy of a result of given signals; it makes no signals itself."""

    name: ClassVar[str] = "given_signals"

    @property
    def lookback(self) -> int:
        """Return 0: no window is read."""
        return 0

    def evaluate(self, candles: Candles, higher: Mapping[str, HigherCandles]) -> Signals:
        """Return HOLD for each candle."""
        del higher
        return Signals(np.zeros(len(candles), dtype=np.int8))


def make_signals(entries: Any, exits: Any, count: int) -> SignalArray:
    """Return signals of entries and exits; shape (count,).

    Args:
        entries: Whether to buy, one boolean per candle.
        exits: Whether to sell, one boolean per candle; where both are true: HOLD.
        count: Number of candles.

    Raises:
        UsageError: a signal array has another length, or is not boolean.
    """
    columns: list[SignalArray] = []
    for name, given in (("entries", entries), ("exits", exits)):
        values = np.asarray(given)
        if values.dtype != np.bool_ or values.shape != (count,):
            raise UsageError(
                f"{name} must be {count:,} values true or false, one per candle, found shape "
                f"{values.shape} of {values.dtype}"
            )
        columns.append(values.astype(np.int8))
    return columns[0] - columns[1]
