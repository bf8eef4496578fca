"""Whether a BUY may enter: cool-down and re-entry, by the engine's rules.

A run of BUYs is used up once it has led to an entry (`new_signal`). Which candles said BUY rests on
the stored decisions, so that restarts change nothing; of candles that no session has decided on, on
the signals that the strategy gives them now.
"""

import numpy as np

from onetape.core.candles import Candles
from onetape.core.clock import utc_text
from onetape.store.candles import closed_timestamps, last_closed_before
from onetape.store.ledger import decided_candles, has_other_signal
from onetape.strategies import BUY, Signals, lookback_of
from trader.job import Job
from trader.paper import PaperBroker


def entry_obstacle(job: Job, broker: PaperBroker, candles: Candles, signals: Signals) -> str | None:
    """Return why the BUY of the last candle may not enter, in words; None where it may.

    Args:
        job: What is traded.
        broker: Knows the last entry and the last exit; there is no position.
        candles: Those that the strategy was given.
        signals: What it made of them.
    """
    timestamp = int(candles.timestamp[-1])
    left = broker.last_exit
    cool_down = job.rules.cool_down_bars
    if left is not None and cool_down:
        after = closed_timestamps(job.store, job.key, after=left, limit=cool_down)
        passed = sum(opened <= timestamp for opened in after)
        if passed < cool_down:
            return f"{passed:,} of {cool_down:,} candles of cool-down after the exit"
    entered = broker.last_entry
    if entered is None or job.rules.reentry == "while_signal":
        return None
    if not _is_run_used(job, entered, candles, signals):
        return None
    return f"its run of BUYs has led to the entry of {utc_text(entered)} already"


def _is_run_used(job: Job, entered: int, candles: Candles, signals: Signals) -> bool:
    """Return whether every candle has said BUY since the one before the last entry's."""
    since = last_closed_before(job.store, job.key, entered)
    since = entered if since is None else since
    timestamp = int(candles.timestamp[-1])
    if has_other_signal(job.store, job.session, BUY, since, timestamp):
        return False
    # Signals before the lookback is full are none.
    first = max(int(np.searchsorted(candles.timestamp, since)), lookback_of(job.strategy) - 1)
    others = np.flatnonzero(signals.signal[first:-1] != BUY) + first
    decided = decided_candles(job.store, job.session, since, timestamp)
    return all(opened in decided for opened in candles.timestamp[others].tolist())
