"""Look through all signals of a long range at once, for bars whose window may decide otherwise.

The windows of many bars, put behind each other, are evaluated in one go: that takes a part of the
time of one evaluation each. Where the last signal of a window differs from the whole range's, the
bar is doubtful: what follows is another window, not the candles that really came. It proves
nothing, because such a series has gaps; the bar's own window does.
"""

import random
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onetape.core.candles import Candles, IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import CheckData, Maker, Windows
from onetape.strategies.evaluation import checked_signals
from onetape.strategies.higher_timeframes import HigherCandles
from onetape.strategies.interface import SignalArray
from onetape.strategies.output_capture import muted

#: Maximum number of candles that are evaluated.
_MOST_CANDLES: Final = 100_000
#: Seconds that the evaluation of doubtful bars may take, estimated from the whole range.
_MOST_SECONDS: Final = 0.05


def find_doubtful_bars(
    make: Maker,
    data: CheckData,
    whole: SignalArray,
    windows: Windows,
    whole_seconds: float,
    rng: random.Random,
) -> list[int]:
    """Return the bars that signal something and are doubtful, oldest first.

    Where there are too many to look through, chance takes the first bars of runs of a signal.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        whole: The signals of all of them.
        windows: Length of the windows.
        whole_seconds: Time that the evaluation of all candles took; 0: not known.
        rng: Chooses.
    """
    if data.higher and len(data.segments) > 1:
        # The visible higher-timeframe candles differ between segments.
        return []
    pace = whole_seconds / len(data.candles)
    candles = min(_MOST_CANDLES, int(_MOST_SECONDS / pace) if pace else _MOST_CANDLES)
    bars = _candidates(data, whole, windows.candles, candles // windows.candles, rng)
    found: list[int] = []
    for lane in _lanes(bars, windows.candles):
        found += _unlike(make, data, whole, lane, windows.candles)
    return sorted(found)


def _candidates(
    data: CheckData, whole: SignalArray, window: int, most: int, rng: random.Random
) -> list[int]:
    """Return bars with a signal and a full window, oldest first."""
    signalling = data.signalling(whole, data.bars)
    if len(data.segments) == 1:
        first = data.segments[0].start + window - 1
        signalling = signalling[int(np.searchsorted(signalling, first)) :]
    else:
        begins: IntArray = np.array([segment.start for segment in data.segments], dtype=np.int64)
        starts = begins[np.searchsorted(begins, signalling, side="right") - 1]
        signalling = signalling[signalling - starts + 1 >= window]
    if len(signalling) <= most:
        return signalling.tolist()
    is_edge = whole[signalling] != whole[signalling - 1]
    edges, others = signalling[is_edge], signalling[~is_edge]
    if len(edges) >= most:
        edges, others = edges[rng.sample(range(len(edges)), most)], others[:0]
    more = others[rng.sample(range(len(others)), min(most - len(edges), len(others)))]
    return np.sort(np.concatenate((edges, more))).tolist()


def _lanes(bars: list[int], window: int) -> list[list[int]]:
    """Return the bars in lists whose windows do not overlap, so that times increase."""
    lanes: list[list[int]] = []
    for bar in bars:
        for lane in lanes:
            if bar - lane[-1] >= window:
                lane.append(bar)
                break
        else:
            lanes.append([bar])
    return lanes


def _unlike(
    make: Maker, data: CheckData, whole: SignalArray, bars: list[int], window: int
) -> list[int]:
    """Return those of the bars whose windows, behind each other, give another signal."""
    ends: IntArray = np.array(bars, dtype=np.int64)
    starts = ends - (window - 1)
    higher = {
        name: HigherCandles.of(one, one.timeframe, _in_windows(one.visible, starts, window))
        for name, one in data.higher.items()
    }
    one = data.candles
    columns = (one.timestamp, one.open, one.high, one.low, one.close, one.volume)
    candles = Candles(*(_in_windows(column, starts, window) for column in columns))
    try:
        with muted():
            signals = checked_signals(make(), candles, higher, are_sound=data.are_sound).signal
    except OnetapeError:
        # A series with gaps may be too much for it: the sample finds what there is to find.
        return []
    return ends[signals[window - 1 :: window] != whole[ends]].tolist()


def _in_windows(column: NDArray[Any], starts: IntArray, window: int) -> NDArray[Any]:
    """Return the values of windows that start at some rows, one window behind the other."""
    # Window by window: row by row takes four times as long.
    return sliding_window_view(column, window)[starts].ravel()
