"""Validation of what a strategy returns in addition to signals: indicators, levels, reasons.

`evaluation.py` calls it for each `Signals` that a strategy returns.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import FloatArray
from onetape.core.errors import ConfigurationError
from onetape.core.message_text import format_count
from onetape.strategies.interface import SignalArray, Signals, Strategy

#: Maximum number of indicators; more are a fault of the strategy.
MAX_INDICATORS: Final = 100
#: Names that the trader stores the strategy's stop and target by, next to the indicators.
RESERVED_NAMES: Final = frozenset(
    {"stop at_entry", "stop each_candle", "target at_entry", "target each_candle"}
)
#: Longest name or text, in characters.
LONGEST_TEXT: Final = 200


def make_invalid_result_error(strategy: Strategy, found: str, remedy: str) -> ConfigurationError:
    """Return the error of a strategy whose result cannot be used.

    Args:
        strategy: The strategy.
        found: Rest of the sentence `strategy NAME ...`, such as "returned 3 signals".
        remedy: How to fix it.
    """
    return ConfigurationError(f"strategy {strategy.name} {found}; {remedy}")


def convert_to_column(strategy: Strategy, label: str, values: object) -> Any:
    """Return values as an array.

    Args:
        strategy: Strategy that returned the values.
        label: Name of the values in an error, a plural.
        values: An array, or a list or Series of numbers.

    Raises:
        ConfigurationError: the values form no array, such as lists of different lengths.
    """
    if type(values) is np.ndarray:
        return values
    # By the name of the class, so that numpy.ma is not imported.
    if any(kind.__name__ == "MaskedArray" for kind in type(values).__mro__):
        remedy = "fill what is masked: values.filled(0)"
        raise make_invalid_result_error(
            strategy, f"returned {label} with a mask, which would be ignored", remedy
        )
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise make_invalid_result_error(
            strategy, f"returned {label} that are not a column ({error})", "return a NumPy array"
        ) from error


def validate_annotations(strategy: Strategy, signals: Signals, signal: SignalArray) -> Signals:
    """Return the signals with validated indicators (as floats), levels and reasons.

    Stop and target are left out (level_validation.py).

    Args:
        strategy: Strategy that returned the signals.
        signals: Signals that the strategy returned.
        signal: The signals themselves, checked already, shape (n,).

    Raises:
        ConfigurationError: something has the wrong type, shape or size; the text names it.
    """
    count = len(signal)
    indicators = _validate_indicators(strategy, signals.indicators, count)
    overlays: Any = signals.overlays
    if isinstance(overlays, str) or not isinstance(overlays, Collection):
        raise make_invalid_result_error(
            strategy, f"returned overlays of type {_get_type_name(overlays)}", "use a frozenset"
        )
    return Signals(
        signal,
        indicators,
        frozenset(name for name in cast("Collection[str]", overlays) if name in indicators),
        _validate_levels(strategy, signals.levels, indicators),
        _validate_reasons(strategy, signals.reason, count),
        _validate_reason_texts(strategy, signals.reason_texts),
        _validate_conditions(strategy, signals.conditions, count),
    )


def _is_reserved(name: object) -> bool:
    """Return whether a price of the strategy is stored by a name (core.strategy_levels)."""
    text = str(name)
    return text in RESERVED_NAMES or (text.startswith("limit ") and text.endswith("_candles"))


def _validate_indicators(strategy: Strategy, given: Any, count: int) -> dict[str, FloatArray]:
    """Return the indicators of a strategy by name, checked."""
    if not isinstance(given, Mapping):
        raise make_invalid_result_error(
            strategy, f"returned indicators of type {_get_type_name(given)}", "use a dict by name"
        )
    columns = cast("Mapping[object, object]", given)
    if len(columns) > MAX_INDICATORS:
        found = f"returned {len(columns):,} indicators"
        raise make_invalid_result_error(strategy, found, f"return {MAX_INDICATORS} at most")
    checked: dict[str, FloatArray] = {}
    for name, values in columns.items():
        if not _is_text(name) or _is_reserved(name):
            remedy = "use another name" if _is_text(name) else "use a short text"
            raise make_invalid_result_error(
                strategy, f"named an indicator {str(name)[:40]!r}", remedy
            )
        column = convert_to_column(strategy, f"values of indicator {name!r}", values)
        if column.shape != (count,):
            raise make_invalid_result_error(
                strategy,
                f"returned indicator {name!r} of shape {column.shape} for "
                f"{format_count(count, 'candle')}",
                "return one value per candle, NaN where not known",
            )
        if column.dtype.kind not in "iufb":
            found = f"returned indicator {name!r} of type {column.dtype}"
            raise make_invalid_result_error(strategy, found, "return numbers")
        checked[cast("str", name)] = column.astype(np.float64, copy=False)
    return checked


def _validate_conditions(
    strategy: Strategy, given: Any, count: int
) -> dict[str, NDArray[np.bool_]]:
    """Return the conditions of a strategy by name, checked."""
    remedy = "use a dict by name of one true or false per candle, such as {'rsi low': rsi < 30}"
    if not isinstance(given, Mapping):
        raise make_invalid_result_error(
            strategy, f"returned conditions of type {_get_type_name(given)}", remedy
        )
    columns = cast("Mapping[object, object]", given)
    if len(columns) > MAX_INDICATORS:
        found = f"returned {len(columns):,} conditions"
        raise make_invalid_result_error(strategy, found, f"return {MAX_INDICATORS} at most")
    checked: dict[str, NDArray[np.bool_]] = {}
    for name, values in columns.items():
        column = convert_to_column(strategy, f"values of condition {str(name)[:40]!r}", values)
        if not _is_text(name) or column.shape != (count,) or column.dtype != np.bool_:
            raise make_invalid_result_error(
                strategy,
                f"returned condition {str(name)[:40]!r} of type {column.dtype} and shape "
                f"{column.shape} for {format_count(count, 'candle')}",
                remedy,
            )
        checked[cast("str", name)] = column
    return checked


def _validate_levels(
    strategy: Strategy, given: Any, indicators: Mapping[str, FloatArray]
) -> dict[str, tuple[float, ...]]:
    """Return the horizontal lines of indicators by name, checked."""
    remedy = "use a dict of tuples of numbers, by the name of an indicator"
    if not isinstance(given, Mapping):
        raise make_invalid_result_error(
            strategy, f"returned levels of type {_get_type_name(given)}", remedy
        )
    checked: dict[str, tuple[float, ...]] = {}
    for name, values in cast("Mapping[str, object]", given).items():
        lines = convert_to_column(strategy, f"levels of {name!r}", values)
        usable = lines.ndim == 1 and len(lines) <= MAX_INDICATORS and lines.dtype.kind in "iuf"
        if name not in indicators or not usable or not np.isfinite(lines).all():
            raise make_invalid_result_error(
                strategy, f"returned levels {str(name)[:40]!r} that cannot be drawn", remedy
            )
        checked[name] = tuple(float(line) for line in lines)
    return checked


def _validate_reasons(strategy: Strategy, given: Any, count: int) -> SignalArray | None:
    if given is None:
        return None
    codes = convert_to_column(strategy, "reasons", given)
    if codes.shape != (count,) or codes.dtype.kind not in "iu":
        raise make_invalid_result_error(
            strategy,
            f"returned reasons of type {codes.dtype} and shape {codes.shape} for "
            f"{format_count(count, 'candle')}",
            "return one whole number per candle",
        )
    return codes


def _validate_reason_texts(strategy: Strategy, given: Any) -> dict[int, str]:
    texts = cast("Mapping[object, object]", given) if isinstance(given, Mapping) else None
    if texts is None or not all(_is_text(text) for text in texts.values()):
        raise make_invalid_result_error(
            strategy, "returned reason_texts that cannot be read", "use a dict of texts"
        )
    return cast("dict[int, str]", dict(texts))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _get_type_name(value: object) -> str:
    return type(value).__name__
