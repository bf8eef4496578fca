"""Validate what a strategy returns in addition to its signals: indicators, levels, reasons."""

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray
from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_count
from onetape.strategies.interface import SignalArray, Signals, Strategy

#: Maximum number of indicators; more are a fault of the strategy.
MOST_INDICATORS: Final = 100
#: Longest name or text, in characters.
LONGEST_TEXT: Final = 200


def invalid_result(strategy: Strategy, found: str, remedy: str) -> ConfigurationError:
    """Return the error of a strategy whose result cannot be used."""
    return ConfigurationError(f"strategy {strategy.name} {found}; {remedy}")


def column_of(strategy: Strategy, what: str, values: object) -> Any:
    """Return values as an array.

    Raises:
        ConfigurationError: the values form no array, such as lists of different lengths.
    """
    if type(values) is np.ndarray:
        return values
    # By its name: a program that uses none should not load them.
    if any(kind.__name__ == "MaskedArray" for kind in type(values).__mro__):
        remedy = "fill what is masked: values.filled(0)"
        raise invalid_result(
            strategy, f"returned {what} with a mask, which would be ignored", remedy
        )
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid_result(
            strategy, f"returned {what} that are not a column ({error})", "return a NumPy array"
        ) from error


def validate_annotations(strategy: Strategy, signals: Signals, signal: SignalArray) -> Signals:
    """Return the signals with validated indicators (as floats), levels and reasons.

    Args:
        strategy: Strategy that returned the signals.
        signals: Signals that the strategy returned.
        signal: The signals themselves, checked already, shape (n,).

    Raises:
        ConfigurationError: something has the wrong type, shape or size; the text names it.
    """
    count = len(signal)
    indicators = _indicators(strategy, signals.indicators, count)
    overlays: Any = signals.overlays
    if isinstance(overlays, str) or not isinstance(overlays, Collection):
        raise invalid_result(
            strategy, f"returned overlays of type {_type(overlays)}", "use a frozenset"
        )
    return Signals(
        signal,
        indicators,
        frozenset(name for name in cast("Collection[str]", overlays) if name in indicators),
        _levels(strategy, signals.levels, indicators),
        _reason(strategy, signals.reason, count),
        _reason_texts(strategy, signals.reason_texts),
        _conditions(strategy, signals.conditions, count),
    )


def _indicators(strategy: Strategy, given: Any, count: int) -> dict[str, FloatArray]:
    if not isinstance(given, Mapping):
        raise invalid_result(
            strategy, f"returned indicators of type {_type(given)}", "use a dict by name"
        )
    columns = cast("Mapping[object, object]", given)
    if len(columns) > MOST_INDICATORS:
        found = f"returned {len(columns):,} indicators"
        raise invalid_result(strategy, found, f"return {MOST_INDICATORS} at most")
    checked: dict[str, FloatArray] = {}
    for name, values in columns.items():
        if not _is_text(name):
            raise invalid_result(
                strategy, f"named an indicator {str(name)[:40]!r}", "use a short text"
            )
        column = column_of(strategy, f"values of indicator {name!r}", values)
        if column.shape != (count,):
            raise invalid_result(
                strategy,
                f"returned indicator {name!r} of shape {column.shape} for "
                f"{format_count(count, 'candle')}",
                "return one value per candle, NaN where not known",
            )
        if column.dtype.kind not in "iufb":
            found = f"returned indicator {name!r} of type {column.dtype}"
            raise invalid_result(strategy, found, "return numbers")
        checked[cast("str", name)] = column.astype(np.float64, copy=False)
    return checked


def _conditions(strategy: Strategy, given: Any, count: int) -> dict[str, NDArray[np.bool_]]:
    remedy = "use a dict by name of one true or false per candle, such as {'rsi low': rsi < 30}"
    if not isinstance(given, Mapping):
        raise invalid_result(strategy, f"returned conditions of type {_type(given)}", remedy)
    columns = cast("Mapping[object, object]", given)
    if len(columns) > MOST_INDICATORS:
        found = f"returned {len(columns):,} conditions"
        raise invalid_result(strategy, found, f"return {MOST_INDICATORS} at most")
    checked: dict[str, NDArray[np.bool_]] = {}
    for name, values in columns.items():
        column = column_of(strategy, f"values of condition {str(name)[:40]!r}", values)
        if not _is_text(name) or column.shape != (count,) or column.dtype != np.bool_:
            raise invalid_result(
                strategy,
                f"returned condition {str(name)[:40]!r} of type {column.dtype} and shape "
                f"{column.shape} for {format_count(count, 'candle')}",
                remedy,
            )
        checked[cast("str", name)] = column
    return checked


def _levels(
    strategy: Strategy, given: Any, indicators: Mapping[str, FloatArray]
) -> dict[str, tuple[float, ...]]:
    remedy = "use a dict of tuples of numbers, by the name of an indicator"
    if not isinstance(given, Mapping):
        raise invalid_result(strategy, f"returned levels of type {_type(given)}", remedy)
    checked: dict[str, tuple[float, ...]] = {}
    for name, values in cast("Mapping[str, object]", given).items():
        lines = column_of(strategy, f"levels of {name!r}", values)
        usable = lines.ndim == 1 and len(lines) <= MOST_INDICATORS and lines.dtype.kind in "iuf"
        if name not in indicators or not usable or not np.isfinite(lines).all():
            raise invalid_result(
                strategy, f"returned levels {str(name)[:40]!r} that cannot be drawn", remedy
            )
        checked[name] = tuple(float(line) for line in lines)
    return checked


def _reason(strategy: Strategy, given: Any, count: int) -> SignalArray | None:
    if given is None:
        return None
    codes = column_of(strategy, "reasons", given)
    if codes.shape != (count,) or codes.dtype.kind not in "iu":
        raise invalid_result(
            strategy,
            f"returned reasons of type {codes.dtype} and shape {codes.shape} for "
            f"{format_count(count, 'candle')}",
            "return one whole number per candle",
        )
    return codes


def _reason_texts(strategy: Strategy, given: Any) -> dict[int, str]:
    texts = cast("Mapping[object, object]", given) if isinstance(given, Mapping) else None
    if texts is None or not all(_is_text(text) for text in texts.values()):
        raise invalid_result(
            strategy, "returned reason_texts that cannot be read", "use a dict of texts"
        )
    return cast("dict[int, str]", dict(texts))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _type(value: object) -> str:
    return type(value).__name__
