"""The times of a run over several symbols, for a page that shows one of them."""

from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from onetape.core.candles import Candles, FloatArray

if TYPE_CHECKING:
    from backtester.run import Backtest
    from onetape.report import ReportData


def on_axis(backtest: "Backtest", page: "ReportData") -> "ReportData":
    """Return the page of one symbol at the times of all: NaN where it has no candle itself."""
    own, axis = page.candles.timestamp, backtest.timestamp
    if len(own) == len(axis):
        return page
    places = np.searchsorted(axis, own)

    def spread(column: FloatArray, absent: float = np.nan) -> FloatArray:
        whole = np.full(len(axis), absent)
        whole[places] = column
        return whole

    candles = page.candles
    volume = spread(candles.volume, 0.0)
    open_, high, low, close = map(spread, (candles.open, candles.high, candles.low, candles.close))
    return replace(
        page,
        candles=Candles(axis, open_, high, low, close, volume),
        equity=backtest.equity,
        buy_and_hold=spread(page.buy_and_hold),
        indicators={name: spread(column) for name, column in page.indicators.items()},
    )
