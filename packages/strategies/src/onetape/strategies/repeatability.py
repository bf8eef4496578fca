"""Whether a strategy repeats itself: no chance, no clock, and no state between two calls."""

from typing import Final

import numpy as np

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import CheckData, Maker, Windows, signals_of, window_signal
from onetape.strategies.check_result import FAILED, Kind, Seen, SignalDifference, difference_at
from onetape.strategies.interface import SignalArray, Strategy
from onetape.strategies.moved_clock import AHEAD_SECONDS, FURTHER_SECONDS, moved_clock

#: Fresh instances that distinguish chance from state.
_TRIES: Final = 4


def bars_unlike_again(
    make: Maker, data: CheckData, bars: IntArray, whole: SignalArray, *, briefly: bool = False
) -> SignalDifference | None:
    """Return the first bar on which a strategy does not repeat its signal for all candles.

    Fresh instances are evaluated at other times of day, then one of them once more. Where only that
    differs it is state, unless more fresh instances show that chance is at work.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: The bars that count.
        whole: Signals of the strategy for all candles.
        briefly: Two fresh instances, at two other times of day, and no more.
    """
    again = make()
    # An odd and an even number of seconds: the second may have changed since `whole` was computed.
    brief = (AHEAD_SECONDS, AHEAD_SECONDS + 1)
    for ahead_seconds in brief if briefly else (*brief, FURTHER_SECONDS):
        with moved_clock(ahead_seconds):
            again = make()
            found = _unlike(again, data, bars, whole, "not repeatable")
        if found is not None:
            return found
    if briefly:
        return None
    found = _unlike(again, data, bars, whole, "state")
    if found is None:
        return None
    chance = (_unlike(make(), data, bars, whole, "not repeatable") for _ in range(_TRIES))
    return next((each for each in chance if each is not None), found)


def _unlike(
    strategy: Strategy, data: CheckData, bars: IntArray, whole: SignalArray, kind: Kind
) -> SignalDifference | None:
    """Return the first bar on which a strategy gives another signal than before."""
    try:
        other = signals_of(strategy, data)
    except OnetapeError as error:
        bar = int(bars[0])
        return difference_at(data, bar, kind, int(whole[bar]), None, None, str(error))
    wrong = bars[other[bars] != whole[bars]]
    if not len(wrong):
        return None
    bar = int(wrong[0])
    return difference_at(data, bar, kind, int(whole[bar]), int(other[bar]), None)


def bars_unlike_fresh(
    make: Maker, data: CheckData, seen: Seen, bars: IntArray, windows: Windows
) -> SignalDifference | None:
    """Return a bar that a fresh instance decides otherwise than one that went through all.

    Where two fresh instances differ, it is no state: the strategy does not repeat itself.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        seen: The signals of the instance that went through all.
        bars: Indices of the bars to check.
        windows: Length of the windows.
    """
    found: SignalDifference | None = None
    for bar in bars.tolist():
        before = int(seen.signals[np.searchsorted(seen.bars, bar)])
        fresh, other = (_fresh_signal(make, data, bar, windows) for _ in range(2))
        if fresh != other:
            return difference_at(data, bar, "not repeatable", _known(fresh), _known(other), None)
        if fresh != before and found is None:
            found = difference_at(data, bar, "state", None, _known(fresh), _known(before))
    return found


def _fresh_signal(make: Maker, data: CheckData, bar: int, windows: Windows) -> int:
    """Return the signal of a bar's window by a fresh instance, or FAILED."""
    try:
        return window_signal(make(), data, bar, windows)
    except OnetapeError:
        return FAILED


def _known(signal: int) -> int | None:
    return None if signal == FAILED else signal
