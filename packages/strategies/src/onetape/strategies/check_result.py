"""Result of the bias check of a strategy: the bars whose signals differ, and why."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from onetape.core.candles import IntArray
from onetape.strategies.check_data import CheckData, WindowSizes
from onetape.strategies.interface import SignalArray

#: Kinds of faults of a strategy; "fails": it raises an error on a window.
BiasKind = Literal["look-ahead", "warm-up", "not repeatable", "state", "fails"]
#: Column of a strategy that the check compares.
CheckedColumn = Literal["signal", "stop", "target", "limit"]

#: Value in place of the signal of a window that failed.
FAILED: Final = 2


class SignalDifference(Struct, frozen=True):
    """A bar whose signal or price depends on the range of candles that a strategy gets."""

    index: int
    """Index of the bar among the candles."""
    timestamp: int
    """Open time of the bar, epoch seconds."""
    kind: BiasKind
    """Kind of the fault."""
    whole: float | None
    """Value from all candles; None: not evaluated."""
    prefix: float | None
    """Value from the candles up to the bar; None: not evaluated."""
    window: float | None
    """Value from the bar's window; None: not evaluated."""
    text: str = ""
    """Message of the strategy's failure."""
    column: CheckedColumn = "signal"
    """What the values are: signals, or prices, of which NaN is none."""


class CheckResult(Struct, frozen=True):
    """Result of a bias check."""

    bars: int
    """Number of bars of the range."""
    checked: int
    """Number of bars whose signals were compared."""
    start: int
    """Open of the first bar of the part that was checked, epoch seconds."""
    end: int
    """Open of the last checked bar, epoch seconds."""
    windows: WindowSizes
    """Number of candles of a window."""
    differing: tuple[int, ...] = ()
    """Indices of the bars whose signals differ, oldest first."""
    first: SignalDifference | None = None
    """The first bar that differs or fails; None: the check has passed."""
    look_ahead: SignalDifference | None = None
    """The first of the examined bars that shows look-ahead."""
    failing: tuple[int, ...] = ()
    """Indices of the bars on whose window the strategy fails, oldest first."""
    failure: SignalDifference | None = None
    """The first bar whose window fails."""
    difference: SignalDifference | None = None
    """The first bar that differs."""

    @property
    def is_clean(self) -> bool:
        """Return whether the check found no difference and no failure."""
        return self.first is None

    @property
    def worst(self) -> SignalDifference | None:
        """Return the most serious finding: look-ahead before faults that a trader would notice."""
        return self.look_ahead or self.first


class WindowSignals(Struct, frozen=True):
    """Signals that the strategy returned for the windows of some bars."""

    bars: IntArray
    """Indices of the bars that were checked, increasing."""
    signals: SignalArray
    """Signal of each bar's window; FAILED: the window raised an error."""
    failure: str = ""
    """Message of the first failure."""


def make_check_result(
    data: CheckData,
    bars: IntArray,
    checked: int,
    windows: WindowSizes,
    differing: Sequence[int],
    first: SignalDifference | None,
    look_ahead: SignalDifference | None = None,
) -> CheckResult:
    """Return the result of a check over these bars; the other arguments are its fields."""
    start, end = (int(data.candles.timestamp[bars[number]]) for number in (0, -1))
    return CheckResult(len(data), checked, start, end, windows, tuple(differing), first, look_ahead)


def make_difference(
    data: CheckData,
    bar: int,
    kind: BiasKind,
    whole: float | None,
    prefix: float | None,
    window: float | None,
    text: str = "",
    column: CheckedColumn = "signal",
) -> SignalDifference:
    """Return the difference on a bar; the arguments are its fields."""
    timestamp = int(data.candles.timestamp[bar])
    return SignalDifference(bar, timestamp, kind, whole, prefix, window, text, column)
