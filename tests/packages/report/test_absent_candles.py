"""A market without some of the candles that another of the account has."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from browser import BrowserTab
from onetape.core.candles import Candles
from onetape.report import ReportData

LEGEND = "document.querySelector('#legends span').textContent"


def test_a_candle_missing_in_one_market_has_its_place_on_the_axis_and_is_not_drawn(
    shared_report: Callable[..., ReportData], open_report: Callable[..., BrowserTab]
) -> None:
    data = shared_report()
    lacks = np.zeros(len(data.candles), dtype=bool)
    lacks[[0, 5, -1]] = True
    columns = (data.candles.open, data.candles.high, data.candles.low, data.candles.close)
    open_, high, low, close = (np.where(lacks, np.nan, column) for column in columns)
    volume = np.where(lacks, 0.0, data.candles.volume)
    candles = Candles(data.candles.timestamp, open_, high, low, close, volume)
    page = open_report(replace(data, candles=candles))
    assert "O - " in page.run(LEGEND)
    page.click(*page.centre("#symbols button:nth-child(2)"))
    assert "O - " not in page.run(LEGEND)
    assert page.complaints() == []
