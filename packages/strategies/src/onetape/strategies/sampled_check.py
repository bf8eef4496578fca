"""The check of every backtest: all bars of a short range, a few of a long one.

Of a long range it checks the first bars, whose windows are not full, bars that signal something,
and others drawn with a seed from the candles, so the same ones each time. All other signals are
examined at once (`doubtful_bars.py`); where a bar is in doubt, its own window decides.
"""

import random
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.core.message_text import format_count
from onetape.strategies.check_data import CheckData, Maker, Windows, window_signal
from onetape.strategies.check_result import (
    FAILED,
    CheckResult,
    Kind,
    Seen,
    SignalDifference,
    result_of,
)
from onetape.strategies.doubtful_bars import find_doubtful_bars
from onetape.strategies.interface import SignalArray, Strategy
from onetape.strategies.lookahead_check import (
    EXAMINED,
    check_strategy,
    judge,
    part_to_check,
    without_single,
)
from onetape.strategies.moved_clock import moved_clock
from onetape.strategies.repeatability import bars_unlike_again
from onetape.strategies.segments import segment_at

#: What a difference means for a reader of the result.
_MEANING: Final[dict[Kind, str]] = {"look-ahead": "do not trust this result"}
_OTHERWISE: Final = "the trader would decide otherwise"

#: Maximum number of bars of a range that is checked whole, as `backtester check` does.
WHOLE_BARS: Final = 5_000
#: Processor seconds that checking the whole range may take, estimated from a few bars.
WHOLE_SECONDS: Final = 1.0
#: Bars from which the pace is measured.
_PACE_BARS: Final = 16
#: Number of bars in the sample.
SAMPLED_BARS: Final = 200
#: Candles that all their windows hold together: a long lookback is tried on fewer bars.
_MOST_CANDLES: Final = 200_000
_LEAST_BARS: Final = 20
#: Maximum seconds of an evaluation of all candles that is repeated, at another time of day.
_AGAIN_SECONDS: Final = 0.01
#: Number of bars whose evaluation is repeated where all candles would take longer.
_AGAIN_BARS: Final = 8
#: Processor seconds after which the check of a slow strategy ends; the order of its bars is always
#: the same.
MOST_SECONDS: Final = 0.5
#: Wall seconds after which the check ends, for a strategy that waits, and on a busy machine.
_MOST_WALL_SECONDS: Final = 2.0


def quick_check(
    make: Maker, data: CheckData, whole: SignalArray, whole_seconds: float = 0.0
) -> CheckResult:
    """Check every bar where they are few and the strategy is quick, else a few that are chosen.

    Arguments and errors as of `sample_check`.
    """
    if len(data) <= WHOLE_BARS and _pace(make, data) * len(data) <= WHOLE_SECONDS:
        return check_strategy(make, data, part_to_check(data, whole=True), after_run=True)
    result = sample_check(make, data, whole, whole_seconds)
    timed = _at_another_time(make, data, whole, whole_seconds) if result.is_clean else None
    if timed is None:
        return result
    return replace(result, checked=0, differing=(timed.index,), first=timed)


def sample_check(
    make: Maker, data: CheckData, whole: SignalArray, whole_seconds: float = 0.0
) -> CheckResult:
    """Check a strategy on a sample of the bars, within a limit of time.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        whole: The signals of all of them, as the backtest took them.
        whole_seconds: Time that this evaluation took; 0: not known.

    Raises:
        ConfigurationError: the strategy cannot be made.
    """
    windows = Windows.of(make())
    chosen = _chosen(make, data, whole, windows, whole_seconds)
    seen, failure = _signals(make(), data, chosen, windows, _Budget())
    bars = np.array(sorted(seen))
    signals = np.array([seen[bar] for bar in bars.tolist()], dtype=np.int8)
    if not len(without_single(data, bars[signals != whole[bars]])):
        return result_of(data, bars, len(bars), windows, [], None)
    # To explain a bar takes as long as all candles, at most.
    examined = int(min(EXAMINED, MOST_SECONDS / max(whole_seconds, 1e-9)))
    return judge(make, data, Seen(bars, signals, failure), whole, windows, examined)


class _Budget:
    """Limit of processor time and wall time of a check."""

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        """Start the limit now, with this many seconds of processor time."""
        self._processor = time.thread_time() + seconds
        self._wall = time.monotonic() + _MOST_WALL_SECONDS

    @property
    def is_spent(self) -> bool:
        """Return whether the time of the check is used up."""
        return time.thread_time() > self._processor or time.monotonic() > self._wall


def meaning(kind: Kind) -> str:
    """Return what a difference of this kind means for a reader of the result."""
    return _MEANING.get(kind, _OTHERWISE)


def quick_text(result: CheckResult, command: str) -> str:
    """Return the line of a backtest on its bias check, such as `passed, 4,320 bars`.

    Args:
        result: Result of `quick_check`.
        command: The command that checks every bar.
    """
    from onetape.core.clock import format_utc

    many, found = f"{result.checked:,} of {result.bars:,} bars", result.worst
    is_sample = result.checked < result.bars
    if found is None:
        if is_sample:
            return f"passed on a sample of {many}; all: {command}"
        return f"passed, {format_count(result.bars, 'bar')}"
    where = f"first {format_utc(found.timestamp)} UTC ({found.kind}): {meaning(found.kind)}"
    if not result.checked:
        # The strategy did not repeat its signals, whatever its windows return.
        return f"DIFFER, {where}; why: {command}"
    parts: list[str] = []
    if found.kind != "fails":
        parts.append(f"{len(result.differing):,} DIFFER, {where}")
    if result.failure is not None:
        first = (
            "" if found.kind == "fails" else f", first {format_utc(result.failure.timestamp)} UTC"
        )
        where = f", {where}" if found.kind == "fails" else first
        parts.append(f"{len(result.failing):,} FAIL{where}")
    return f"{many}{' sampled' if is_sample else ''}, {'; '.join(parts)}; why: {command}"


def _pace(make: Maker, data: CheckData) -> float:
    """Return the seconds that a bar takes, of the processor: a busy machine decides nothing."""
    strategy = make()
    windows = Windows.of(strategy)
    budget, taken = _Budget(), list[float]()
    later = data.bars[len(data) // 2 :]
    for bar in later[:: max(1, len(later) // _PACE_BARS)].tolist():
        began = time.thread_time()
        _signals(strategy, data, [bar], windows, budget)
        taken.append(time.thread_time() - began)
        if budget.is_spent:
            break
    # Of the quicker ones: the first bar includes imports, and others are slow on a busy machine.
    return sorted(taken)[len(taken) // 4]


def _signals(
    strategy: Strategy, data: CheckData, bars: Sequence[int], windows: Windows, budget: _Budget
) -> tuple[dict[int, int], str]:
    """Return the signals of the bars' windows, FAILED for one that fails, and the first failure.

    At least one; once the budget is spent, no more.
    """
    seen: dict[int, int] = {}
    failure = ""
    for bar in bars:
        try:
            seen[bar] = window_signal(strategy, data, bar, windows)
        except OnetapeError as error:
            seen[bar] = FAILED
            failure = failure or str(error)
        if budget.is_spent:
            break
    return seen, failure


def _at_another_time(
    make: Maker, data: CheckData, whole: SignalArray, whole_seconds: float
) -> SignalDifference | None:
    """Return a bar on which a fresh instance at another time of day gives another signal, or None.

    Where all candles would take too long, only the windows of a few bars are evaluated.
    """
    if whole_seconds <= _AGAIN_SECONDS:
        return bars_unlike_again(make, data, data.bars, whole, briefly=True)
    windows, bars = Windows.of(make()), data.bars
    signalling = data.signalling(whole, bars)
    some = (signalling if len(signalling) else bars)[-_AGAIN_BARS:].tolist()
    now, _ = _signals(make(), data, some, windows, _Budget(MOST_SECONDS / 10))
    with moved_clock():
        other, _ = _signals(make(), data, list(now), windows, _Budget(MOST_SECONDS / 10))
    bar = next((bar for bar in other if other[bar] != now[bar]), None)
    if bar is None:
        return None
    opened = int(data.candles.timestamp[bar])
    return SignalDifference(bar, opened, "not repeatable", now[bar], other[bar], None)


def _chosen(
    make: Maker, data: CheckData, whole: SignalArray, windows: Windows, whole_seconds: float
) -> list[int]:
    """Return the bars to look at, each once: the first ones, oldest first, then others by seed."""
    # Not NumPy's: that part of it takes longer to import than the whole check.
    rng = random.Random(data.seed)  # noqa: S311 - nothing secret
    most = min(SAMPLED_BARS, max(_LEAST_BARS, _MOST_CANDLES // windows.candles))
    bars = data.bars
    # Later segments begin with a warm-up, so their windows are full.
    begin = segment_at(data.segments, int(bars[0])).start
    short = int(np.searchsorted(bars, begin + windows.candles - 1))
    first, full = bars[:short], bars[short:]
    doubts = find_doubtful_bars(make, data, whole, windows, whole_seconds, rng)[: most // 4]
    early = _drawn(rng, data, first, whole, most // 2 if len(full) else most)
    others = _drawn(rng, data, full, whole, most - len(early) - len(doubts))
    rng.shuffle(others)
    return list(dict.fromkeys([*sorted(early), *doubts, *others]))


def _drawn(
    rng: random.Random, data: CheckData, bars: IntArray, whole: SignalArray, count: int
) -> list[int]:
    """Return a sample of the bars; half of them have a BUY or SELL."""
    if len(bars) <= count:
        return bars.tolist()
    signalling = data.signalling(whole, bars)
    half = rng.sample(range(len(signalling)), min(count // 2, len(signalling)))
    others = rng.sample(range(len(bars)), count)
    chosen = dict.fromkeys([*signalling[half].tolist(), *bars[others].tolist()])
    return list(chosen)[:count]
