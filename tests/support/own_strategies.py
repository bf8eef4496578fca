"""Strategies of a user, as text."""

#: Asks for larger candles, and never trades.
LARGER = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Larger(Strategy):
    name: ClassVar[str] = "larger"
    higher_timeframes: ClassVar[tuple[str, ...]] = ("1d",)

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        return Signals(np.zeros(len(candles), dtype=np.int8), {})
"""
