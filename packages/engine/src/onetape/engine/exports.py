"""Public names of the engine that a backtest uses; those of the stepper are in step_exports.py."""

from onetape.engine.account_config import AccountConfig
from onetape.engine.annual_volatility import compute_volatility_before
from onetape.engine.booking import BookedFill, make_booked_fill
from onetape.engine.buy_and_hold import (
    BuyAndHoldResult,
    compute_buy_and_hold_equity,
    compute_equal_parts_equity,
)
from onetape.engine.drawdown import Drawdown, compute_drawdown_curve, find_max_drawdown
from onetape.engine.exit_config import ExitConfig
from onetape.engine.exits import (
    EXIT_KINDS,
    BarExit,
    Levels,
    compute_levels,
    find_exit_at_open,
    find_exit_in_bar,
    find_final_exit,
)
from onetape.engine.fill_log import OpenPosition
from onetape.engine.fills import (
    FillModel,
    ModelFill,
    OrderContext,
    simulate_buy,
    simulate_sell,
)
from onetape.engine.intrabar import IntrabarSource
from onetape.engine.metrics import Metrics, MetricsContext, compute_metrics, make_metrics_context
from onetape.engine.month_models import make_rules_at, make_rules_of_candle
from onetape.engine.portfolio import TIE_RULE, PortfolioResult, SymbolSeries, simulate_portfolio
from onetape.engine.refused_orders import OrderRefusalKind, RefusedOrder
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
    "OrderRefusalKind",
    "PortfolioResult",
    "RefusedOrder",
    "SimulationResult",
    "SymbolSeries",
    "Trade",
    "compute_buy_and_hold_equity",
    "compute_drawdown_curve",
    "compute_equal_parts_equity",
    "compute_levels",
    "compute_metrics",
    "compute_volatility_before",
    "find_exit_at_open",
    "find_exit_in_bar",
    "find_final_exit",
    "find_max_drawdown",
    "make_booked_fill",
    "make_metrics_context",
    "make_rules_at",
    "make_rules_of_candle",
    "simulate",
    "simulate_buy",
    "simulate_portfolio",
    "simulate_sell",
]
