"""RSI, MACD, SMA cross, and the names with which you write your own strategy.

from onetape.strategies import Signals, Strategy, indicators, parameter
"""

from onetape.strategies import indicators
from onetape.strategies.evaluation import evaluate_strategy
from onetape.strategies.higher_timeframes import (
    Higher,
    HigherCandles,
    InputSeries,
    Market,
    align_higher_candles,
    collect_inputs,
)
from onetape.strategies.interface import BUY, HOLD, SELL, SignalArray, Signals, Strategy
from onetape.strategies.parameters import ParameterInfo, check_under, collect_parameters, parameter
from onetape.strategies.registry import (
    compute_strategy_digest,
    get_higher_lookback,
    get_lookback,
    list_strategy_names,
    load_strategy,
    load_strategy_class,
)

__all__ = [
    "BUY",
    "HOLD",
    "SELL",
    "Higher",
    "HigherCandles",
    "InputSeries",
    "Market",
    "ParameterInfo",
    "SignalArray",
    "Signals",
    "Strategy",
    "align_higher_candles",
    "check_under",
    "collect_inputs",
    "collect_parameters",
    "compute_strategy_digest",
    "evaluate_strategy",
    "get_higher_lookback",
    "get_lookback",
    "indicators",
    "list_strategy_names",
    "load_strategy",
    "load_strategy_class",
    "parameter",
]
