"""Search of a long range for bars whose window may give another signal than the whole range.

The windows of many bars are joined to one series and evaluated at once, in a fraction of the time
of one evaluation each. Where the last signal of a window differs from that of the whole range, the
bar is doubtful: in the joined series, other candles follow it. The difference proves nothing,
because the joined series has gaps; the bias check then evaluates the bar's window alone.
"""

import random
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onetape.core.candles import Candles, IntArray
from onetape.core.errors import OnetapeError
from onetape.strategies.check_data import CheckData, StrategyMaker, WindowSizes
from onetape.strategies.evaluation import evaluate_strategy
from onetape.strategies.interface import SignalArray
from onetape.strategies.output_capture import discard_stderr

#: Maximum number of candles that are evaluated.
_MAX_CANDLES: Final = 100_000
#: Seconds that the evaluation of doubtful bars may take, estimated from the whole range.
_MAX_SECONDS: Final = 0.05


def find_doubtful_bars(
    make: StrategyMaker,
    data: CheckData,
    whole: SignalArray,
    windows: WindowSizes,
    whole_seconds: float,
    rng: random.Random,
) -> list[int]:
    """Return the doubtful bars with a BUY or SELL, oldest first.

    Where too many bars have a signal, a random sample of them is examined; it prefers the first
    bars of runs of one signal.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        whole: Signals of all candles, shape (n,).
        windows: Length of the windows.
        whole_seconds: Time that the evaluation of all candles took; 0: not known.
        rng: Random generator of the sample.
    """
    if data.higher and len(data.segments) > 1:
        # The visible higher-timeframe candles differ between segments.
        return []
    pace = whole_seconds / len(data.candles)
    candles = min(_MAX_CANDLES, int(_MAX_SECONDS / pace) if pace else _MAX_CANDLES)
    bars = _choose_candidates(data, whole, windows.candles, candles // windows.candles, rng)
    found: list[int] = []
    for group in _split_into_disjoint_groups(bars, windows.candles):
        found += _find_differing_bars(make, data, whole, group, windows.candles)
    return sorted(found)


def _choose_candidates(
    data: CheckData, whole: SignalArray, window: int, max_bars: int, rng: random.Random
) -> list[int]:
    """Return bars with a signal and a full window, oldest first."""
    signalling = data.find_signalling_bars(whole, data.bars)
    if len(data.segments) == 1:
        first = data.segments[0].start + window - 1
        signalling = signalling[int(np.searchsorted(signalling, first)) :]
    else:
        begins: IntArray = np.array([segment.start for segment in data.segments], dtype=np.int64)
        starts = begins[np.searchsorted(begins, signalling, side="right") - 1]
        signalling = signalling[signalling - starts + 1 >= window]
    if len(signalling) <= max_bars:
        return signalling.tolist()
    is_edge = whole[signalling] != whole[signalling - 1]
    edges, others = signalling[is_edge], signalling[~is_edge]
    if len(edges) >= max_bars:
        edges, others = edges[rng.sample(range(len(edges)), max_bars)], others[:0]
    more = others[rng.sample(range(len(others)), min(max_bars - len(edges), len(others)))]
    return np.sort(np.concatenate((edges, more))).tolist()


def _split_into_disjoint_groups(bars: list[int], window: int) -> list[list[int]]:
    """Return the bars in lists whose windows do not overlap, so that times increase."""
    groups: list[list[int]] = []
    for bar in bars:
        for group in groups:
            if bar - group[-1] >= window:
                group.append(bar)
                break
        else:
            groups.append([bar])
    return groups


def _find_differing_bars(
    make: StrategyMaker, data: CheckData, whole: SignalArray, bars: list[int], window: int
) -> list[int]:
    """Return the bars whose windows, joined to one series, give another signal."""
    ends: IntArray = np.array(bars, dtype=np.int64)
    starts = ends - (window - 1)
    higher = {
        name: series.copy_with(series, _concat_windows(series.visible, starts, window))
        for name, series in data.higher.items()
    }
    traded = data.candles
    columns = (traded.timestamp, traded.open, traded.high, traded.low, traded.close, traded.volume)
    candles = Candles(*(_concat_windows(column, starts, window) for column in columns))
    try:
        with discard_stderr():
            signals = evaluate_strategy(make(), candles, higher, are_sound=data.are_sound).signal
    except OnetapeError:
        # The strategy may fail on a series with gaps: then only the sample is checked.
        return []
    return ends[signals[window - 1 :: window] != whole[ends]].tolist()


def _concat_windows(column: NDArray[Any], starts: IntArray, window: int) -> NDArray[Any]:
    """Return the values of windows that start at some rows, one window behind the other."""
    # One copy of all windows, which takes a quarter of the time of a loop over the rows.
    return sliding_window_view(column, window)[starts].ravel()
