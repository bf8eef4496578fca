"""The check of every backtest: all bars of a short range, a few of a long one."""

import random
import time
from typing import Final

import numpy as np

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check import (
    CheckResult,
    Difference,
    Kind,
    check_strategy,
    explained,
    part_to_check,
    result_of,
)
from onetape.strategies.check_data import CheckData, Maker, Windows, window_signal
from onetape.strategies.interface import SignalArray

#: What a difference means for whoever reads the result.
_MEANING: Final[dict[Kind, str]] = {"look-ahead": "do not trust this result"}
_OTHERWISE: Final = "the trader would decide otherwise"

#: A range of at most so many bars is checked whole, as `backtester check` does.
WHOLE_BARS: Final = 5_000
#: Unless that would take longer, by the pace of the sample: seconds of the processor.
_WHOLE_SECONDS: Final = 1.0
#: Bars that are looked at, half of them such that signal something.
SAMPLED_BARS: Final = 200
#: Candles that all their windows hold together: a long lookback is tried on fewer bars.
_MOST_CANDLES: Final = 200_000
_LEAST_BARS: Final = 20
#: A strategy that takes longer is left after so many seconds; which bars came first is the same
#: each time.
MOST_SECONDS: Final = 0.5


def quick_check(make: Maker, data: CheckData, whole: SignalArray) -> CheckResult:
    """Check every bar where they are few and the strategy is quick, else a few that are chosen.

    Arguments and errors as of `sample_check`.
    """
    # Of the processor: how busy the machine is should not decide what is checked.
    began = time.thread_time()
    sample = sample_check(make, data, whole)
    pace = (time.thread_time() - began) / max(sample.checked, 1)
    if not sample.is_clean or len(data) > WHOLE_BARS or pace * len(data) > _WHOLE_SECONDS:
        return sample
    return check_strategy(make, data, part_to_check(data, whole=True), after_run=True)


def sample_check(make: Maker, data: CheckData, whole: SignalArray) -> CheckResult:
    """Check a few bars that the candles choose by their seed, so the same ones each time.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        whole: The signals of all of them, as the backtest took them.

    Raises:
        ConfigurationError: the strategy cannot be made.
    """
    runner = make()
    windows = Windows.of(runner)
    bars = _chosen(data, whole, windows)
    deadline = time.monotonic() + MOST_SECONDS
    seen: dict[int, int] = {}
    for bar in bars.tolist():
        try:
            seen[bar] = window_signal(runner, data, bar, windows)
        except OnetapeError as error:
            opened = int(data.candles.timestamp[bar])
            failed = Difference(bar, opened, "fails", int(whole[bar]), None, None, str(error))
            return result_of(data, bars, len(seen), windows, [bar], failed)
        if time.monotonic() > deadline:
            break
    done = np.array(sorted(seen))
    differing = [bar for bar in done.tolist() if seen[bar] != whole[bar]]
    first = None
    if differing:
        bar = differing[0]
        first = explained(make, data, bar, int(whole[bar]), seen[bar])
    return result_of(data, done, len(done), windows, differing, first)


def meaning(kind: Kind) -> str:
    """Return what a difference of this kind means for whoever reads the result."""
    return _MEANING.get(kind, _OTHERWISE)


def quick_text(result: CheckResult, command: str) -> str:
    """Return what a backtest says of it, such as `4,320 of 4,320 bars clean`.

    Args:
        result: What `quick_check` found.
        command: The command that checks every bar.
    """
    from onetape.core.clock import utc_text

    many, found = f"{result.checked:,} of {result.bars:,} bars", result.first
    is_sample = result.checked < result.bars
    if found is None:
        return f"{many} sampled, clean; all: {command}" if is_sample else f"{many} clean"
    where = (
        f"DIFFER, first {utc_text(found.timestamp)} UTC ({found.kind}): "
        f"{meaning(found.kind)}; why: {command}"
    )
    if not (result.checked and result.differing):
        # It did not repeat itself, whatever its windows say.
        return where
    return f"{many}{' sampled' if is_sample else ''}, {len(result.differing):,} {where}"


def _chosen(data: CheckData, whole: SignalArray, windows: Windows) -> IntArray:
    """Return the bars in an order that the seed gives."""
    # Not NumPy's: that part of it takes longer to import than the whole check.
    rng = random.Random(data.seed)  # noqa: S311 - nothing secret
    bars = data.bars
    most = min(SAMPLED_BARS, max(_LEAST_BARS, _MOST_CANDLES // windows.candles))
    # A window that is not full shows nothing of the warm-up.
    full = bars[bars >= windows.candles]
    bars = full if len(full) >= most else bars
    signalling = bars[whole[bars] != 0]
    half = rng.sample(range(len(signalling)), min(most // 2, len(signalling)))
    others = rng.sample(range(len(bars)), min(most, len(bars)))
    numbers = [*signalling[half].tolist(), *bars[others].tolist()]
    chosen = list(dict.fromkeys(numbers))[:most]
    rng.shuffle(chosen)
    return np.array(chosen)
