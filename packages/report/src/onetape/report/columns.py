"""Columns of the page as JSON numbers, rounded to the digits that can be seen."""

import math

import numpy as np

from onetape.core.candles import FloatArray
from onetape.core.digits import Digits
from onetape.core.market_digits import choose_market_digits
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.report.data import MarketChart, ReportData

_MAX_DECIMALS = 12


def choose_column_decimals(column: FloatArray, significant: int) -> int:
    """Return the decimals, 0 to 12, that show `significant` digits of a column's largest value."""
    finite = np.abs(column[np.isfinite(column)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest == 0.0:
        return 2
    return min(max(significant - 1 - math.floor(math.log10(largest)), 0), _MAX_DECIMALS)


def get_market_digits(data: ReportData, market: MarketChart) -> Digits:
    """Return the decimals of a market's prices and amounts, and of the account's money."""
    if market.digits is not None:
        return market.digits
    return choose_market_digits(NO_TRADING_RULES, market.candles, data.title.quote, data.start_cash)


def round_column(column: FloatArray, decimals: int) -> list[float | None]:
    """Return the column as JSON numbers; None where it is not finite."""
    values: list[float | None] = np.round(column, decimals).tolist()
    for index in np.flatnonzero(~np.isfinite(column)).tolist():
        values[index] = None
    return values
