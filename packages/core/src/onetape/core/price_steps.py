"""Find the price step of a market in each month of its candles.

Exchanges change price steps, and state only the present one. If prices of a month are not multiples
of the stated step, the market had a finer step in that month, which is computed from the prices. A
coarser earlier step does not show in prices.
Amount steps and minimums change as well, but candles do not show their earlier values.
"""

from decimal import Decimal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.digits import count_decimals
from onetape.core.trading_rules import MonthStep, TradingRules, are_whole


def add_month_steps(trading_rules: TradingRules, candles: Candles) -> TradingRules:
    """Return the rules with the months (UTC) in which the candles show a finer price step.

    Rules that were compared with candles before, rules without a price step, and rules without
    candles are returned unchanged.

    Args:
        trading_rules: Trading rules as the exchange states them.
        candles: Candles of that market, oldest first, shape (n,).
    """
    if trading_rules.months is not None or not trading_rules.price_step or not len(candles):
        return trading_rules
    is_off = _find_off_step(candles, float(trading_rules.price_step))
    starts = np.unique(_compute_months(candles.timestamp[is_off]))
    bounds = np.stack((starts, starts + 1)).astype("datetime64[s]").astype(np.int64)
    months: list[MonthStep] = []
    for start, end in bounds.T.tolist():
        first, last = np.searchsorted(candles.timestamp, (start, end)).tolist()
        months.append(
            MonthStep(start, end, _find_month_step(candles[first:last], trading_rules.price_step))
        )
    return replace(trading_rules, months=tuple(months))


def get_rules_at(trading_rules: TradingRules, timestamp: int) -> TradingRules:
    """Return the trading rules that hold for a candle, with the price step of its month.

    In a month with a finer step these are the rules with that step and without months; otherwise
    the rules unchanged.

    Args:
        trading_rules: Rules with their months, from `add_month_steps`.
        timestamp: Open of the candle, epoch seconds.
    """
    for month in trading_rules.months or ():
        if month.start <= timestamp < month.end:
            return replace(trading_rules, price_step=month.price_step, months=())
    return trading_rules


def find_price_step(trading_rules: TradingRules, timestamp: int) -> float:
    """Return the price step that holds for a candle, quote currency; 0: any price.

    Args:
        trading_rules: Rules with their months, from `add_month_steps`.
        timestamp: Open of the candle, epoch seconds.
    """
    return float(
        (
            get_rules_at(trading_rules, timestamp) if trading_rules.months else trading_rules
        ).price_step
        or 0
    )


def make_price_step_column(trading_rules: TradingRules, timestamp: IntArray) -> FloatArray | None:
    """Return the price step of each candle, 0 for any price.

    None: no month has another step, so `price_step` holds for all candles.

    Args:
        trading_rules: Trading rules of the market.
        timestamp: Opens of the candles, oldest first, epoch seconds, shape (n,).
    """
    if not trading_rules.months:
        return None
    column = np.full(len(timestamp), float(trading_rules.price_step or 0))
    for month in trading_rules.months:
        first, last = np.searchsorted(timestamp, (month.start, month.end)).tolist()
        column[first:last] = float(month.price_step or 0)
    return column


def find_finer_step(price_step: Decimal | None, prices: FloatArray) -> Decimal | None:
    """Return the stated price step, or the finer step that prices of the market show.

    None: the market has no price step.

    Args:
        price_step: Step that the exchange states; None: any price.
        prices: Above 0, shape (n,).
    """
    if not price_step or are_whole(prices, float(price_step)).all():
        return price_step
    return _find_digit_step(prices, price_step)


def _find_off_step(candles: Candles, step: float) -> NDArray[np.bool_]:
    columns = (candles.open, candles.high, candles.low, candles.close)
    return ~np.logical_and.reduce([are_whole(column, step) for column in columns])


def _compute_months(timestamp: IntArray) -> NDArray[np.datetime64]:
    return timestamp.astype("datetime64[s]").astype("datetime64[M]")


def _find_month_step(candles: Candles, price_step: Decimal) -> Decimal | None:
    prices = np.concatenate((candles.open, candles.high, candles.low, candles.close))
    return _find_digit_step(prices, price_step)


def _find_digit_step(prices: FloatArray, price_step: Decimal) -> Decimal | None:
    """Return the largest power of ten under the stated step that divides all prices, or None."""
    decimals = count_decimals(prices)
    if decimals is None:
        return None
    step = Decimal(1).scaleb(-decimals)
    if step < price_step:
        return step
    # A stated step such as 0.03, with prices such as 0.1 that are no multiples but have as many
    # digits.
    exponent = price_step.normalize().as_tuple().exponent
    return Decimal(1).scaleb(min(-decimals, int(exponent)))
