"""The bias check: whether a strategy gives equal signals from its last candles and all candles.

A backtest evaluates the whole range once, a trader the last `lookback` candles at each close. On
each bar i three signals are compared:

    whole    of bar i, from all candles, later ones included
    prefix   of bar i, from all candles up to it
    window   of bar i, from its last max(100, lookback) candles, as in the trader

Where window and whole differ, the prefix shows why: if it differs from the whole, later candles
changed the signal (look-ahead); if not, the window is too short (warm-up). Windows are evaluated
oldest first, by instances that never got the whole range, so that state stored from later candles
cannot make the signals equal. A strategy that gives other signals for the same candles is reported
as not repeatable. If a window fails, the others are evaluated anyway.
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
    StrategyMaker,
    WindowSizes,
    evaluate_all,
    evaluate_prefix_signal,
    evaluate_signals,
    evaluate_window_signal,
)
from onetape.strategies.check_result import (
    FAILED,
    CheckResult,
    SignalDifference,
    WindowSignals,
    make_check_result,
    make_difference,
)
from onetape.strategies.interface import SignalArray
from onetape.strategies.repeatability import find_fresh_instance_difference, find_repeat_difference

#: Called with the number of bars done.
ReportProgress = Callable[[int], None]
#: Number of bars above which only a part of the range is checked, unless all bars are requested.
MAX_BARS: Final = 200_000
#: Number of differing bars, after the first one, whose cause is examined, and number of bars that
#: fresh instances evaluate again.
EXAMINED_BARS: Final = 20
#: Bars between two calls of Progress.
_BARS_PER_CALL: Final = 256


def choose_bars_to_check(data: CheckData, *, whole: bool) -> IntArray:
    """Return the bars to check: all, or a range of MAX_BARS that the candles choose by seed."""
    bars = data.bars
    if whole or len(bars) <= MAX_BARS:
        return bars
    first = int(np.random.default_rng(data.seed).integers(len(bars) - MAX_BARS + 1))
    return bars[first : first + MAX_BARS]


def evaluate_windows(
    make: StrategyMaker,
    data: CheckData,
    bars: IntArray,
    windows: WindowSizes,
    on_progress: ReportProgress,
) -> tuple[SignalArray, str]:
    """Return the signals of the bars' windows, FAILED for one that fails, and the first failure.

    All are evaluated by one instance, oldest first.
    """
    strategy = make()
    seen = np.zeros(len(bars), dtype=np.int8)
    failure = ""
    for done, bar in enumerate(bars.tolist()):
        try:
            seen[done] = evaluate_window_signal(strategy, data, bar, windows)
        except OnetapeError as error:
            seen[done] = FAILED
            failure = failure or str(error)
        if done % _BARS_PER_CALL == 0:
            on_progress(done)
    on_progress(len(bars))
    return seen, failure


#: Evaluates windows as `evaluate_windows` does, in any number of processes.
EvaluateWindows = Callable[
    [StrategyMaker, CheckData, IntArray, WindowSizes, ReportProgress], tuple[SignalArray, str]
]


def check_strategy(
    make: StrategyMaker,
    data: CheckData,
    bars: IntArray,
    on_progress: ReportProgress = lambda _: None,
    evaluate: EvaluateWindows = evaluate_windows,
    *,
    after_run: bool = False,
) -> CheckResult:
    """Check a strategy on these bars for look-ahead and insufficient lookback.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: Indices of the bars, increasing.
        on_progress: Called with the number of bars done.
        evaluate: Evaluates the windows.
        after_run: Whether this process has evaluated the strategy on the whole range before.

    Raises:
        ConfigurationError: the strategy cannot be evaluated on all candles.
    """
    windows = WindowSizes.from_strategy(make())
    if after_run:
        _evaluate_other_prices(make, data)
    # Windows are evaluated first, before the strategy could store state from all candles.
    seen = WindowSignals(bars, *evaluate(make, data, bars, windows, on_progress))
    whole = evaluate_all(make(), data)
    result = compare_signals(make, data, seen, whole.signal, windows)
    levels = whole.level_columns
    if levels is None:
        return result
    # Most strategies give no stop and no target, and load none of it.
    from onetape.strategies.level_check import check_levels

    return check_levels(make, data, bars, levels, result)


def compare_signals(
    make: StrategyMaker,
    data: CheckData,
    seen: WindowSignals,
    whole: SignalArray,
    windows: WindowSizes,
    examined: int = EXAMINED_BARS,
) -> CheckResult:
    """Return the result of comparing the signals of windows with those of all candles.

    A window of a single candle counts only where longer windows differ too, because many strategies
    need two candles for a signal.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        seen: The signals of windows.
        whole: The signals of all candles.
        windows: Length of the windows.
        examined: Bars whose cause is examined, in addition to the first one.
    """
    unsteady = find_repeat_difference(make, data, seen.bars, whole)
    if unsteady is not None:
        return make_check_result(data, seen.bars, 0, windows, [unsteady.index], unsteady)
    failed = seen.signals == FAILED
    failing = drop_single_candle_windows(data, seen.bars[failed])
    differing = drop_single_candle_windows(
        data, seen.bars[~failed & (seen.signals != whole[seen.bars])]
    )
    some = [*differing[:examined].tolist(), *_choose_some_bars(data, seen.bars, examined)]
    unlike = find_fresh_instance_difference(make, data, seen, np.unique(some), windows)
    if unlike is not None:
        return make_check_result(
            data, seen.bars, len(seen.bars), windows, differing.tolist(), unlike
        )
    by_bar = dict(zip(seen.bars.tolist(), seen.signals.tolist(), strict=True))
    found = [
        explain_difference(make, data, bar, int(whole[bar]), by_bar[bar])
        for bar in _choose_some_bars(data, differing, examined)
    ]
    failure = None
    if len(failing):
        bar = int(failing[0])
        failure = make_difference(data, bar, "fails", int(whole[bar]), None, None, seen.failure)
    both = [*found[:1], *([] if failure is None else [failure])]
    first = min(both, key=_get_index) if both else None
    ahead = next((each for each in found if each.kind == "look-ahead"), None)
    return replace(
        make_check_result(
            data, seen.bars, len(seen.bars), windows, differing.tolist(), first, ahead
        ),
        failing=tuple(failing.tolist()),
        failure=failure,
        difference=found[0] if found else None,
    )


def explain_difference(
    make: StrategyMaker, data: CheckData, bar: int, whole: int, window: int
) -> SignalDifference:
    """Return the difference on a bar; its kind follows from the candles up to the bar."""
    try:
        prefix = evaluate_prefix_signal(make(), data, bar)
    except OnetapeError as error:
        return make_difference(data, bar, "fails", whole, None, window, str(error))
    return make_difference(
        data, bar, "warm-up" if prefix == whole else "look-ahead", whole, prefix, window
    )


def _get_index(found: SignalDifference) -> int:
    return found.index


def drop_single_candle_windows(data: CheckData, bars: IntArray) -> IntArray:
    """Return the bars unchanged, or none if the window of each is a single candle."""
    return bars if any(data.find_window_start(bar, 2) < bar for bar in bars.tolist()) else bars[:0]


def _choose_some_bars(data: CheckData, bars: IntArray, count: int) -> list[int]:
    """Return the first of some bars and at most `count` others, drawn by seed, increasing."""
    if len(bars) <= 1:
        return bars.tolist()
    # Not numpy.random, whose import would slow a plain backtest.
    rng = random.Random(data.seed)  # noqa: S311 - nothing secret
    others = rng.sample(bars.tolist(), min(count, len(bars)))
    return sorted({int(bars[0]), *others})


def _evaluate_other_prices(make: StrategyMaker, data: CheckData) -> None:
    """Evaluate a strategy on other prices at the same times, to overwrite state that it stores.

    State that a strategy stores in another module outlives its instances. The windows are then
    compared with wrong state instead of state from the true later prices, so the check finds it.
    """
    candles = data.candles
    prices = {name: getattr(candles, name) * 3 for name in ("open", "high", "low", "close")}
    other = replace(data, candles=replace(candles, **prices))
    with suppress(OnetapeError):
        evaluate_signals(make(), other)
