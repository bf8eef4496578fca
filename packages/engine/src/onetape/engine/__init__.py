"""Fill rules, accounting and metrics, the same for backtest and paper."""

from onetape.engine.drawdown import Drawdown, drawdown_curve, max_drawdown
from onetape.engine.fills import (
    BookedFill,
    Fill,
    FillModel,
    Refused,
    booked_fill,
    buy_fill,
    sell_fill,
)
from onetape.engine.metrics import BuyAndHold, Metrics, buy_and_hold_equity, metrics_of
from onetape.engine.rules import Rules
from onetape.engine.simulate import Result, simulate
from onetape.engine.trades import Trade

__all__ = [
    "BookedFill",
    "BuyAndHold",
    "Drawdown",
    "Fill",
    "FillModel",
    "Metrics",
    "Refused",
    "Result",
    "Rules",
    "Trade",
    "booked_fill",
    "buy_and_hold_equity",
    "buy_fill",
    "drawdown_curve",
    "max_drawdown",
    "metrics_of",
    "sell_fill",
    "simulate",
]
