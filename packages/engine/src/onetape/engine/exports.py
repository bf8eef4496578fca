"""The names that a backtest uses of the engine; those of the stepper are in step_exports."""

from onetape.engine.account_config import AccountConfig
from onetape.engine.annual_volatility import volatility_before
from onetape.engine.booking import BookedFill, booked_fill
from onetape.engine.buy_and_hold import BuyAndHold, buy_and_hold_equity, shared_holding
from onetape.engine.drawdown import Drawdown, drawdown_curve, max_drawdown
from onetape.engine.exit_config import ExitConfig
from onetape.engine.exits import (
    EXIT_KINDS,
    BarExit,
    Levels,
    exit_at_open,
    exit_in_bar,
    final_exit,
    levels_of,
)
from onetape.engine.fill_log import OpenPosition
from onetape.engine.fills import (
    Fill,
    FillModel,
    Market,
    buy_fill,
    sell_fill,
)
from onetape.engine.intrabar import Detail
from onetape.engine.metrics import Background, Metrics, background_of, metrics_of
from onetape.engine.month_models import rules_at, rules_of_candle
from onetape.engine.portfolio import TIE_RULE, Portfolio, Series, simulate_together
from onetape.engine.refused_orders import RefusalKind, Refused
from onetape.engine.round_trips import Trade
from onetape.engine.simulation import simulate
from onetape.engine.simulation_result import Result, State

__all__ = [
    "EXIT_KINDS",
    "TIE_RULE",
    "AccountConfig",
    "Background",
    "BarExit",
    "BookedFill",
    "BuyAndHold",
    "Detail",
    "Drawdown",
    "ExitConfig",
    "Fill",
    "FillModel",
    "Levels",
    "Market",
    "Metrics",
    "OpenPosition",
    "Portfolio",
    "RefusalKind",
    "Refused",
    "Result",
    "Series",
    "State",
    "Trade",
    "background_of",
    "booked_fill",
    "buy_and_hold_equity",
    "buy_fill",
    "drawdown_curve",
    "exit_at_open",
    "exit_in_bar",
    "final_exit",
    "levels_of",
    "max_drawdown",
    "metrics_of",
    "rules_at",
    "rules_of_candle",
    "sell_fill",
    "shared_holding",
    "simulate",
    "simulate_together",
    "volatility_before",
]
