"""Validate the stops, targets and limits of a strategy against its candles."""

from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray
from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.core.strategy_levels import LEVEL_MODES, LevelMode
from onetape.strategies.annotation_validation import (
    convert_to_column,
    make_invalid_result_error,
)
from onetape.strategies.interface import BUY, Signals, Strategy

_SIDES: Final = {"stop": "below", "target": "above"}


def validate_levels(
    strategy: Strategy, candles: Candles, given: Signals, found: Signals
) -> Signals:
    """Return signals with the validated stop, target and limit that the strategy returned.

    Args:
        strategy: Strategy that returned the signals.
        candles: Candles of the signals.
        given: Signals that the strategy returned.
        found: The same signals, with everything else validated.

    Raises:
        ConfigurationError: a column has the wrong type or length, or an invalid price, or there is
            a limit without `limit_expiry_candles`; the text names strategy and candle.
    """
    return replace(
        found,
        stop=_validate_prices(strategy, candles, "stop", given.stop),
        target=_validate_prices(strategy, candles, "target", given.target),
        stop_mode=_validate_mode(strategy, "stop_mode", given.stop_mode),
        target_mode=_validate_mode(strategy, "target_mode", given.target_mode),
        limit=_validate_prices(strategy, candles, "limit", given.limit),
        limit_expiry_candles=1 if given.limit is None else _get_expiry(strategy),
    )


def validate_entry_levels(
    strategy: Strategy, candles: Candles, signals: Signals, first: int
) -> None:
    """Check that stop and target of each BUY are on the right side of its limit, or of its close.

    Args:
        strategy: Strategy that gave the signals.
        candles: Candles of the signals.
        signals: The signals.
        first: First candle to check: the signals before it lack a part of their past.

    Raises:
        ConfigurationError: a stop is not below that price, or a target is not above it; the text
            names strategy, candle and remedy.
    """
    close, is_buy = candles.close[first:], signals.signal[first:] == BUY
    entry, kind = close, np.full(len(close), "close")
    if signals.limit is not None:
        is_limit = ~np.isnan(signals.limit[first:])
        entry = np.where(is_limit, signals.limit[first:], close)
        kind = np.where(is_limit, "limit", "close")
    for name, column in (("stop", signals.stop), ("target", signals.target)):
        if column is None:
            continue
        price = column[first:]
        wrong = is_buy & (price >= entry if name == "stop" else price <= entry)
        if wrong.any():
            row = int(wrong.argmax())
            raise make_invalid_result_error(
                strategy,
                f"gave BUY with the {name} {price[row]:.10g} on the candle "
                f"{_format_time(candles, first + row)}, whose {kind[row]} is {entry[row]:.10g}",
                f"give BUY only where the {name} is {_SIDES[name]} the {kind[row]}",
            )


def _get_expiry(strategy: Strategy) -> int:
    """Return the number of candles for which a limit order of the strategy stays open."""
    expiry: Any = strategy.limit_expiry_candles
    if not isinstance(expiry, int) or isinstance(expiry, bool) or expiry < 1:
        raise make_invalid_result_error(
            strategy,
            f"returned limit prices, and its limit_expiry_candles is {str(expiry)[:40]}",
            "let limit_expiry_candles return the number of candles for which an order stays open, "
            "1 or more",
        )
    return expiry


def _validate_prices(
    strategy: Strategy, candles: Candles, name: str, given: object
) -> FloatArray | None:
    """Return one column of prices, checked; None: the strategy gives no such column."""
    if given is None:
        return None
    count = len(candles)
    column = convert_to_column(strategy, f"values of {name}", given)
    if column.shape != (count,) or column.dtype.kind not in "iuf":
        raise make_invalid_result_error(
            strategy,
            f"returned {name} of type {column.dtype} and shape {column.shape} for "
            f"{format_count(count, 'candle')}",
            "return one price per candle, NaN for no price",
        )
    prices = column.astype(np.float64, copy=False)
    wrong = (prices <= 0) | np.isinf(prices)
    if wrong.any():
        bar = int(wrong.argmax())
        raise make_invalid_result_error(
            strategy,
            f"gave the {name} {prices[bar]:.10g} on the candle {_format_time(candles, bar)}",
            "give a price above 0, or NaN for none",
        )
    return prices


def _validate_mode(strategy: Strategy, name: str, given: Any) -> LevelMode:
    if not isinstance(given, str) or given not in LEVEL_MODES:
        allowed = " or ".join(repr(mode) for mode in LEVEL_MODES)
        raise make_invalid_result_error(
            strategy, f"returned {name} {str(given)[:40]!r}", f"use {allowed}"
        )
    return given


def _format_time(candles: Candles, bar: int) -> str:
    return f"{format_utc(int(candles.timestamp[bar]))} UTC"
