"""Windows of a walk-forward: training parts, and the test parts that follow them."""

from typing import Final, Literal

import numpy as np
from msgspec import Struct

from onetape.backtest.models import CandleWindow
from onetape.core.errors import DataError, UsageError

#: Treatment of a position at the boundary of two test parts: close sells it at the first open of
#: the next part, carry holds it until the next choice sells it.
Boundary = Literal["close", "carry"]

_UNITS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
#: Minimum length of the last test part as a fraction of the others; a shorter one is left out.
_MIN_SHARE: Final = 0.5


class WindowScheme(Struct, frozen=True):
    """Lengths of the windows of a walk-forward, and the treatment of positions between them."""

    train_seconds: int
    """Length of a training part."""
    test_seconds: int
    """Length of a test part."""
    is_anchored: bool = False
    """Whether every training part begins with the range; False: each begins later than the one
    before, by the length of a test part."""
    boundary: Boundary = "close"
    """Treatment of a position at the boundary of two test parts."""

    @property
    def text(self) -> str:
        """Return the scheme as a text such as `365d/90d, rolling`."""
        kind = "anchored" if self.is_anchored else "rolling"
        return (
            f"{_format_duration(self.train_seconds)}/{_format_duration(self.test_seconds)}, {kind}"
        )


class WalkForwardWindow(Struct, frozen=True):
    """One training part and its test part, as indices of candles of the `CandleWindow`."""

    train_start: int
    """Index of the first candle of the training part."""
    test_start: int
    """Index of the first candle of the test part, and end of the training part."""
    test_end: int
    """End of the test part, exclusive."""


def parse_scheme(text: str, *, is_anchored: bool, boundary: str) -> WindowScheme:
    """Return the scheme of a text such as `365d/90d`.

    Raises:
        UsageError: the text or the boundary is invalid.
    """
    parts = [_parse_duration(part) for part in text.split("/")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"--walk-forward must be two lengths such as 365d/90d (training/test; h, d or w), "
            f"found {text!r}"
        )
    if boundary not in ("close", "carry"):
        raise UsageError(f"--boundary must be close or carry, found {boundary!r}")
    return WindowScheme(parts[0] or 0, parts[1] or 0, is_anchored, boundary)


def make_windows(window: CandleWindow, scheme: WindowScheme) -> list[WalkForwardWindow]:
    """Return the windows of a range; the last test part may be shorter.

    Raises:
        DataError: the range is too short for one window.
    """
    times = window.candles.timestamp
    begin, end = int(times[window.warm_up]), window.end
    found: list[WalkForwardWindow] = []
    test = begin + scheme.train_seconds
    while end - test >= _MIN_SHARE * scheme.test_seconds:
        train = begin if scheme.is_anchored else test - scheme.train_seconds
        edges = np.searchsorted(times, (train, test, min(test + scheme.test_seconds, end)))
        first, middle, last = (int(edge) for edge in edges)
        if middle - first >= 2 and last - middle >= 2:
            found.append(WalkForwardWindow(max(first, window.warm_up), middle, last))
        test += scheme.test_seconds
    if not found:
        need = scheme.train_seconds + _MIN_SHARE * scheme.test_seconds
        raise DataError(
            f"{window.key} has {(end - begin) / 86_400:.0f} days in the range, and a walk-forward "
            f"of {scheme.text} needs {need / 86_400:.0f}; choose a longer range or shorter windows"
        )
    return found


def _parse_duration(text: str) -> int | None:
    number, unit = text.strip()[:-1], text.strip()[-1:]
    return int(number) * _UNITS[unit] or None if number.isdigit() and unit in _UNITS else None


def _format_duration(seconds: int) -> str:
    unit = next(name for name in ("d", "h") if seconds % _UNITS[name] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
