"""Checks whether a strategy gives the same signals for the same candles again.

Signals that depend on random numbers, on the clock, or on state between two calls differ.
"""

from typing import Final

import numpy as np

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import (
    CheckData,
    StrategyMaker,
    WindowSizes,
    evaluate_signals,
    evaluate_window_signal,
)
from onetape.strategies.check_result import (
    FAILED,
    BiasKind,
    SignalDifference,
    WindowSignals,
    make_difference,
)
from onetape.strategies.interface import SignalArray, Strategy
from onetape.strategies.moved_clock import AHEAD_SECONDS, FURTHER_SECONDS, shift_clock

#: Number of fresh instances that are compared to distinguish chance from state.
_FRESH_INSTANCES: Final = 4


def find_repeat_difference(
    make: StrategyMaker,
    data: CheckData,
    bars: IntArray,
    whole: SignalArray,
    *,
    briefly: bool = False,
) -> SignalDifference | None:
    """Return the first bar on which a further evaluation of all candles gives another signal.

    Fresh instances are evaluated at other times of day, then one of them a second time. If only the
    second evaluation differs, the kind is "state", unless further fresh instances differ too.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: The bars that count.
        whole: Signals of the strategy for all candles.
        briefly: Whether to evaluate only two fresh instances, at two other times of day.
    """
    again = make()
    # Shifts by an odd and an even number of seconds, because `whole` may be some seconds old.
    brief = (AHEAD_SECONDS, AHEAD_SECONDS + 1)
    for ahead_seconds in brief if briefly else (*brief, FURTHER_SECONDS):
        with shift_clock(ahead_seconds):
            again = make()
            found = _find_first_difference(again, data, bars, whole, "not repeatable")
        if found is not None:
            return found
    if briefly:
        return None
    found = _find_first_difference(again, data, bars, whole, "state")
    if found is None:
        return None
    chance = (
        _find_first_difference(make(), data, bars, whole, "not repeatable")
        for _ in range(_FRESH_INSTANCES)
    )
    return next((each for each in chance if each is not None), found)


def _find_first_difference(
    strategy: Strategy, data: CheckData, bars: IntArray, whole: SignalArray, kind: BiasKind
) -> SignalDifference | None:
    """Return the first bar on which a strategy gives another signal than before."""
    try:
        other = evaluate_signals(strategy, data)
    except OnetapeError as error:
        bar = int(bars[0])
        return make_difference(data, bar, kind, int(whole[bar]), None, None, str(error))
    wrong = bars[other[bars] != whole[bars]]
    if not len(wrong):
        return None
    bar = int(wrong[0])
    return make_difference(data, bar, kind, int(whole[bar]), int(other[bar]), None)


def find_fresh_instance_difference(
    make: StrategyMaker, data: CheckData, seen: WindowSignals, bars: IntArray, windows: WindowSizes
) -> SignalDifference | None:
    """Return a bar on which a fresh instance and one that evaluated all bars differ.

    Where two fresh instances differ, the cause is not state but chance or the clock.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        seen: The signals of the instance that evaluated all bars.
        bars: Indices of the bars to check.
        windows: Length of the windows.
    """
    found: SignalDifference | None = None
    for bar in bars.tolist():
        before = int(seen.signals[np.searchsorted(seen.bars, bar)])
        fresh, other = (_evaluate_fresh_signal(make, data, bar, windows) for _ in range(2))
        if fresh != other:
            return make_difference(
                data, bar, "not repeatable", _drop_failed(fresh), _drop_failed(other), None
            )
        if fresh != before and found is None:
            found = make_difference(
                data, bar, "state", None, _drop_failed(fresh), _drop_failed(before)
            )
    return found


def _evaluate_fresh_signal(
    make: StrategyMaker, data: CheckData, bar: int, windows: WindowSizes
) -> int:
    """Return the signal of a bar's window by a fresh instance, or FAILED."""
    try:
        return evaluate_window_signal(make(), data, bar, windows)
    except OnetapeError:
        return FAILED


def _drop_failed(signal: int) -> int | None:
    return None if signal == FAILED else signal
