"""What a check of a strategy found."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from onetape.core.candles import IntArray
from onetape.strategies.check_data import CheckData, Windows
from onetape.strategies.interface import SignalArray

#: What is wrong with a strategy.
Kind = Literal["look-ahead", "warm-up", "not repeatable", "state", "fails"]

#: Stands for the signal of a window that failed.
FAILED: Final = 2


class Difference(Struct, frozen=True):
    """One bar on which a strategy does not decide alike."""

    index: int
    timestamp: int
    """Open time of the bar, epoch seconds."""
    kind: Kind
    whole: int | None
    prefix: int | None
    window: int | None
    """The three signals; None where it was not evaluated."""
    text: str = ""
    """Message of the strategy's failure."""


class CheckResult(Struct, frozen=True):
    """What a check found."""

    bars: int
    """Number of bars of the range."""
    checked: int
    start: int
    """Open of the first bar of the part that was checked, epoch seconds."""
    end: int
    """Open of the last checked bar, epoch seconds."""
    windows: Windows
    differing: tuple[int, ...] = ()
    """The bars that differ, by index, oldest first."""
    first: Difference | None = None
    """The first bar that differs or fails."""
    look_ahead: Difference | None = None
    """The first of the examined bars that shows look-ahead."""
    failing: tuple[int, ...] = ()
    """The bars whose window fails, by index, oldest first."""
    failure: Difference | None = None
    """The first bar whose window fails."""
    difference: Difference | None = None
    """The first bar that differs."""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was found."""
        return self.first is None

    @property
    def worst(self) -> Difference | None:
        """Return the finding that weighs most: look-ahead before all that a trader would notice."""
        return self.look_ahead or self.first


class Seen(Struct, frozen=True):
    """The signals of windows."""

    bars: IntArray
    """Indices of the bars, increasing."""
    signals: SignalArray
    """The signal of each bar's window; FAILED where it failed."""
    failure: str = ""
    """Message of the first failure."""


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


def difference_at(
    data: CheckData,
    bar: int,
    kind: Kind,
    whole: int | None,
    prefix: int | None,
    window: int | None,
    text: str = "",
) -> Difference:
    """Return a difference on a bar, by its index."""
    timestamp = int(data.candles.timestamp[bar])
    return Difference(bar, timestamp, kind, whole, prefix, window, text)
