"""RSI, MACD, SMA cross, and all that a strategy of your own needs.

from onetape.strategies import Signals, Strategy, indicators, parameter
"""

from onetape.strategies import indicators
from onetape.strategies.evaluation import checked_signals
from onetape.strategies.higher_timeframes import (
    Higher,
    HigherCandles,
    align_higher_candles,
    higher_timeframes_of,
)
from onetape.strategies.interface import BUY, HOLD, SELL, SignalArray, Signals, Strategy
from onetape.strategies.parameters import ParameterInfo, check_under, parameter, parameters_of
from onetape.strategies.registry import (
    digest,
    higher_lookback_of,
    load_strategy,
    lookback_of,
    strategy_class,
    strategy_names,
)

__all__ = [
    "BUY",
    "HOLD",
    "SELL",
    "Higher",
    "HigherCandles",
    "ParameterInfo",
    "SignalArray",
    "Signals",
    "Strategy",
    "align_higher_candles",
    "check_under",
    "checked_signals",
    "digest",
    "higher_lookback_of",
    "higher_timeframes_of",
    "indicators",
    "load_strategy",
    "lookback_of",
    "parameter",
    "parameters_of",
    "strategy_class",
    "strategy_names",
]
