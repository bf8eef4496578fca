"""The logarithmic scale, and marks that are thinned out; in a headless Chromium."""

from collections.abc import Callable

import pytest

from browser import BrowserTab
from onetape.report import ReportData

Opener = Callable[..., BrowserTab]
Maker = Callable[..., ReportData]

SCALES = "window.onetapeReport.logScales()"
MARKS = "window.onetapeReport.markers()"


def test_the_switch_makes_prices_and_equity_logarithmic_and_linear_again(
    report: Maker, open_report: Opener
) -> None:
    page = open_report(report())
    assert page.run(SCALES) == [0, 0]
    page.click(*page.centre("#log-scale"))
    assert page.run(SCALES) == [1, 1]
    assert page.run("document.getElementById('log-scale').ariaPressed") == "true"
    page.run("document.getElementById('log-scale').focus()")
    page.key("Enter")
    assert page.run(SCALES) == [0, 0]
    assert page.complaints() == []


def test_the_scale_stays_with_another_symbol(shared_report: Maker, open_report: Opener) -> None:
    page = open_report(shared_report())
    page.click(*page.centre("#log-scale"))
    page.click(*page.centre("#symbols button:nth-child(2)"))
    assert page.run(SCALES) == [1, 1]


def test_overlapping_markers_are_thinned_out_and_return_with_the_zoom(
    report: Maker, open_report: Opener
) -> None:
    data = report(8_000, every=8, held=4)
    page = open_report(data)
    whole = page.run(MARKS)
    assert 100 < whole < len(data.trades)
    for _ in range(12):
        page.click(*page.centre("#zoom-in"))
    bars = page.run("window.onetapeReport.visibleRange()")
    inside = [
        index
        for index, trade in enumerate(data.trades)
        if bars["fromTime"] <= trade.entry_timestamp <= bars["toTime"]
    ]
    assert inside
    for index in inside:
        assert page.run(f"!!window.onetapeReport.marker('entry-{index}')")
    page.click(*page.centre("#ranges button"))
    assert page.run(MARKS) == whole


def test_the_selected_trade_keeps_its_markers(report: Maker, open_report: Opener) -> None:
    data = report(8_000, every=8, held=4)
    page = open_report(data)
    hidden = next(
        index
        for index in range(len(data.trades))
        if not page.run(f"!!window.onetapeReport.marker('entry-{index}')")
    )
    page.run(f"window.onetapeReport.showTrade({hidden})")
    page.click(*page.centre("#ranges button"))
    page.settle()
    found = [
        page.run(f"!!window.onetapeReport.marker('{side}-{hidden}')") for side in ("entry", "exit")
    ]
    assert found == [True, True]


@pytest.mark.parametrize("width", [1280, 390])
def test_panning_changes_no_visible_marker(report: Maker, open_report: Opener, width: int) -> None:
    page = open_report(report(8_000, every=8, held=4), width=width)
    page.click(*page.centre("#zoom-in"))
    before = page.run(MARKS)
    page.run("document.getElementById('chart').focus()")
    page.key("ArrowLeft")
    assert page.run(MARKS) == before
