"""Evaluate decisions again whose candles were corrected, so that no exit is lost to a wrong candle.

A correction never enters a position. Where it turns a decision into SELL while the position that
the decision was made in is open, that position has to be left.
"""

from collections.abc import Callable

from onetape.core.clock import utc_text
from onetape.store.corrections import decisions_to_evaluate_again, store_correction
from onetape.strategies import BUY, SELL
from trader.job import Job

_NAMES = {BUY: "BUY", SELL: "SELL"}


def reconsider(
    job: Job, evaluate: Callable[[int], int], owe_exit: Callable[[int, str], bool]
) -> list[str]:
    """Evaluate every marked decision of the account again, oldest first.

    Args:
        job: What is traded.
        evaluate: Returns the strategy's signal on the candle that opens then, epoch seconds.
        owe_exit: Called with such a candle and the reason where the decision turned into SELL;
            returns whether the position that is open has to be left for it.

    Returns:
        A line for each decision whose signal changed.

    Raises:
        StoreError: the file cannot be written; the decision is evaluated again later.
    """
    lines: list[str] = []
    for each in decisions_to_evaluate_again(job.store, job.key, account=job.session.account):
        signal = evaluate(each.timestamp)
        if signal == each.signal:
            store_correction(job.store, each.decision, f"signal {_name(signal)} as before")
            continue
        closed = utc_text(job.timeframe.next(each.timestamp))
        text = f"signal {_name(each.signal)} -> {_name(signal)}"
        effect = "nothing is ordered"
        if signal == SELL and owe_exit(each.timestamp, f"corrected candle: {text}"):
            effect = "the position is left"
        store_correction(job.store, each.decision, f"{text}: {effect}")
        lines.append(f"decision of {closed} on the corrected candles: {text}, {effect}")
    return lines


def _name(signal: int) -> str:
    return _NAMES.get(signal, "HOLD")
