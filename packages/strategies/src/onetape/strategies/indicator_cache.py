"""Cache of indicator columns for many evaluations of the same candles.

An optimization evaluates a strategy with many parameters over the same candles, and most indicators
repeat: a grid of ten by ten needs twenty averages, not two hundred. While a cache is active
(`IndicatorCache.activate`), functions decorated with `cacheable` store their results and return
copies.

The key of a column is its function, its numbers and the memory address of its input. The input must
be a read-only column of the candles; indicators of other arrays, which may change, are not cached.
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
MAX_BYTES: Final = 32 << 20


class IndicatorCache:
    """Cached indicator columns of candles, as long as the candles stay in memory."""

    def __init__(self, candles: Iterable[Candles], most_bytes: int = MAX_BYTES) -> None:
        """Start with an empty cache.

        Args:
            candles: Candles whose columns, or parts of them, are the inputs of cached indicators.
            most_bytes: Memory for cached columns.
        """
        self._columns = [
            column
            for each in candles
            for column in (each.open, each.high, each.low, each.close, each.volume)
            if column.flags.c_contiguous
        ]
        self._ends = [_get_byte_range(column) for column in self._columns]
        # One block instead of an array for each column: NumPy requests large memory pages for it,
        # whose first write takes a tenth of the time of small pages.
        self._block = np.empty(most_bytes // np.dtype(np.float64).itemsize)
        self._taken = 0
        self._made: dict[Hashable, FloatArray] = {}
        """Cached columns, as parts of `_block`, by function and arguments."""

    @contextmanager
    def activate(self) -> Generator[None]:
        """Cache the indicators that are called inside the block, in this thread or task only."""
        token = _ACTIVE_CACHE.set(self)
        try:
            yield
        finally:
            _ACTIVE_CACHE.reset(token)

    def make_key(self, values: object) -> Hashable:
        """Return the cache key of an argument; None: calls with it cannot be cached."""
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
        """Return a copy of the column of a key, from the cache or computed by `make`."""
        known = self._made.get(key)
        if known is not None:
            return known.copy()
        column = make()
        self._store(key, column)
        return column

    def _store(self, key: Hashable, column: FloatArray) -> None:
        if self._taken + len(column) > len(self._block):
            self._taken = 0
            self._made.clear()
        if len(column) > len(self._block):
            return
        stored = self._block[self._taken : self._taken + len(column)]
        stored[:] = column
        self._made[key] = stored
        self._taken += len(column)


#: The cache that `activate` has set; None: nothing is cached.
_ACTIVE_CACHE: ContextVar[IndicatorCache | None] = ContextVar(
    "active_indicator_cache", default=None
)


def cacheable(indicator: Callable[_P, FloatArray]) -> Callable[_P, FloatArray]:
    """Decorate an indicator, so that the active cache (if any) stores its results.

    The result must depend on the arguments alone: columns and numbers. The decorated function also
    takes pandas Series.
    """

    @wraps(indicator)
    def call_with_cache(*args: _P.args, **kwargs: _P.kwargs) -> FloatArray:
        given: list[Any] = [*args, *kwargs.values()]
        if any([hasattr(value, "to_numpy") for value in given]):  # noqa: C419 - quicker for so few
            return indicator(
                *map(as_array, args),  # pyright: ignore[reportCallIssue] - of the same parameters
                **{name: as_array(value) for name, value in kwargs.items()},
            )
        columns = _ACTIVE_CACHE.get()
        if columns is None:
            return indicator(*args, **kwargs)
        keys = tuple(columns.make_key(value) for value in given)
        if None in keys:
            return indicator(*args, **kwargs)
        return columns.get_or_compute(
            (indicator, tuple(kwargs), keys), lambda: indicator(*args, **kwargs)
        )

    return call_with_cache


def as_array(value: Any) -> Any:
    """Return a pandas Series as its array, and every other value unchanged."""
    to_numpy = getattr(value, "to_numpy", None)
    return value if to_numpy is None else to_numpy(dtype=np.float64)


def _get_byte_range(values: FloatArray) -> tuple[int, int]:
    """Return the first byte of a contiguous array and the one after its last."""
    first: int = values.__array_interface__["data"][0]
    return first, first + values.nbytes
