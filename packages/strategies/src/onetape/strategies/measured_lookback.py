"""Measurement of the lookback of a strategy function, on invented candles."""

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.message_text import format_error
from onetape.core.strategy_levels import is_same_row
from onetape.strategies.interface import SignalArray, Signals, Strategy
from onetape.strategies.moved_clock import AHEAD_SECONDS, FURTHER_SECONDS, shift_clock

#: Number of candles that a lookback is measured on, and number of the bars that are compared.
_CANDLE_COUNT: Final = 4_000
_COMPARED_BARS: Final = 120
#: The longest lookback that can be measured; a longer one must be declared.
MAX_MEASURED: Final = 2_000
#: Seconds by which the clock is moved for each further evaluation of the same candles.
_CLOCK_SHIFTS: Final = (0, AHEAD_SECONDS, AHEAD_SECONDS + 1, FURTHER_SECONDS, 0)


def measure_lookback(strategy: Strategy) -> int:
    """Return the smallest lookback with which windows give the same signals as all candles.

    On each compared bar, the window that ends with the bar must give the same signal. A window on
    which the strategy fails is too short.

    Raises:
        ConfigurationError: no lookback up to 2,000 is enough, or the strategy fails with all.
    """
    candles = _make_random_candles()
    whole = _evaluate_columns(strategy, candles)
    bars = _choose_bars_to_compare(whole.signal)
    failures: list[ConfigurationError] = []

    def is_enough(lookback: int) -> bool:
        try:
            return all(
                _is_repeated(
                    _evaluate_columns(strategy, candles[bar + 1 - lookback : bar + 1]), whole, bar
                )
                for bar in bars
            )
        except ConfigurationError as error:
            failures.append(error)
            return False

    enough = 1
    while enough <= MAX_MEASURED and not is_enough(enough):
        enough *= 2
    if enough > MAX_MEASURED:
        raise _make_unmeasurable_error(strategy, candles, whole.signal, failures[-1:])
    short = enough // 2
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if is_enough(middle) else (middle, enough)
    return enough


def _is_repeated(window: Signals, whole: Signals, bar: int) -> bool:
    """Return whether the last signal of a window, and its levels, are those of all candles."""
    if window.signal[-1] != whole.signal[bar]:
        return False
    window_columns, columns = window.level_columns, whole.level_columns
    if window_columns is None or columns is None:
        return window_columns is columns
    return is_same_row(window_columns.get_row(-1), columns.get_row(bar))


def _make_unmeasurable_error(
    strategy: Strategy, candles: Candles, whole: SignalArray, failures: list[ConfigurationError]
) -> ConfigurationError:
    """Return the error of a strategy for which no lookback was found, with the reason."""
    also = f"; it also {_format_failure(failures[0])}" if failures else ""
    if _is_unrepeatable(strategy, candles, whole):
        return ConfigurationError(
            f"strategy function {strategy.name} gives other signals for the same candles each "
            "time: by random numbers, by the clock, or by what it keeps between calls; use none "
            f"of them{also}"
        )
    return ConfigurationError(
        f"strategy function {strategy.name}: no lookback up to {MAX_MEASURED:,} candles "
        "repeats its signals: it looks further back, or into the future; correct it, or "
        f"declare a longer one: @strategy_function(lookback=...){also}"
    )


def _is_unrepeatable(strategy: Strategy, candles: Candles, whole: SignalArray) -> bool:
    """Return whether the same candles give other signals, also at other times of day."""
    for ahead_seconds in _CLOCK_SHIFTS:
        with shift_clock(ahead_seconds):
            try:
                again = _evaluate_columns(strategy, candles).signal
            except OnetapeError:
                return True
        if not np.array_equal(again, whole):
            return True
    return False


def _evaluate_columns(strategy: Strategy, candles: Candles) -> Signals:
    """Return the signals of some candles, with one value per candle."""
    try:
        signals = strategy.evaluate(candles, {})
        columns = (signals.signal, signals.stop, signals.target, signals.limit)
        wrong = [len(one) for one in columns if one is not None and len(one) != len(candles)]
        if wrong:
            msg = (
                "entry, exit, stop, target and limit must have one value per candle, "
                f"found {wrong[0]:,}"
            )
            raise ValueError(msg)  # noqa: TRY301 - the text below has function and candles
    except OnetapeError:
        raise
    except Exception as error:
        from onetape.strategies.error_place import format_error_place

        raise ConfigurationError(
            f"strategy function {strategy.name} fails on {len(candles):,} candles "
            f"({type(error).__name__}: {format_error(error)}){format_error_place(error)}; "
            "correct it, "
            "or declare its lookback: @strategy_function(lookback=...)"
        ) from error
    return signals


def _format_failure(error: ConfigurationError) -> str:
    """Return `fails on 16 candles (ValueError: ...)` of such an error."""
    circumstances = str(error).partition("; correct it")[0].partition(" fails ")[2]
    return f"fails {circumstances}"


def _choose_bars_to_compare(whole: SignalArray) -> list[int]:
    """Return bars with a signal, the bars after them, and others, spread over the candles."""
    first = MAX_MEASURED
    later = whole[first:]
    signalling = np.flatnonzero(later != 0) + first
    bars = {
        *_choose_evenly(signalling, _COMPARED_BARS),
        *_choose_evenly(np.arange(first, len(whole)), 40),
    }
    return sorted({min(bar + step, len(whole) - 1) for bar in bars for step in (0, 1)})


def _choose_evenly(values: NDArray[np.int64], count: int) -> list[int]:
    if len(values) <= count:
        return values.tolist()
    return values[np.linspace(0, len(values) - 1, count).astype(np.int64)].tolist()


@functools.lru_cache(maxsize=1)
def _make_random_candles() -> Candles:
    """Return hourly candles of a random walk, the same in every process."""
    random = np.random.default_rng(20_240_101)
    steps = random.normal(0.0, 0.01, (_CANDLE_COUNT, 4)).cumsum(axis=1)
    close = 100.0 * np.exp(np.clip(random.normal(0.0, 0.01, _CANDLE_COUNT).cumsum(), -3, 3))
    open_ = np.concatenate(([100.0], close[:-1]))
    spread = np.abs(steps[:, 0]) * close
    high, low = np.maximum(open_, close) + spread, np.minimum(open_, close) * 0.995
    volume = random.uniform(1.0, 100.0, _CANDLE_COUNT)
    timestamp = 1_704_067_200 + 3_600 * np.arange(_CANDLE_COUNT, dtype=np.int64)
    return Candles(timestamp, open_, high, low, close, volume)
