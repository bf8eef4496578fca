"""Backtests in Python: run a strategy over candles, examine the result, save it, optimize.

    import onetape.backtest as ot

    candles = ot.load_candles("BTC/USDT", "1h", start="2023-12-01")
    run = ot.backtest(ot.strategy("sma_cross", fast=24, slow=120), candles, start="2024-01-01")

docs/python.md explains each name. Names load what they need when they are first used.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from onetape.backtest.arguments import Account, Exits, strategy
    from onetape.backtest.backtest_api import backtest, backtest_signals
    from onetape.backtest.candle_sources import StoredCandles, load_candles
    from onetape.backtest.results import BacktestResult
    from onetape.backtest.storage.compare import compare
    from onetape.backtest.storage.runs import load_run
    from onetape.optimization.optimize_api import OptimizationResult, optimize
    from onetape.optimization.walk_forward_api import WalkForwardResult, walk_forward
    from onetape.strategies import Market, indicators
    from onetape.strategies.functions import Entries, strategy_function

__all__ = [
    "Account",
    "BacktestResult",
    "Entries",
    "Exits",
    "Market",
    "OptimizationResult",
    "StoredCandles",
    "WalkForwardResult",
    "backtest",
    "backtest_signals",
    "compare",
    "indicators",
    "load_candles",
    "load_run",
    "optimize",
    "strategy",
    "strategy_function",
    "walk_forward",
]

#: Module of each public name.
_MODULES: Final = {
    "Account": "onetape.backtest.arguments",
    "BacktestResult": "onetape.backtest.results",
    "Entries": "onetape.strategies.functions",
    "Exits": "onetape.backtest.arguments",
    "Market": "onetape.strategies",
    "OptimizationResult": "onetape.optimization.optimize_api",
    "StoredCandles": "onetape.backtest.candle_sources",
    "WalkForwardResult": "onetape.optimization.walk_forward_api",
    "backtest": "onetape.backtest.backtest_api",
    "backtest_signals": "onetape.backtest.backtest_api",
    "compare": "onetape.backtest.storage.compare",
    "indicators": "onetape.strategies",
    "load_candles": "onetape.backtest.candle_sources",
    "load_run": "onetape.backtest.storage.runs",
    "optimize": "onetape.optimization.optimize_api",
    "strategy": "onetape.backtest.arguments",
    "strategy_function": "onetape.strategies.functions",
    "walk_forward": "onetape.optimization.walk_forward_api",
}


def __getattr__(name: str) -> Any:
    """Return a public name; the command line loads none of them."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__]
