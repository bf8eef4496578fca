"""Why a BUY may not enter after an exit, in words; the rule is the engine's stepper's."""

from onetape.core.clock import utc_text
from onetape.engine import StepRules, SymbolStepState
from onetape.engine.step_state import EntryObstacle


def obstacle_text(
    obstacle: EntryObstacle, rules: StepRules, state: SymbolStepState, entered: int | None
) -> str:
    """Return why a BUY on the newest closed candle may not enter.

    Args:
        obstacle: What keeps it from entering.
        rules: Of the account.
        state: Of the symbol.
        entered: Candle that filled the last entry, epoch seconds.
    """
    if obstacle == "run_used":
        candle = "" if entered is None else f" of {utc_text(entered)}"
        return f"its run of BUYs has led to the entry{candle} already"
    passed = rules.cool_down_bars - state.cooldown_left(rules)
    if passed < 0:
        return "a position was left in the candle after it"
    return f"{passed:,} of {rules.cool_down_bars:,} candles of cool-down after the exit"
