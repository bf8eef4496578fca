"""The names that a backtest uses of the engine; those of the stepper are in step_exports."""

from onetape.engine.account_config import AccountConfig
from onetape.engine.annual_volatility import volatility_before
from onetape.engine.booking import BookedFill, booked_fill
from onetape.engine.buy_and_hold import BuyAndHoldResult, buy_and_hold_equity, equal_parts_equity
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
    FillModel,
    ModelFill,
    OrderContext,
    buy_fill,
    sell_fill,
)
from onetape.engine.intrabar import IntrabarSource
from onetape.engine.metrics import Metrics, MetricsContext, compute_metrics, metrics_context
from onetape.engine.month_models import rules_at, rules_of_candle
from onetape.engine.portfolio import TIE_RULE, PortfolioResult, SymbolSeries, simulate_portfolio
from onetape.engine.refused_orders import RefusalKind, RefusedOrder
from onetape.engine.round_trips import Trade
from onetape.engine.simulation import simulate
from onetape.engine.simulation_result import AccountState, SimulationResult

__all__ = [
    "EXIT_KINDS",
    "TIE_RULE",
    "AccountConfig",
    "AccountState",
    "BarExit",
    "BookedFill",
    "BuyAndHoldResult",
    "Drawdown",
    "ExitConfig",
    "FillModel",
    "IntrabarSource",
    "Levels",
    "Metrics",
    "MetricsContext",
    "ModelFill",
    "OpenPosition",
    "OrderContext",
    "PortfolioResult",
    "RefusalKind",
    "RefusedOrder",
    "SimulationResult",
    "SymbolSeries",
    "Trade",
    "booked_fill",
    "buy_and_hold_equity",
    "buy_fill",
    "compute_metrics",
    "drawdown_curve",
    "equal_parts_equity",
    "exit_at_open",
    "exit_in_bar",
    "final_exit",
    "levels_of",
    "max_drawdown",
    "metrics_context",
    "rules_at",
    "rules_of_candle",
    "sell_fill",
    "simulate",
    "simulate_portfolio",
    "volatility_before",
]
