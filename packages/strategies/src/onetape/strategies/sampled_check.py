"""The quick bias check of every backtest: all bars of a short range, a sample of a long one.

The sample of a long range has the first bars, whose windows are not full, and bars with and without
a BUY or SELL, drawn with a seed that depends on the candles, so each run draws the same ones.
`doubtful_bars.py` searches all other signals; each doubtful bar is added to the sample.
"""

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.core.message_text import format_count
from onetape.strategies.check_data import (
    CheckData,
    StrategyMaker,
    WindowSizes,
    evaluate_window_signal,
)
from onetape.strategies.check_result import (
    FAILED,
    BiasKind,
    CheckResult,
    SignalDifference,
    WindowSignals,
    make_check_result,
)
from onetape.strategies.doubtful_bars import find_doubtful_bars
from onetape.strategies.interface import SignalArray, Strategy
from onetape.strategies.lookahead_check import (
    EXAMINED_BARS,
    check_strategy,
    choose_bars_to_check,
    compare_signals,
    drop_single_candle_windows,
)
from onetape.strategies.moved_clock import shift_clock
from onetape.strategies.repeatability import find_repeat_difference
from onetape.strategies.segments import find_segment

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns

#: Consequence of each kind of difference, as a backtest prints it.
_MEANING: Final[dict[BiasKind, str]] = {"look-ahead": "do not trust this result"}
_OTHER_MEANING: Final = "the trader would decide otherwise"

#: Maximum number of bars of a range that is checked whole, as `backtester check` does.
WHOLE_BARS: Final = 5_000
#: Processor seconds that checking the whole range may take, estimated from a few bars.
WHOLE_SECONDS: Final = 1.0
#: Bars from which the pace is measured.
_PACE_BARS: Final = 16
#: Number of bars in the sample.
SAMPLED_BARS: Final = 200
#: Maximum number of candles of all sampled windows together: with a long lookback the sample has
#: fewer bars, at least `_MIN_BARS`.
_MAX_CANDLES: Final = 200_000
_MIN_BARS: Final = 20
#: Maximum seconds of an evaluation of all candles that is repeated, at another time of day.
_REPEAT_SECONDS: Final = 0.01
#: Number of bars whose evaluation is repeated where all candles would take longer.
_REPEAT_BARS: Final = 8
#: Processor seconds after which the check of a slow strategy ends; the order of its bars is always
#: the same.
MAX_SECONDS: Final = 0.5
#: Wall seconds after which the check ends, for a strategy that waits, and on a busy machine.
_MAX_WALL_SECONDS: Final = 2.0


def run_quick_check(
    make: StrategyMaker,
    data: CheckData,
    whole: SignalArray,
    whole_seconds: float = 0.0,
    levels: "LevelColumns | None" = None,
) -> CheckResult:
    """Check every bar of a short range with a quick strategy, otherwise a sample of the bars.

    Arguments and errors as of `run_sample_check`.
    """
    if len(data) <= WHOLE_BARS and _measure_pace(make, data) * len(data) <= WHOLE_SECONDS:
        return check_strategy(make, data, choose_bars_to_check(data, whole=True), after_run=True)
    result = run_sample_check(make, data, whole, whole_seconds, levels)
    timed = (
        _find_difference_at_another_time(make, data, whole, whole_seconds)
        if result.is_clean
        else None
    )
    if timed is None:
        return result
    return replace(result, checked=0, differing=(timed.index,), first=timed)


def run_sample_check(
    make: StrategyMaker,
    data: CheckData,
    whole: SignalArray,
    whole_seconds: float = 0.0,
    levels: "LevelColumns | None" = None,
) -> CheckResult:
    """Check a strategy on a sample of the bars, within a limit of time.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        whole: Signals of all candles, as the backtest used them, shape (n,).
        whole_seconds: Time that the evaluation of all candles took; 0: not known.
        levels: Stops and targets of all candles; None: the strategy gives none.

    Raises:
        ConfigurationError: the strategy cannot be made.
    """
    windows = WindowSizes.from_strategy(make())
    chosen = _choose_bars(make, data, whole, windows, whole_seconds)
    seen, failure = _evaluate_bars(make(), data, chosen, windows, _Budget())
    bars = np.array(sorted(seen))
    signals = np.array([seen[bar] for bar in bars.tolist()], dtype=np.int8)
    if not len(drop_single_candle_windows(data, bars[signals != whole[bars]])):
        result = make_check_result(data, bars, len(bars), windows, [], None)
        if levels is None:
            return result
        from onetape.strategies.level_check import check_levels

        budget = _Budget()
        return check_levels(make, data, bars, levels, result, lambda: budget.is_spent)
    # The explanation of a bar takes at most as long as the evaluation of all candles.
    examined = int(min(EXAMINED_BARS, MAX_SECONDS / max(whole_seconds, 1e-9)))
    return compare_signals(
        make, data, WindowSignals(bars, signals, failure), whole, windows, examined
    )


class _Budget:
    """Limit of processor time and wall time of a check."""

    def __init__(self, seconds: float = MAX_SECONDS) -> None:
        """Start the limit now, with this many seconds of processor time."""
        self._processor = time.thread_time() + seconds
        self._wall = time.monotonic() + _MAX_WALL_SECONDS

    @property
    def is_spent(self) -> bool:
        """Return whether the time of the check is used up."""
        return time.thread_time() > self._processor or time.monotonic() > self._wall


def describe_meaning(kind: BiasKind) -> str:
    """Return the meaning of a difference of this kind for a reader of the result."""
    return _MEANING.get(kind, _OTHER_MEANING)


def format_quick_check(result: CheckResult, command: str) -> str:
    """Return the line of a backtest on its bias check, such as `passed, 4,320 bars`.

    Args:
        result: Result of `run_quick_check`.
        command: The command that checks every bar.
    """
    from onetape.core.clock import format_utc

    many, found = f"{result.checked:,} of {result.bars:,} bars", result.worst
    is_sample = result.checked < result.bars
    if found is None:
        if is_sample:
            return f"passed on a sample of {many}; all: {command}"
        return f"passed, {format_count(result.bars, 'bar')}"
    where = (
        f"first {format_utc(found.timestamp)} UTC ({found.kind}): {describe_meaning(found.kind)}"
    )
    if not result.checked:
        # The strategy is not repeatable, even if the signals of its windows agree.
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


def _measure_pace(make: StrategyMaker, data: CheckData) -> float:
    """Return the processor seconds of a bar, which do not depend on how busy the machine is."""
    strategy = make()
    windows = WindowSizes.from_strategy(strategy)
    budget, taken = _Budget(), list[float]()
    later = data.bars[len(data) // 2 :]
    for bar in later[:: max(1, len(later) // _PACE_BARS)].tolist():
        began = time.thread_time()
        _evaluate_bars(strategy, data, [bar], windows, budget)
        taken.append(time.thread_time() - began)
        if budget.is_spent:
            break
    # Only the faster bars count: the first includes imports, and others may be slowed by load.
    return sorted(taken)[len(taken) // 4]


def _evaluate_bars(
    strategy: Strategy, data: CheckData, bars: Sequence[int], windows: WindowSizes, budget: _Budget
) -> tuple[dict[int, int], str]:
    """Return the signals of the bars' windows, FAILED for one that fails, and the first failure.

    At least one window is evaluated; once the budget is spent, no further one.
    """
    seen: dict[int, int] = {}
    failure = ""
    for bar in bars:
        try:
            seen[bar] = evaluate_window_signal(strategy, data, bar, windows)
        except OnetapeError as error:
            seen[bar] = FAILED
            failure = failure or str(error)
        if budget.is_spent:
            break
    return seen, failure


def _find_difference_at_another_time(
    make: StrategyMaker, data: CheckData, whole: SignalArray, whole_seconds: float
) -> SignalDifference | None:
    """Return a bar on which a fresh instance at another time of day gives another signal, or None.

    Where all candles would take too long, only the windows of a few bars are evaluated.
    """
    if whole_seconds <= _REPEAT_SECONDS:
        return find_repeat_difference(make, data, data.bars, whole, briefly=True)
    windows, bars = WindowSizes.from_strategy(make()), data.bars
    signalling = data.find_signalling_bars(whole, bars)
    some = (signalling if len(signalling) else bars)[-_REPEAT_BARS:].tolist()
    now, _ = _evaluate_bars(make(), data, some, windows, _Budget(MAX_SECONDS / 10))
    with shift_clock():
        other, _ = _evaluate_bars(make(), data, list(now), windows, _Budget(MAX_SECONDS / 10))
    bar = next((bar for bar in other if other[bar] != now[bar]), None)
    if bar is None:
        return None
    opened = int(data.candles.timestamp[bar])
    return SignalDifference(bar, opened, "not repeatable", now[bar], other[bar], None)


def _choose_bars(
    make: StrategyMaker,
    data: CheckData,
    whole: SignalArray,
    windows: WindowSizes,
    whole_seconds: float,
) -> list[int]:
    """Return the bars to check, each once: the first ones, oldest first, then others by seed."""
    # Not numpy.random, whose import takes longer than the whole check.
    rng = random.Random(data.seed)  # noqa: S311 - nothing secret
    count = min(SAMPLED_BARS, max(_MIN_BARS, _MAX_CANDLES // windows.candles))
    bars = data.bars
    # Later segments begin with a warm-up, so their windows are full.
    begin = find_segment(data.segments, int(bars[0])).start
    short = int(np.searchsorted(bars, begin + windows.candles - 1))
    first, full = bars[:short], bars[short:]
    doubts = find_doubtful_bars(make, data, whole, windows, whole_seconds, rng)[: count // 4]
    early = _sample_bars(rng, data, first, whole, count // 2 if len(full) else count)
    others = _sample_bars(rng, data, full, whole, count - len(early) - len(doubts))
    rng.shuffle(others)
    return list(dict.fromkeys([*sorted(early), *doubts, *others]))


def _sample_bars(
    rng: random.Random, data: CheckData, bars: IntArray, whole: SignalArray, count: int
) -> list[int]:
    """Return a sample of the bars; half of them have a BUY or SELL."""
    if len(bars) <= count:
        return bars.tolist()
    signalling = data.find_signalling_bars(whole, bars)
    half = rng.sample(range(len(signalling)), min(count // 2, len(signalling)))
    others = rng.sample(range(len(bars)), count)
    chosen = dict.fromkeys([*signalling[half].tolist(), *bars[others].tolist()])
    return list(chosen)[:count]
