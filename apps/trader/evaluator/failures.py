"""Gate verdict and problem of the trader for a strategy that could not be evaluated."""

from typing import Final

from trader.evaluator.results import EvaluationFailure
from trader.states import Problem

#: Name under which the problem is reported to the trader's states.
STRATEGY_PROBLEM: Final = "strategy"
_MEASURE: Final = "no decision on this candle, the next one is tried; no entries, stops go on"
_REMEDIES: Final = {
    "late": "if this lasts, make the strategy faster, or raise strategy_timeout_seconds",
    "ended": "if this lasts, fix the strategy's file and restart the trader",
    "failed": "if this lasts, fix the strategy's file and restart the trader",
}


def format_gate_verdict(failure: EvaluationFailure) -> str:
    """Return the verdict of the gate `strategy`: `strategy late`, `... ended` or `... failed`."""
    return f"{STRATEGY_PROBLEM} {failure.kind}"


def make_failure_problem(failure: EvaluationFailure) -> Problem:
    """Return the failure as a problem that degrades the trader."""
    text = failure.text.partition("; ")[0].removeprefix("strategy ")
    reason = f"{format_gate_verdict(failure)}: {text}"
    return Problem(reason, _MEASURE, _REMEDIES[failure.kind])
