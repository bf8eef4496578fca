"""Search for the smallest lookback with which each window gives the signal of all candles.

`backtester check` runs it after it has found a lookback too short, and prints the result.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import (
    CheckData,
    StrategyMaker,
    WindowSizes,
    evaluate_signals,
    evaluate_window_signal,
)
from onetape.strategies.check_result import FAILED
from onetape.strategies.interface import SignalArray
from onetape.strategies.registry import MAX_LOOKBACK

#: Number of bars that a candidate is tried on first: differing bars, and others drawn by seed.
_TRIED_BARS: Final = 200
#: Number of times that a candidate is raised after a failure on another bar.
_MAX_ROUNDS: Final = 8


class MinLookback(Struct, frozen=True):
    """The smallest lookback that gives the signals of all candles on all checked bars."""

    name: str
    """`lookback`, or `higher_lookback` where the higher timeframe has too few candles."""
    value: int
    """Smallest sufficient number of candles."""


def find_min_lookback(
    make: StrategyMaker,
    data: CheckData,
    bars: IntArray,
    differing: Sequence[int],
    windows: WindowSizes,
) -> MinLookback | None:
    """Return the smallest lookback that gives the signals of all candles, or None.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: The bars that were checked.
        differing: Bars that differ, by the check.
        windows: WindowSizes that were too short.
    """
    whole = evaluate_signals(make(), data)
    ways: list[tuple[str, Callable[[int], WindowSizes], int]] = [
        ("lookback", lambda value: WindowSizes(value, windows.higher), windows.candles)
    ]
    if data.higher:
        # Tried first: more traded candles would need more higher-timeframe candles too.
        ways.insert(
            0,
            ("higher_lookback", lambda value: WindowSizes(windows.candles, value), windows.higher),
        )
    for name, wider, short in ways:
        search = _Search(make, data, bars, whole, wider)
        longest = _compute_longest_window(data, differing, name)
        value = search.find_smallest(list(differing), short, longest)
        if value is not None:
            return MinLookback(name, value)
    return None


def _compute_longest_window(data: CheckData, differing: Sequence[int], name: str) -> int:
    """Return the longest lookback to try: half of the bars must have more candles before them."""
    middle = sorted(differing)[len(differing) // 2]
    if name == "lookback":
        return min(MAX_LOOKBACK, middle - data.find_window_start(middle, middle + 1))
    return min(MAX_LOOKBACK, max(int(each.visible[middle]) for each in data.higher.values()) - 1)


class _Search:
    """Searches for the shortest window with unchanged signals."""

    def __init__(
        self,
        make: StrategyMaker,
        data: CheckData,
        bars: IntArray,
        whole: SignalArray,
        wider: Callable[[int], WindowSizes],
    ) -> None:
        """Take the data that all windows share."""
        self._strategy = make()
        self._data = data
        self._bars = bars
        self._whole = whole
        self._wider = wider

    def find_smallest(self, differing: list[int], short: int, longest: int) -> int | None:
        """Return the smallest window above `short`, at most `longest`, that agrees on all bars."""
        tried = _choose_some_bars(differing, self._data.seed)
        for _ in range(_MAX_ROUNDS):
            value = self._bisect_window(tried, short, longest)
            if value is None:
                return None
            wrong = self._find_wrong_bars(self._bars.tolist(), value)
            if not wrong:
                return value
            # The window agrees on the tried bars and differs on others: try these bars too.
            tried = sorted({*tried, *_choose_some_bars(wrong, self._data.seed)})
            short = value
        return None

    def _bisect_window(self, tried: list[int], short: int, longest: int) -> int | None:
        """Return the smallest window that agrees on the bars tried: doubling, then halving."""
        if longest <= short:
            return None
        low, high = short, min(2 * short, longest)
        while self._find_wrong_bars(tried, high, stop_at_first=True):
            if high >= longest:
                return None
            low, high = high, min(2 * high, longest)
        while high - low > 1:
            middle = (low + high) // 2
            if self._find_wrong_bars(tried, middle, stop_at_first=True):
                low = middle
            else:
                high = middle
        return high

    def _find_wrong_bars(
        self, bars: list[int], value: int, *, stop_at_first: bool = False
    ) -> list[int]:
        windows = self._wider(value)
        wrong: list[int] = []
        for bar in bars:
            if self._evaluate_signal(bar, windows) != self._whole[bar]:
                wrong.append(bar)
                if stop_at_first:
                    break
        return wrong

    def _evaluate_signal(self, bar: int, windows: WindowSizes) -> int:
        """Return the signal of a bar's window, or FAILED."""
        try:
            return evaluate_window_signal(self._strategy, self._data, bar, windows)
        except OnetapeError:
            return FAILED


def _choose_some_bars(bars: Sequence[int], seed: int) -> list[int]:
    if len(bars) <= _TRIED_BARS:
        return sorted(bars)
    # The last bars have the most candles before them, so long windows can be tried on them.
    chosen = np.random.default_rng(seed).choice(np.array(bars), _TRIED_BARS, replace=False)
    return sorted({*chosen.tolist(), bars[0], bars[-1]})
