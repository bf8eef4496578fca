"""Public names of the stepper, which trades event by event; a backtest does not load them."""

from onetape.engine.guard_log import ClosedTrade, EntryPause, count_candles_needed
from onetape.engine.step_events import (
    CandleClosed,
    CandleForming,
    CandlesOpened,
    Enter,
    EntryFilled,
    EntryRefused,
    Exit,
    ExitDue,
    ExitFilled,
    ExitRefused,
    ExitSent,
    Intent,
    OpenedCandle,
    StepEvent,
    StrategySignal,
)
from onetape.engine.step_restore import CandleFacts, restore_state
from onetape.engine.step_state import (
    EntryObstacle,
    HeldPosition,
    StepRules,
    StepState,
    SymbolStepState,
    find_entry_obstacle,
    sort_closed_trades,
)
from onetape.engine.stepper import step

__all__ = [
    "CandleClosed",
    "CandleFacts",
    "CandleForming",
    "CandlesOpened",
    "ClosedTrade",
    "Enter",
    "EntryFilled",
    "EntryObstacle",
    "EntryPause",
    "EntryRefused",
    "Exit",
    "ExitDue",
    "ExitFilled",
    "ExitRefused",
    "ExitSent",
    "HeldPosition",
    "Intent",
    "OpenedCandle",
    "StepEvent",
    "StepRules",
    "StepState",
    "StrategySignal",
    "SymbolStepState",
    "count_candles_needed",
    "find_entry_obstacle",
    "restore_state",
    "sort_closed_trades",
    "step",
]
