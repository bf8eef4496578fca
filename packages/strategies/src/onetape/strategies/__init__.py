"""RSI, MACD, SMA cross, and all that a strategy of your own needs.

from onetape.strategies import Signals, Strategy, indicators, parameter
"""

from onetape.strategies import indicators
from onetape.strategies.evaluation import checked_signals
from onetape.strategies.interface import BUY, HOLD, SELL, SignalArray, Signals, Strategy
from onetape.strategies.parameters import ParameterInfo, parameter, parameters_of
from onetape.strategies.registry import (
    digest,
    load_strategy,
    lookback_of,
    strategy_class,
    strategy_names,
)

__all__ = [
    "BUY",
    "HOLD",
    "SELL",
    "ParameterInfo",
    "SignalArray",
    "Signals",
    "Strategy",
    "checked_signals",
    "digest",
    "indicators",
    "load_strategy",
    "lookback_of",
    "parameter",
    "parameters_of",
    "strategy_class",
    "strategy_names",
]
