"""Report data that is refused, and the panes that indicators get."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.report import ReportData


def test_a_column_of_another_length_is_refused(report: Callable[..., ReportData]) -> None:
    data = report(10)
    with pytest.raises(ValueError, match=r"equity must have shape \(10,\), found \(9,\)"):
        replace(data, equity=np.zeros(9))


def test_a_level_for_an_unknown_indicator_is_refused(report: Callable[..., ReportData]) -> None:
    data = report(10)
    with pytest.raises(ValueError, match="indicator 'rsx'"):
        replace(data, levels={"rsx": (30.0,)})


def test_names_that_begin_with_the_same_word_share_a_pane(
    report: Callable[..., ReportData],
) -> None:
    assert report(10).list_pane_names() == (
        ("RSI",),
        ("MACD", "MACD signal", "MACD histogram"),
    )


def test_an_overlay_has_no_separate_pane(report: Callable[..., ReportData]) -> None:
    assert all("SMA" not in pane for pane in report(10).list_pane_names())


def test_a_trade_of_an_unknown_market_is_refused(
    shared_report: Callable[..., ReportData],
) -> None:
    with pytest.raises(ValueError, match="trade of ETH/USDT, its markets are BTC/USDT"):
        replace(shared_report(), others=())
