"""Gate verdict and problem of the trader for a strategy that could not be evaluated."""

from typing import Final

from trader.evaluator.results import EvaluationFailure
from trader.states import Problem

#: Name under which the problem is reported to the trader's states.
STRATEGY_PROBLEM: Final = "strategy"
#: Verdict of the gate `strategy` if a candle of another market is not stored in time.
INPUT_LATE: Final = "other market late"
_MEASURE: Final = "no decision on this candle, the next one is tried; no entries, stops go on"
_INPUT_MEASURE: Final = (
    "no decision on this candle, it is evaluated for an exit once the other is stored; no entries, "
    "stops go on"
)
_REMEDIES: Final = {
    "late": "if this lasts, make the strategy faster, or raise strategy_timeout_seconds",
    "ended": "if this lasts, fix the strategy's file and restart the trader",
    "failed": "if this lasts, fix the strategy's file and restart the trader",
    "input": "look at the status page of the exchange, if this lasts",
}


def format_gate_verdict(failure: EvaluationFailure) -> str:
    """Return the verdict of the gate `strategy`: `strategy late`, `strategy failed` and so on."""
    return INPUT_LATE if failure.kind == "input" else f"{STRATEGY_PROBLEM} {failure.kind}"


def make_failure_problem(failure: EvaluationFailure) -> Problem:
    """Return the failure as a problem that degrades the trader."""
    text = failure.text.partition("; ")[0].removeprefix("strategy ")
    reason = f"{format_gate_verdict(failure)}: {text}"
    measure = _INPUT_MEASURE if failure.kind == "input" else _MEASURE
    return Problem(reason, measure, _REMEDIES[failure.kind])
