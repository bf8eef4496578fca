"""Strategy "buy_and_hold": buys at once and never sells, as a benchmark for other strategies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.core.candles import Candles
from onetape.strategies.interface import BUY, Signals, Strategy


@dataclass(frozen=True)
class BuyAndHold(Strategy):
    """Buys at once and never sells."""

    name: ClassVar[str] = "buy_and_hold"

    @property
    def lookback(self) -> int:
        """Return 1: the signal does not depend on candles."""
        return 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        """Return BUY for every candle; an account with a position ignores further BUYs."""
        del higher
        signal = np.full(len(candles), BUY, dtype=np.int8)
        return Signals(signal, {}, reason=signal, reason_texts={BUY: "at once"})

    def describe(self, signals: Signals, index: int, *, holding: bool) -> str:
        """Return the text `never sells`, or `buys at once` without a position."""
        del signals, index
        return "never sells" if holding else "buys at once"
