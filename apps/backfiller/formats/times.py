"""Times as files have them, seconds to nanoseconds or dates, as epoch seconds UTC."""

from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from onetape.core.candles import FloatArray, IntArray
from onetape.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: How many of each are a second. Binance's archives changed from ms to us with 2025-01-01.
UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
#: The unit of dates such as 2024-01-31T14:00:00Z.
ISO: Final = "iso"
#: A time that could not be read; no candle may have it, so its row is refused.
UNREADABLE: Final = -1
#: 2009 and 2100: no coin is older, and between them no number reads in two units.
_EARLIEST: Final = 1_230_768_000
_LATEST: Final = 4_102_444_800


class Times(Struct, frozen=True):
    """Times of a table."""

    seconds: IntArray
    """Epoch seconds, shape (n,); `UNREADABLE` for what is no time, or no whole second."""
    unit: str
    """What they were in: s, ms, us, ns or iso; `ms and us` where both occur."""


def read_times(values: "pd.Series", unit: str | None, source: str) -> Times:
    """Return a column of times as epoch seconds.

    Args:
        values: Numbers, texts or datetimes, shape (n,).
        unit: What numbers count: one of `UNITS`, or iso; None recognises it by their size.
        source: The table, for the error.

    Raises:
        DataError: they are no times, or in what unit cannot be told.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return Times(_from_datetimes(values), ISO)
    if unit == ISO:
        return Times(_from_texts(values), ISO)
    numbers = pd.to_numeric(values, errors="coerce")
    if unit is None and not numbers.notna().any():
        seconds = _from_texts(values)
        if (seconds == UNREADABLE).all():
            raise DataError(
                f"{source}: {_first(values)!r} is no time; write epoch seconds, or dates such as "
                "2024-01-31T14:00:00Z"
            )
        return Times(seconds, ISO)
    exact = numbers.to_numpy()
    if exact.dtype.kind not in "iu":
        exact = _whole(np.asarray(exact, dtype=np.float64))
    whole = exact.astype(np.int64)
    return _scaled(whole, unit) if unit is not None else _recognised(whole, source)


def _scaled(whole: IntArray, unit: str) -> Times:
    factor = UNITS[unit]
    seconds = whole // factor
    return Times(np.where((whole % factor == 0) & (whole >= 0), seconds, UNREADABLE), unit)


def _recognised(whole: IntArray, source: str) -> Times:
    """Convert each number by its size."""
    seconds = np.full(len(whole), UNREADABLE, dtype=np.int64)
    units: list[str] = []
    for unit, factor in UNITS.items():
        mine = (whole >= _EARLIEST * factor) & (whole < _LATEST * factor)
        if mine.any():
            units.append(unit)
            seconds = np.where(mine & (whole % factor == 0), whole // factor, seconds)
    if not units and len(whole):
        raise DataError(
            f"{source}: the time {int(whole[0])} lies between 2009 and 2100 in no unit; "
            "say what it counts with --time-unit s, ms, us or ns"
        )
    return Times(seconds, " and ".join(units))


def _whole(numbers: FloatArray) -> IntArray:
    """Return whole numbers as such, anything else as unreadable."""
    sound = np.isfinite(numbers) & (np.abs(numbers) < 2.0**63)
    rounded = np.where(sound, np.rint(np.where(sound, numbers, 0.0)), UNREADABLE)
    return np.where(sound & (rounded == numbers), rounded, UNREADABLE).astype(np.int64)


def _from_texts(values: "pd.Series") -> IntArray:
    """Return ISO dates; one without an offset is UTC."""
    import pandas as pd

    return _from_datetimes(
        pd.to_datetime(values.astype(str), format="ISO8601", utc=True, errors="coerce")
    )


def _from_datetimes(values: "pd.Series") -> IntArray:
    import pandas as pd

    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = values.to_numpy()
    factor = UNITS[str(np.datetime_data(moments.dtype)[0])]
    # The smallest number of 64 bits stands for "no time", and is below zero.
    return _scaled(
        moments.astype(np.int64), next(u for u, f in UNITS.items() if f == factor)
    ).seconds


def _first(values: "pd.Series") -> str:
    return str(values.iloc[0])[:40]
