"""Cache of indicator columns for many evaluations of the same candles.

An optimization evaluates a strategy a hundred times over the same candles, and a grid of ten by ten
needs twenty averages, not two hundred. Inside `IndicatorCache.used` the functions marked
`shareable` store their results and return copies, so a strategy that writes into a column changes
its own copy only. Outside of it nothing is stored.

The key of a column is its function, its numbers and the memory address of its input. The address
must lie in the candles, which are read-only: an array that a strategy has made may change, so its
indicators are computed again.
"""

from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, ParamSpec

import numpy as np

from onetape.core.candles import Candles, FloatArray

_P = ParamSpec("_P")

#: Maximum memory of the cached columns; when it is full, all of them are dropped.
MOST_BYTES: Final = 32 << 20


class IndicatorCache:
    """Cached indicator columns of candles, as long as the candles stay in memory."""

    def __init__(self, candles: Iterable[Candles], most_bytes: int = MOST_BYTES) -> None:
        """Start with an empty cache.

        Args:
            candles: Candles whose columns, and parts of columns, are distinguished.
            most_bytes: Memory for cached columns.
        """
        self._columns = [
            column
            for one in candles
            for column in (one.open, one.high, one.low, one.close, one.volume)
            if column.flags.c_contiguous
        ]
        self._ends = [_get_byte_range(column) for column in self._columns]
        # One block, not an array for each: for one so large NumPy requests large pages from the
        # system, which takes a tenth of the time that small ones do when they are first written to.
        self._block = np.empty(most_bytes // np.dtype(np.float64).itemsize)
        self._taken = 0
        self._made: dict[Hashable, FloatArray] = {}
        """Cached columns, as parts of `_block`, by function and arguments."""

    @contextmanager
    def used(self) -> Generator[None]:
        """Cache the indicators that are called inside the block, in this thread only."""
        token = _USED.set(self)
        try:
            yield
        finally:
            _USED.reset(token)

    def make_key(self, values: object) -> Hashable:
        """Return a key that distinguishes an argument from all others, or None without one."""
        if type(values) in (int, float):
            return type(values), values
        if type(values) is not np.ndarray or values.ndim != 1:
            return None
        if values.flags.writeable or not values.flags.c_contiguous:
            return None
        first, end = _get_byte_range(values)
        if not any(low <= first and end <= high for low, high in self._ends):
            return None
        return first, values.shape, values.dtype.str

    def get_or_compute(self, key: Hashable, make: Callable[[], FloatArray]) -> FloatArray:
        """Return a column that the caller may write to."""
        known = self._made.get(key)
        if known is not None:
            return known.copy()
        column = make()
        self._keep(key, column)
        return column

    def _keep(self, key: Hashable, column: FloatArray) -> None:
        if self._taken + len(column) > len(self._block):
            self._taken = 0
            self._made.clear()
        if len(column) > len(self._block):
            return
        stored = self._block[self._taken : self._taken + len(column)]
        stored[:] = column
        self._made[key] = stored
        self._taken += len(column)


_USED: ContextVar[IndicatorCache | None] = ContextVar("shared_columns", default=None)


def shareable(indicator: Callable[_P, FloatArray]) -> Callable[_P, FloatArray]:
    """Mark a function of columns and numbers whose result depends on nothing else.

    The marked function takes pandas Series too, as arrays.
    """

    @wraps(indicator)
    def shared(*args: _P.args, **kwargs: _P.kwargs) -> FloatArray:
        given: list[Any] = [*args, *kwargs.values()]
        if any([hasattr(value, "to_numpy") for value in given]):  # noqa: C419 - quicker for so few
            return indicator(
                *map(as_array, args),  # pyright: ignore[reportCallIssue] - of the same parameters
                **{name: as_array(value) for name, value in kwargs.items()},
            )
        columns = _USED.get()
        if columns is None:
            return indicator(*args, **kwargs)
        places = tuple(columns.make_key(value) for value in given)
        if None in places:
            return indicator(*args, **kwargs)
        return columns.get_or_compute(
            (indicator, tuple(kwargs), places), lambda: indicator(*args, **kwargs)
        )

    return shared


def as_array(value: Any) -> Any:
    """Return a pandas Series as its array, and every other value unchanged."""
    to_numpy = getattr(value, "to_numpy", None)
    return value if to_numpy is None else to_numpy(dtype=np.float64)


def _get_byte_range(values: FloatArray) -> tuple[int, int]:
    """Return the first byte of a contiguous array and the one after its last."""
    first: int = values.__array_interface__["data"][0]
    return first, first + values.nbytes
