"""Simple, exponential and Wilder's averages, and crosses of two lines, in NumPy alone.

Everything with a memory comes down to one sum over a sliding window, weighted by powers of a ratio:

    S_w[i] = x[i] + r x[i-1] + r^2 x[i-2] + ... + r^(w-1) x[i-w+1]

A plain mean has r = 1. An exponential average y[i] = a x[i] + (1-a) y[i-1] is an S with r = 1 - a
and an endless window; the window is cut where the weights left out sum to at most MEMORY_TOLERANCE,
and the rest is scaled to one again. The sum is built by doubling, S_2k[i] = S_k[i] + r^k S_k[i-k],
so it takes about log2(w) passes over the array and no Python per bar.

This has a property that a running sum or a recursion lacks: the value at bar i is the same to the
last bit whatever came before its window, because the same numbers are added in the same order. So a
trader that reads the last few hundred candles and a backtest over years decide alike at an exact
tie, too; functions named `..._lookback` return the number of candles needed.

All arrays have shape (n,), oldest first; values are NaN until the first one is known.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray
from onetape.strategies.indicator_cache import as_array, cacheable

#: Weight that an exponential average may leave out: far below the last digit of a price.
MEMORY_TOLERANCE = 1e-12
#: Relative difference of two prices or averages that rounding alone can make.
NOISE = 1e-12
#: Rows worked on at a time, so that the passes of one sum stay in the processor's cache.
CHUNK_ROWS = 16_384


@cacheable
def sma(values: FloatArray, window: int) -> FloatArray:
    """Return the simple moving average.

    Args:
        values: Prices or any series; NaN at its start is skipped.
        window: Bars to average, at least 1.

    Returns:
        The mean of the last `window` values; NaN before there are that many.

    Raises:
        ValueError: window is under 1.
    """
    check_window(window)
    sums = compute_weighted_sums(values, window, 1.0)
    sums /= window
    sums[: window - 1] = np.nan
    return sums


@cacheable
def ema(values: FloatArray, window: int) -> FloatArray:
    """Return the exponential moving average with a = 2 / (window + 1).

    Seeded with the mean of the first `window` values, as TA-Lib does.

    Args:
        values: Prices or any series; NaN at its start is skipped.
        window: Nominal length in bars, at least 1.

    Raises:
        ValueError: window is under 1.
    """
    check_window(window)
    return compute_exponential_average(values, window, 2.0 / (window + 1))


@cacheable
def wilder(values: FloatArray, period: int) -> FloatArray:
    """Return Wilder's average: a = 1 / period, seeded with the mean of the first `period` values.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems, 1978.

    Raises:
        ValueError: period is under 1.
    """
    check_window(period, "period")
    return compute_exponential_average(values, period, 1.0 / period)


def crosses(
    first: FloatArray, second: FloatArray | float, noise: FloatArray | float
) -> NDArray[np.int8]:
    """Return the crosses of two lines on each bar: int8, 1 up, -1 down, 0 none.

    Up on bar t means first <= second on bar t-1 and first > second on bar t; down is the mirror
    image. TradingView's `ta.crossover` and qtpylib have the same rule: the bar that leaves a
    touch is the cross, however long the lines were equal, and only two bars decide. NaN crosses
    nothing.

    Args:
        first: The line that moves.
        second: The line or level that it crosses.
        noise: The lines count as equal where they differ by no more than this: the error that
            rounding can make, such as `close * NOISE`.
    """
    first, second, noise = as_array(first), as_array(second), as_array(noise)
    count = len(first)
    crossed = np.zeros(count, dtype=np.int8)
    # Neighbouring chunks share one bar, because a cross compares two.
    for start in range(0, count - 1, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS + 1)
        difference, reach = first[rows] - _select_rows(second, rows), _select_rows(noise, rows)
        over, not_over = difference > reach, difference <= reach
        np.negative(difference, out=difference)
        under, not_under = difference > reach, difference <= reach
        up, down = over[1:] & not_over[:-1], under[1:] & not_under[:-1]
        out = crossed[start + 1 : start + CHUNK_ROWS + 1]
        np.subtract(up.view(np.int8), down.view(np.int8), out=out)
    return crossed


def _select_rows(values: FloatArray | float, rows: slice) -> FloatArray | float:
    return values[rows] if isinstance(values, np.ndarray) else values


def ema_lookback(window: int) -> int:
    """Return the number of candles that give the last EMA exactly as all candles do."""
    return window + compute_memory(1.0 - 2.0 / (window + 1))


def check_window(window: Any, name: str = "window", minimum: int = 1) -> None:
    """Check a length in bars.

    Raises:
        ValueError: the length is no whole number, or below the minimum.
    """
    if not isinstance(window, (int, np.integer)) or window < minimum:
        bars = "bar" if minimum == 1 else "bars"
        raise ValueError(f"{name} must be {minimum} {bars} or more, found {window}")


def compute_memory(ratio: float, tolerance: float = MEMORY_TOLERANCE) -> int:
    """Return the number of bars n, rounded up, with ratio**n at most the tolerance.

    It is rounded up to a number with at most three bits set, which saves passes over the array.
    """
    if ratio <= 0.0:
        return 1
    bars = math.ceil(math.log(tolerance) / math.log(ratio))
    grain = 1 << max(bars.bit_length() - 3, 0)
    return -(-bars // grain) * grain


def compute_exponential_average(values: FloatArray, window: int, weight: float) -> FloatArray:
    """Return y[i] = weight x[i] + (1 - weight) y[i-1], seeded with the first window's mean."""
    first = count_leading_nans(values) + window - 1
    if first >= len(values):
        return np.full(len(values), np.nan)
    return compute_decayed_average(
        values, first, values[first - window + 1 : first + 1].mean(), weight
    )


def compute_decayed_average(
    values: FloatArray, first: int, seed: float, weight: float
) -> FloatArray:
    """Return y[i] = weight x[i] + (1 - weight) y[i-1] from y[first] = seed on; NaN before."""
    average = np.full(len(values), np.nan)
    if first >= len(values):
        return average
    ratio = 1.0 - weight
    memory = compute_memory(ratio)
    terms = values[first:] * weight
    terms[0] = seed
    sums = compute_weighted_sums(terms, memory, ratio)
    # From row `memory` on, terms older than the window are left out; scale the weights to sum 1.
    sums[memory:] /= 1.0 - ratio**memory
    average[first:] = sums
    return average


def count_leading_nans(values: FloatArray) -> int:
    """Return the number of values at the start that are not finite; 0 if the first is no NaN."""
    if len(values) == 0 or not math.isnan(values[0]):
        return 0
    known = np.isfinite(values)
    return int(known.argmax()) if known.any() else len(values)


def compute_weighted_sums(values: FloatArray, window: int, ratio: float) -> FloatArray:
    """Return S_window of the module's docstring; the sums at the start have fewer terms.

    Each sum depends to the last bit only on the values in its window, so the array may be
    cut into chunks that overlap by a window.
    """
    count = len(values)
    rows = max(CHUNK_ROWS, 4 * window)
    if count <= rows:
        return _compute_chunk_sums(values, window, ratio)
    sums = np.empty(count)
    for start in range(0, count, rows):
        left = max(0, start - window + 1)
        stop = min(start + rows, count)
        sums[start:stop] = _compute_chunk_sums(values[left:stop], window, ratio)[start - left :]
    return sums


def _compute_chunk_sums(values: FloatArray, window: int, ratio: float) -> FloatArray:
    """Return the sums of one chunk: widths are doubled, and those that are needed added up."""
    count = len(values)
    sums = np.zeros(count)
    power, grown, scratch = values, np.empty(count), sums if ratio == 1.0 else np.empty(count)
    width, taken = 1, 0
    while True:
        if window & width:
            # The bits of `window`, lowest first: this part covers the terms after those taken.
            _add_shifted(sums, sums, power, taken, ratio, scratch)
            taken += width
        width *= 2
        if width > window:
            return sums
        _add_shifted(grown, power, power, width // 2, ratio, scratch)
        power, grown = grown, np.empty(count) if power is values else power


def _add_shifted(
    out: FloatArray,
    base: FloatArray,
    addend: FloatArray,
    shift: int,
    ratio: float,
    scratch: FloatArray,
) -> None:
    """Write base[i] + ratio**shift * addend[i - shift] to `out`; only base where i < shift."""
    if shift == 0:
        np.add(base, addend, out=out)
        return
    count = max(len(base) - shift, 0)
    shifted = addend[:count]
    if ratio != 1.0:
        shifted = np.multiply(shifted, ratio**shift, out=scratch[:count])
    np.add(base[shift:], shifted, out=out[shift:])
    if out is not base:
        out[:shift] = base[:shift]
