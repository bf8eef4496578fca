"""Bias check of stops, targets and limits: whether the last candles give the same prices as all.

The check of the signals (lookahead_check.py) comes first. A window that gives another price than
all candles shows look-ahead, if the candles up to the bar agree with the window, or else a short
warm-up. Prices that differ by a billionth count as equal: the signals decide whether a candle
trades, and a billionth of a price changes no fill that a market has steps for.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from onetape.core.candles import IntArray
from onetape.core.errors import OnetapeError
from onetape.core.strategy_levels import LevelColumns, LevelRow, is_same_row
from onetape.strategies.check_data import (
    CheckData,
    StrategyMaker,
    evaluate_all,
    evaluate_prefix_levels,
    evaluate_window_levels,
)
from onetape.strategies.check_result import (
    BiasKind,
    CheckedColumn,
    CheckResult,
    SignalDifference,
    make_difference,
)
from onetape.strategies.moved_clock import shift_clock

_NAN: Final = float("nan")


def check_levels(
    make: StrategyMaker,
    data: CheckData,
    bars: IntArray,
    levels: LevelColumns,
    result: CheckResult,
    is_spent: Callable[[], bool] | None = None,
) -> CheckResult:
    """Return the result of a check of signals, with the bars whose stop or target differs.

    Args:
        make: Makes a fresh strategy.
        data: The candles.
        bars: Bars to check, increasing.
        levels: Stops and targets of all candles.
        result: Result of the check of the signals; one with a difference is returned as it is.
        is_spent: Returns whether the time for the check is over; None: no limit of time, and the
            whole range is evaluated once more, at another time of day.
    """
    if not result.is_clean:
        return result
    if is_spent is None:
        found = _find_repeat_difference(make, data, bars, levels)
        if found is not None:
            return replace(result, differing=(found.index,), first=found, difference=found)
    strategy, differing = make(), list[int]()
    for bar in bars.tolist():
        # A strategy that needs two candles is not at fault.
        if data.find_window_start(bar, 2) == bar:
            continue
        try:
            row = evaluate_window_levels(strategy, data, bar, result.windows)
        except OnetapeError as error:
            failure = make_difference(data, bar, "fails", None, None, None, str(error))
            return replace(result, failing=(bar,), first=failure, failure=failure)
        if not is_same_row(row, levels.get_row(bar)):
            differing.append(bar)
        if is_spent is not None and is_spent():
            break
    if not differing:
        return result
    first = _explain_difference(make, data, differing[0], levels, result)
    is_ahead = first.kind == "look-ahead"
    return replace(
        result,
        differing=tuple(differing),
        first=first,
        difference=first,
        look_ahead=first if is_ahead else None,
    )


def _explain_difference(
    make: StrategyMaker, data: CheckData, bar: int, levels: LevelColumns, result: CheckResult
) -> SignalDifference:
    """Return the difference on a bar; its kind follows from the candles up to the bar."""
    whole = levels.get_row(bar)
    window = evaluate_window_levels(make(), data, bar, result.windows)
    prefix = evaluate_prefix_levels(make(), data, bar)
    kind: BiasKind = "warm-up" if is_same_row(prefix, whole) else "look-ahead"
    return _make_difference(data, bar, kind, (whole, prefix, window))


def _find_repeat_difference(
    make: StrategyMaker, data: CheckData, bars: IntArray, levels: LevelColumns
) -> SignalDifference | None:
    """Return the first bar whose levels differ at another time of day, or None."""
    with shift_clock():
        again = evaluate_all(make(), data).level_columns or LevelColumns()
    for bar in bars.tolist():
        whole, other = levels.get_row(bar), again.get_row(bar)
        if not is_same_row(whole, other):
            return _make_difference(data, bar, "not repeatable", (whole, other, whole))
    return None


def _make_difference(
    data: CheckData, bar: int, kind: BiasKind, rows: tuple[LevelRow, LevelRow, LevelRow]
) -> SignalDifference:
    """Return a difference of the price that differs first: of stop, target and limit.

    Args:
        data: The candles.
        bar: Index of the bar.
        kind: Kind of the fault.
        rows: Levels from all candles, from those up to the bar, and from its window.
    """
    column: CheckedColumn = "limit"
    if _differ([LevelRow(stop=row.stop) for row in rows]):
        column = "stop"
    elif _differ([LevelRow(target=row.target) for row in rows]):
        column = "target"
    prices = [getattr(row, column) for row in rows]
    whole, prefix, window = (_NAN if price is None else price for price in prices)
    return make_difference(data, bar, kind, whole, prefix, window, column=column)


def _differ(rows: list[LevelRow]) -> bool:
    """Return whether rows have different prices."""
    return not all(is_same_row(rows[0], row) for row in rows)
