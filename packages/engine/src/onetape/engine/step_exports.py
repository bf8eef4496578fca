"""Public names of the stepper, which trades event by event; a backtest does not load them."""

from onetape.engine.step_events import (
    CandleClosed,
    CandleForming,
    CandlesOpened,
    Enter,
    EntryFilled,
    EntryRefused,
    Event,
    Exit,
    ExitDue,
    ExitFilled,
    ExitRefused,
    ExitSent,
    Intent,
    OpenedCandle,
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
)
from onetape.engine.stepper import step

__all__ = [
    "CandleClosed",
    "CandleFacts",
    "CandleForming",
    "CandlesOpened",
    "Enter",
    "EntryFilled",
    "EntryObstacle",
    "EntryRefused",
    "Event",
    "Exit",
    "ExitDue",
    "ExitFilled",
    "ExitRefused",
    "ExitSent",
    "HeldPosition",
    "Intent",
    "OpenedCandle",
    "StepRules",
    "StepState",
    "StrategySignal",
    "SymbolStepState",
    "find_entry_obstacle",
    "restore_state",
    "step",
]
