"""Prove that a strategy decides alike from its last candles and from all of them.

A backtest evaluates the whole range once, a trader the last `lookback` candles at each close. On
each bar i three signals are compared:

    whole    of bar i, from all candles, later ones included
    prefix   of bar i, from all candles up to it
    window   of bar i, from its last max(100, lookback) candles, as the trader sees them

Where window and whole differ, the prefix tells why: if it differs from the whole, later candles
changed the past (look-ahead); if not, the window is too short (warm-up). Windows are evaluated by
instances that never saw the whole, oldest first, so that nothing remembered can help; a strategy
that does not repeat itself is named as such.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal

import numpy as np
from msgspec import Struct
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
from onetape.strategies.interface import SignalArray

#: Told how many bars are done.
Progress = Callable[[int], None]
#: What is wrong with a strategy.
Kind = Literal["look-ahead", "warm-up", "not repeatable", "state", "fails"]

#: Above so many bars a part of the range is checked unless all of it is asked for.
MOST_BARS: Final = 200_000
#: Bars whose cause is looked into, beside the first one, and that are evaluated by fresh instances.
_EXAMINED: Final = 20
#: Bars between two calls of Progress.
_BARS_PER_CALL: Final = 256


class Difference(Struct, frozen=True):
    """One bar on which a strategy does not decide alike."""

    index: int
    timestamp: int
    """Its open, epoch seconds."""
    kind: Kind
    whole: int | None
    prefix: int | None
    window: int | None
    """The three signals; None where it was not evaluated."""
    text: str = ""
    """What the strategy's failure said."""


class CheckResult(Struct, frozen=True):
    """What a check found."""

    bars: int
    """How many bars the range has."""
    checked: int
    start: int
    """Open of the first bar of the part that was checked, epoch seconds."""
    end: int
    """Open of the last one."""
    windows: Windows
    differing: tuple[int, ...] = ()
    """The bars that differ, by index, oldest first."""
    first: Difference | None = None
    """The first of them."""
    look_ahead: Difference | None = None
    """The first of the examined ones that shows look-ahead."""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was found."""
        return self.first is None


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
    """Return the signals of the bars' windows up to the first that fails, and its failure's text.

    All are evaluated by one instance, oldest first.
    """
    strategy = make()
    seen = np.zeros(len(bars), dtype=np.int8)
    for done, bar in enumerate(bars.tolist()):
        try:
            seen[done] = window_signal(strategy, data, bar, windows)
        except OnetapeError as error:
            return seen[:done], str(error)
        if done % _BARS_PER_CALL == 0:
            on_progress(done)
    on_progress(len(bars))
    return seen, ""


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
    """Check these bars.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: Indices of the bars, increasing.
        on_progress: Told how many are done.
        evaluate: Evaluates the windows.
        after_run: Whether this process has shown the strategy the whole range before.

    Raises:
        ConfigurationError: the strategy cannot be evaluated on all candles.
    """
    windows = Windows.of(make())
    if after_run:
        _mislead(make, data)
    # The windows first: what a strategy keeps of the whole, wherever, is not there yet.
    seen, failure = evaluate(make, data, bars, windows, on_progress)
    whole = signals_of(make(), data)
    unsteady = _unsteady(make, data, bars, whole)
    if unsteady is not None:
        return result_of(data, bars, 0, windows, [unsteady.index], unsteady)
    if failure:
        bar = int(bars[len(seen)])
        failed = _difference(data, bar, "fails", int(whole[bar]), None, None, failure)
        return result_of(data, bars, len(seen), windows, [bar], failed)
    differing = bars[seen != whole[bars]]
    by_bar = dict(zip(bars.tolist(), seen.tolist(), strict=True))
    stateful = _state(make, data, bars, differing, by_bar, windows)
    if stateful is not None:
        return result_of(data, bars, len(bars), windows, differing.tolist(), stateful)
    return _explained(make, data, bars, differing, whole, by_bar, windows)


def explained(make: Maker, data: CheckData, bar: int, whole: int, window: int) -> Difference:
    """Return why a bar differs: the candles up to it tell."""
    try:
        prefix = prefix_signal(make(), data, bar)
    except OnetapeError as error:
        return _difference(data, bar, "fails", whole, None, window, str(error))
    return _difference(
        data, bar, "warm-up" if prefix == whole else "look-ahead", whole, prefix, window
    )


def result_of(
    data: CheckData,
    bars: IntArray,
    checked: int,
    windows: Windows,
    differing: Sequence[int],
    first: Difference | None,
    look_ahead: Difference | None = None,
) -> CheckResult:
    """Return the result over these bars."""
    start, end = (int(data.candles.timestamp[bars[number]]) for number in (0, -1))
    return CheckResult(len(data), checked, start, end, windows, tuple(differing), first, look_ahead)


def _unsteady(
    make: Maker, data: CheckData, bars: IntArray, whole: SignalArray
) -> Difference | None:
    """Return the first bar on which a strategy does not repeat what it said of all candles."""
    again = make()
    kinds: tuple[Kind, Kind] = ("not repeatable", "state")
    # First a fresh instance, then the same one once more.
    for kind in kinds:
        other = signals_of(again, data)
        wrong = bars[other[bars] != whole[bars]]
        if len(wrong):
            bar = int(wrong[0])
            return _difference(data, bar, kind, int(whole[bar]), int(other[bar]), None)
    return None


def _mislead(make: Maker, data: CheckData) -> None:
    """Show a strategy other prices at the same times.

    What it keeps outside of its file, such as in another module, then misleads it in the windows,
    where it would have told what comes next.
    """
    candles = data.candles
    prices = {name: getattr(candles, name) * 3 for name in ("open", "high", "low", "close")}
    other = replace(data, candles=replace(candles, **prices))
    with suppress(OnetapeError):
        signals_of(make(), other)


def _state(
    make: Maker,
    data: CheckData,
    bars: IntArray,
    differing: IntArray,
    seen: Mapping[int, int],
    windows: Windows,
) -> Difference | None:
    """Return a bar that a fresh instance decides otherwise than one that went through all."""
    some = np.random.default_rng(data.seed).choice(bars, min(_EXAMINED, len(bars)), replace=False)
    for bar in sorted({*differing[:_EXAMINED].tolist(), *some.tolist()}):
        fresh = window_signal(make(), data, bar, windows)
        if fresh != seen[bar]:
            return _difference(data, bar, "state", None, fresh, seen[bar])
    return None


def _explained(
    make: Maker,
    data: CheckData,
    bars: IntArray,
    differing: IntArray,
    whole: SignalArray,
    seen: Mapping[int, int],
    windows: Windows,
) -> CheckResult:
    if not len(differing):
        return result_of(data, bars, len(bars), windows, [], None)
    rng = np.random.default_rng(data.seed)
    others = rng.choice(differing, min(_EXAMINED, len(differing)), replace=False).tolist()
    found = [
        explained(make, data, bar, int(whole[bar]), seen[bar])
        for bar in sorted({int(differing[0]), *others})
    ]
    ahead = next((each for each in found if each.kind == "look-ahead"), None)
    return result_of(data, bars, len(bars), windows, differing.tolist(), found[0], ahead)


def _difference(
    data: CheckData,
    bar: int,
    kind: Kind,
    whole: int | None,
    prefix: int | None,
    window: int | None,
    text: str = "",
) -> Difference:
    timestamp = int(data.candles.timestamp[bar])
    return Difference(bar, timestamp, kind, whole, prefix, window, text)
