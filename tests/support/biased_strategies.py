"""Sources of biased strategies, and of some that only seem biased, with the expected fault.

They are plain enough to be read as a user would have written them. Each buys and sells often by an
unbiased rule, so that the biased signals are hidden among many sound ones.
"""

from typing import Final

_HEAD: Final = """
import random
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy, indicators

CALLS = []


@dataclass(frozen=True)
class Biased(Strategy):
    name: ClassVar[str] = "biased"
    lookback: ClassVar[int] = 40
    memory: ClassVar[dict] = {}

    def evaluate(self, candles, higher):
        close, n = candles.close, len(candles)
        signal = indicators.crosses(close, indicators.sma(close, 10), close * indicators.NOISE)
        signal = signal.astype(np.int8)
"""
#: Whether a candle is one of a few: about one in 700, by its time.
_RARE: Final = "rare = candles.timestamp // 3_600 % 701 == 17"

#: Body of each strategy, and the kind of fault that a check must name, by effect.
BIASED_STRATEGIES: Final[dict[str, tuple[str, str]]] = {
    "look-ahead at rare signals": (
        f"{_RARE}\n        ahead = np.append(close[1:], close[-1:])\n        "
        "signal[rare] = np.sign(ahead - close)[rare]",
        "look-ahead",
    ),
    "look-ahead in the first bars": (
        "ahead = np.append(close[3:], np.full(min(3, n), close[-1]))\n        "
        "first = np.arange(n) < 40\n        signal[first] = np.sign(ahead - close)[first]",
        "look-ahead",
    ),
    "filling from behind": (
        "average = candles.frame()['close'].rolling(30).mean().bfill().to_numpy()\n        "
        "signal = np.nan_to_num(np.sign(close - average)).astype(np.int8)",
        "look-ahead",
    ),
    "NumPy's random numbers": ("signal = np.random.randint(-1, 2, n)", "not repeatable"),
    "Python's random numbers": (
        "signal = np.array([random.choice((-1, 0, 1)) for _ in range(n)])",
        "not repeatable",
    ),
    "random numbers now and then": (
        "signal = np.where(np.random.rand(n) < 0.01, 1, signal)",
        "not repeatable",
    ),
    "the second": ("signal = signal * (int(time.time()) % 2)", "not repeatable"),
    "the hour": (
        "signal = np.where(datetime.now().hour % 2 == 0, signal, -signal)",
        "not repeatable",
    ),
    "state of its module": (
        "CALLS.append(n)\n        signal = np.roll(signal, len(CALLS) % 3)",
        "state",
    ),
    "state of its class": (
        "self.memory['n'] = self.memory.get('n', 0) + 1\n        "
        "signal = signal if self.memory['n'] % 2 else -signal",
        "state",
    ),
    "state of its instance": (
        "calls = self.__dict__.get('calls', 0) + 1\n        "
        "object.__setattr__(self, 'calls', calls)\n        signal = signal * (calls % 2)",
        "state",
    ),
    "a short warm-up": (
        "signal = np.nan_to_num(np.sign(close - indicators.sma(close, 160))).astype(np.int8)",
        "warm-up",
    ),
}
#: Fails on few candles, and looks ahead on many.
FAILING: Final = (
    "assert n > 30, 'more candles'\n        "
    "signal = np.sign(np.append(close[1:], close[-1:]) - close)"
)
#: Needs two candles: fails on one, or gives another signal on one.
CLEAN_STRATEGIES: Final[dict[str, str]] = {
    "fails on one candle": "signal[1] = 0",
    "gives another signal on one candle": "signal = signal if n > 1 else np.array([1])",
}


def make_strategy_source(body: str) -> str:
    """Return the file of a strategy with this body."""
    return f"{_HEAD}        {body}\n        return Signals(signal, {{}})\n"
