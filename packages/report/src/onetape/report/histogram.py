"""The histogram of a page: how many closed trades ended in each range of profit."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct

from onetape.core.digits import format_fixed
from onetape.core.message_text import format_count
from onetape.report.data import ReportTrade

#: Bins of equal width; trades outside of them are counted in one more at each end.
MAX_BINS: Final = 24
#: Part of the trades that may lie outside of the bins, at each end.
_OUTSIDE_PART: Final = 0.01
#: Times a power of ten; the last one makes at most 14 bins of the lowest power that is tried.
_ROUND_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0, 20.0)
#: Largest distance from an edge, in bins, at which a float counts as the edge.
_NOISE: Final = 1e-9


class Histogram(Struct, frozen=True):
    """Counts of trades by profit after fees as % of the amount paid."""

    edges: tuple[float, ...]
    """Edges of the bins, %, increasing by equal round steps; 0 is an edge if it is in the range.
    A bin includes its lower edge."""
    counts: tuple[int, ...]
    """Number of trades of each bin."""
    under: int
    """Number of trades below the first edge."""
    over: int
    """Number of trades from the last edge on."""
    mean: float
    """Mean of all trades, %."""
    median: float
    """Median of all trades, %."""

    @property
    def trades(self) -> int:
        """Return the number of all trades."""
        return sum(self.counts) + self.under + self.over


def compute_histogram(trades: Sequence[ReportTrade]) -> Histogram | None:
    """Return the histogram of the closed trades; None where no trade has a profit ratio."""
    ratios = [one.profit_ratio for one in trades if not one.open_at_end]
    percent = np.sort(np.array([ratio * 100.0 for ratio in ratios if math.isfinite(ratio)]))
    count = len(percent)
    if not count:
        return None
    outside = int(count * _OUTSIDE_PART)
    width, first, last = _choose_bins(float(percent[outside]), float(percent[-1 - outside]))
    # Limited before the conversion: a profit may be too large for an integer.
    places = np.clip(np.floor(percent / width + _NOISE), first - 1, last).astype(np.int64) - first
    inside = places[(places >= 0) & (places < last - first)]
    middle = (percent[(count - 1) // 2] + percent[count // 2]) / 2.0
    return Histogram(
        edges=tuple(float(f"{number * width:.10g}") for number in range(first, last + 1)),
        counts=tuple(np.bincount(inside, minlength=last - first).tolist()),
        under=int((places < 0).sum()),
        over=int((places >= last - first).sum()),
        mean=float(percent.mean()),
        median=float(middle),
    )


def _choose_bins(low: float, high: float) -> tuple[float, int, int]:
    """Return the round width of the bins, and the numbers of the first edge and the last one."""
    span = high - low if high > low else max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / MAX_BINS))
    found = (_place_on_bins(low, high, step * power) for step in _ROUND_STEPS)
    return next(bins for bins in found if bins[2] - bins[1] <= MAX_BINS)


def _place_on_bins(low: float, high: float, width: float) -> tuple[float, int, int]:
    first, last = (math.floor(value / width + _NOISE) for value in (low, high))
    return width, first, last + 1


def make_histogram_columns(found: Histogram | None) -> dict[str, Any] | None:
    """Return the histogram for the page's script; None without trades."""
    if found is None:
        return None
    return {
        "edges": list(found.edges),
        "counts": list(found.counts),
        "under": found.under,
        "over": found.over,
    }


def describe_histogram(found: Histogram | None) -> str:
    """Return mean and median of the trades as a text."""
    if found is None:
        return "No trade was closed."
    mean, median = (format_fixed(value, 2, signed=True) for value in (found.mean, found.median))
    return (
        f"Profit of {format_count(found.trades, 'closed trade')} after fees, as % of the amount "
        f"paid: mean {mean} %, median {median} %."
    )
