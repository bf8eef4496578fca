"""Running a strategy and checking its result, so that every caller gets valid signals only.

Backtest, bias check, optimization and trader call `evaluate_strategy`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onetape.core.candles import Candles, find_first_fault
from onetape.core.clock import format_utc
from onetape.core.errors import ConfigurationError, DataError, OnetapeError
from onetape.core.message_text import format_count, format_error
from onetape.strategies.annotation_validation import (
    convert_to_column,
    make_invalid_result_error,
    validate_annotations,
)
from onetape.strategies.higher_timeframes import Higher, HigherCandles, collect_input_names
from onetape.strategies.interface import Signals, Strategy
from onetape.strategies.output_capture import stdout_to_stderr

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelRow

#: Columns in the order in which a value that is not a number is reported.
_VALUES: Final = ("close", "open", "high", "low", "volume")


def evaluate_strategy(
    strategy: Strategy,
    candles: Candles,
    higher: Higher | None = None,
    *,
    are_sound: bool = False,
    may_print: bool = True,
) -> Signals:
    """Return the strategy's signals for the candles, checked.

    Args:
        strategy: Any strategy, built in or of a user.
        candles: Closed candles, oldest first, at least one.
        higher: Candles of each of the strategy's `higher_timeframes` and `informative` markets.
        are_sound: Whether `core.candles.are_sound` has been checked and is true of the candles.
        may_print: Whether the strategy's code may print: then stdout is redirected to stderr
            meanwhile, for all threads.

    Raises:
        ConfigurationError: the strategy raised an error, or did not return -1, 0 or 1 for each
            candle; the fix is in the strategy's file. The text names strategy and bar.
        DataError: a stored candle has an impossible price or volume.
    """
    given = {
        name: _protect_higher_candles(higher_candles)
        for name, higher_candles in (higher or {}).items()
    }
    _check_candles(strategy, candles, are_sound=are_sound)
    signals = _evaluate_unchecked(strategy, _protect_candles(candles), given, may_print=may_print)
    values = _validate_signals(strategy, candles, signals)
    found = validate_annotations(strategy, signals, values.astype(np.int8, copy=False))
    if signals.stop is None and signals.target is None and signals.limit is None:
        return found
    # Most strategies give no prices, and load none of it.
    from onetape.strategies.level_validation import validate_entry_levels, validate_levels

    found = validate_levels(strategy, candles, signals, found)
    validate_entry_levels(strategy, candles, found, len(candles) - 1)
    return found


def evaluate_last_signal(
    strategy: Strategy, candles: Candles, higher: Higher, *, are_sound: bool = False
) -> int:
    """Return the strategy's signal for the last of the candles; a check calls this for each bar.

    Arguments and errors as of `evaluate_strategy`, but only signals are checked.
    """
    given = {
        name: _protect_higher_candles(higher_candles) for name, higher_candles in higher.items()
    }
    _check_candles(strategy, candles, are_sound=are_sound)
    signals = _evaluate_unchecked(strategy, _protect_candles(candles), given)
    return int(_validate_signals(strategy, candles, signals)[-1])


def evaluate_last_levels(
    strategy: Strategy, candles: Candles, higher: Higher, *, are_sound: bool = False
) -> "LevelRow":
    """Return the strategy's stop and target for the last of the candles.

    Arguments and errors as of `evaluate_strategy`.
    """
    from onetape.core.strategy_levels import LevelRow

    columns = evaluate_strategy(strategy, candles, higher, are_sound=are_sound).level_columns
    return LevelRow() if columns is None else columns.get_row(-1)


def _evaluate_unchecked(
    strategy: Strategy, candles: Candles, higher: Higher, *, may_print: bool = True
) -> Any:
    """Return the strategy's result, unchecked; the candles must be protected from writes."""
    for name in collect_input_names(strategy):
        if name not in higher:
            raise ConfigurationError(f"strategy {strategy.name} needs {name} candles, and got none")
    output: AbstractContextManager[None] = stdout_to_stderr() if may_print else nullcontext()
    try:
        with output:
            return strategy.evaluate(candles, higher)
    except (Exception, SystemExit) as error:
        from onetape.strategies.error_place import format_error_place

        kind = "" if isinstance(error, OnetapeError) else f"{type(error).__name__}: "
        raise ConfigurationError(
            f"strategy {strategy.name} failed on the {format_count(len(candles), 'candle')} up to "
            f"{format_utc(int(candles.timestamp[-1]))}: "
            f"{kind}{format_error(error)}{format_error_place(error)}; "
            "fix it there"
        ) from error


def _protect_candles(candles: Candles) -> Candles:
    """Return the candles as read-only arrays, because they are used again after the strategy.

    Where a strategy writes into them, NumPy raises an error at that line.
    """
    columns = [
        _make_unwritable(getattr(candles, name))
        for name in ("timestamp", "open", "high", "low", "close", "volume")
    ]
    return Candles(*columns)


def _protect_higher_candles(higher_candles: HigherCandles) -> HigherCandles:
    return higher_candles.copy_with(
        _protect_candles(higher_candles), _make_unwritable(higher_candles.visible)
    )


def _make_unwritable(column: Any) -> Any:
    if not (len(column) and column.flags.c_contiguous):
        column = column.copy()
        column.flags.writeable = False
        return column
    # A strategy could make a view writeable again if only its flag were set.
    return np.frombuffer(column.data.toreadonly(), column.dtype)


def _check_candles(strategy: Strategy, candles: Candles, *, are_sound: bool) -> None:
    if len(candles) == 0:
        raise DataError(f"strategy {strategy.name} was given no candles; backfill the range first")
    found = None if are_sound else find_first_fault(candles)
    if found is not None:
        index, fault = found
        strange = [name for name in _VALUES if not np.isfinite(getattr(candles, name)[index])]
        fault = f"its {strange[0]} is not a number" if strange else fault
        raise DataError(
            f"strategy {strategy.name} cannot read the candle {_format_bar_time(candles, index)}: "
            f"{fault}; "
            "delete that row and backfill it again"
        )


def _validate_signals(strategy: Strategy, candles: Candles, signals: Any) -> Any:
    """Return the signals as an array of one of -1, 0 and 1 for each candle."""
    if not isinstance(signals, Signals):
        raise make_invalid_result_error(
            strategy, f"returned {type(signals).__name__}", "return Signals(...)"
        )
    values = convert_to_column(strategy, "signals", signals.signal)
    if values.shape != (len(candles),):
        raise make_invalid_result_error(
            strategy,
            f"returned signals of shape {values.shape} "
            f"for {format_count(len(candles), 'candle')} from {_format_bar_time(candles, 0)}",
            "return one signal per candle",
        )
    _check_values(strategy, candles, values)
    return values


def _check_values(strategy: Strategy, candles: Candles, values: Any) -> None:
    """Refuse signals that are not -1, 0 or 1."""
    if values.dtype.kind not in "iuf":
        raise make_invalid_result_error(
            strategy, f"returned signals of type {values.dtype}", "use whole numbers -1, 0 and 1"
        )
    if values.dtype == np.int8:
        wrong = (values > 1) | (values < -1)
    else:
        wrong = ~np.isin(values, (-1, 0, 1))
    if np.count_nonzero(wrong):  # faster than `any`: a check runs this for each bar
        index = int(wrong.argmax())
        raise make_invalid_result_error(
            strategy,
            f"gave the signal {values[index]} on the candle {_format_bar_time(candles, index)}",
            "only 1 (BUY), -1 (SELL) and 0 (HOLD) are signals",
        )


def _format_bar_time(candles: Candles, index: int) -> str:
    return f"{format_utc(int(candles.timestamp[index]))} UTC"
