"""Prove that a strategy decides alike from its last candles and from all of them.

A backtest evaluates the whole range once, a trader the last `lookback` candles at each close. On
each bar i three signals are compared:

    whole    of bar i, from all candles, later ones included
    prefix   of bar i, from all candles up to it
    window   of bar i, from its last max(100, lookback) candles, as in the trader

Where window and whole differ, the prefix shows why: if it differs from the whole, later candles
changed the past (look-ahead); if not, the window is too short (warm-up). Windows are evaluated by
instances that never got the whole range, oldest first, so that no stored state can help; a strategy
that does not repeat its signals is reported as such. If a window fails, the others are evaluated
anyway.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import (
    CheckData,
    Maker,
    Windows,
    prefix_signal,
    signals_of,
    window_signal,
)
from onetape.strategies.check_result import (
    FAILED,
    CheckResult,
    Seen,
    SignalDifference,
    difference_at,
    result_of,
)
from onetape.strategies.interface import SignalArray
from onetape.strategies.repeatability import bars_unlike_again, bars_unlike_fresh

#: Called with how many bars are done.
Progress = Callable[[int], None]
#: Number of bars above which only a part of the range is checked, unless all bars are requested.
MOST_BARS: Final = 200_000
#: Bars whose cause is looked into, in addition to the first one, and that are evaluated by fresh
#: instances.
EXAMINED: Final = 20
#: Bars between two calls of Progress.
_BARS_PER_CALL: Final = 256


def part_to_check(data: CheckData, *, whole: bool) -> IntArray:
    """Return the bars to check: all, or a range of MOST_BARS that the candles choose by seed."""
    bars = data.bars
    if whole or len(bars) <= MOST_BARS:
        return bars
    first = int(np.random.default_rng(data.seed).integers(len(bars) - MOST_BARS + 1))
    return bars[first : first + MOST_BARS]


def windows_evaluated(
    make: Maker, data: CheckData, bars: IntArray, windows: Windows, on_progress: Progress
) -> tuple[SignalArray, str]:
    """Return the signals of the bars' windows, FAILED for one that fails, and the first failure.

    All are evaluated by one instance, oldest first.
    """
    strategy = make()
    seen = np.zeros(len(bars), dtype=np.int8)
    failure = ""
    for done, bar in enumerate(bars.tolist()):
        try:
            seen[done] = window_signal(strategy, data, bar, windows)
        except OnetapeError as error:
            seen[done] = FAILED
            failure = failure or str(error)
        if done % _BARS_PER_CALL == 0:
            on_progress(done)
    on_progress(len(bars))
    return seen, failure


#: Evaluates windows as `windows_evaluated` does, in whatever processes.
Evaluate = Callable[[Maker, CheckData, IntArray, Windows, Progress], tuple[SignalArray, str]]


def check_strategy(
    make: Maker,
    data: CheckData,
    bars: IntArray,
    on_progress: Progress = lambda _: None,
    evaluate: Evaluate = windows_evaluated,
    *,
    after_run: bool = False,
) -> CheckResult:
    """Check a strategy on these bars for look-ahead and insufficient lookback.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: Indices of the bars, increasing.
        on_progress: Called with how many are done.
        evaluate: Evaluates the windows.
        after_run: Whether this process has shown the strategy the whole range before.

    Raises:
        ConfigurationError: the strategy cannot be evaluated on all candles.
    """
    windows = Windows.of(make())
    if after_run:
        _mislead(make, data)
    # Windows come first: state that a strategy stores from all candles does not exist yet.
    seen = Seen(bars, *evaluate(make, data, bars, windows, on_progress))
    whole = signals_of(make(), data)
    return judge(make, data, seen, whole, windows)


def judge(
    make: Maker,
    data: CheckData,
    seen: Seen,
    whole: SignalArray,
    windows: Windows,
    examined: int = EXAMINED,
) -> CheckResult:
    """Return what the signals of windows prove, compared with those of all candles.

    A window of a single candle counts only where others are wrong, too: a strategy that needs two
    is not at fault.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        seen: The signals of windows.
        whole: The signals of all candles.
        windows: Length of the windows.
        examined: Bars whose cause is looked into, in addition to the first one.
    """
    unsteady = bars_unlike_again(make, data, seen.bars, whole)
    if unsteady is not None:
        return result_of(data, seen.bars, 0, windows, [unsteady.index], unsteady)
    failed = seen.signals == FAILED
    failing = without_single(data, seen.bars[failed])
    differing = without_single(data, seen.bars[~failed & (seen.signals != whole[seen.bars])])
    some = [*differing[:examined].tolist(), *_some(data, seen.bars, examined)]
    unlike = bars_unlike_fresh(make, data, seen, np.unique(some), windows)
    if unlike is not None:
        return result_of(data, seen.bars, len(seen.bars), windows, differing.tolist(), unlike)
    by_bar = dict(zip(seen.bars.tolist(), seen.signals.tolist(), strict=True))
    found = [
        explained(make, data, bar, int(whole[bar]), by_bar[bar])
        for bar in _some(data, differing, examined)
    ]
    failure = None
    if len(failing):
        bar = int(failing[0])
        failure = difference_at(data, bar, "fails", int(whole[bar]), None, None, seen.failure)
    both = [*found[:1], *([] if failure is None else [failure])]
    first = min(both, key=_index) if both else None
    ahead = next((each for each in found if each.kind == "look-ahead"), None)
    return replace(
        result_of(data, seen.bars, len(seen.bars), windows, differing.tolist(), first, ahead),
        failing=tuple(failing.tolist()),
        failure=failure,
        difference=found[0] if found else None,
    )


def explained(make: Maker, data: CheckData, bar: int, whole: int, window: int) -> SignalDifference:
    """Return the difference on a bar; its kind follows from the candles up to the bar."""
    try:
        prefix = prefix_signal(make(), data, bar)
    except OnetapeError as error:
        return difference_at(data, bar, "fails", whole, None, window, str(error))
    return difference_at(
        data, bar, "warm-up" if prefix == whole else "look-ahead", whole, prefix, window
    )


def _index(found: SignalDifference) -> int:
    return found.index


def without_single(data: CheckData, bars: IntArray) -> IntArray:
    """Return these bars; none where only windows of a single candle are among them."""
    return bars if any(data.window_start(bar, 2) < bar for bar in bars.tolist()) else bars[:0]


def _some(data: CheckData, bars: IntArray, count: int) -> list[int]:
    """Return the first of these bars and some others by seed, increasing."""
    if len(bars) <= 1:
        return bars.tolist()
    # Not NumPy's random numbers: a plain backtest does not wait for their import.
    rng = random.Random(data.seed)  # noqa: S311 - nothing secret
    others = rng.sample(bars.tolist(), min(count, len(bars)))
    return sorted({int(bars[0]), *others})


def _mislead(make: Maker, data: CheckData) -> None:
    """Show a strategy other prices at the same times.

    What it keeps outside of its file, such as in another module, then misleads it in the windows,
    where it would have shown what comes next.
    """
    candles = data.candles
    prices = {name: getattr(candles, name) * 3 for name in ("open", "high", "low", "close")}
    other = replace(data, candles=replace(candles, **prices))
    with suppress(OnetapeError):
        signals_of(make(), other)
