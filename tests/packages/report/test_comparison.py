"""A traded account compared with a backtest: figures, differences, second line of equity."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.report import Comparison, DifferenceCause, ReportData, render_report

Maker = Callable[..., ReportData]
Opener = Callable[..., BrowserTab]
CAUSE = "state: paused by <anna> since 2024-03-01 10:12; the backtest bought, and sold at a target"


def add_comparison(data: ReportData) -> ReportData:
    found = Comparison(
        equity=data.equity * 1.01,
        rows=(("return", "-2.33%", "-4.92%"),),
        differences=(
            DifferenceCause(
                0, data.title.symbol, "only in the backtest: 10:00 to 12:00", CAUSE, -12.5
            ),
            DifferenceCause(0, "", "whole account", "rounding", 2.5),
        ),
        total=-10.0,
    )
    return replace(data, comparison=found)


def test_numbers_and_differences_are_escaped_text(report: Maker) -> None:
    page = render_report(add_comparison(report(50)))
    assert "<td>-2.33%</td><td>-4.92%</td>" in page
    assert "paused by &lt;anna&gt; since" in page
    assert '<span class="figure loss">-12.50</span>' in page


def test_a_backtest_report_has_no_comparison_section(report: Maker) -> None:
    page = render_report(report(50))
    assert "comparison-title" not in page
    assert '"backtest":' not in page


def test_the_page_has_the_equity_of_the_backtest_as_a_line(report: Maker) -> None:
    data = add_comparison(report(50))
    page = render_report(data)
    document = json.loads(re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page)[0])
    assert document["backtest"] == pytest.approx(data.equity * 1.01, rel=1e-6)


def test_an_equity_of_another_length_is_refused(report: Maker) -> None:
    data = report(50)
    found = add_comparison(data).comparison
    assert found is not None
    with pytest.raises(ValueError, match="report column backtest"):
        replace(data, comparison=replace(found, equity=np.ones(49)))


def test_on_a_phone_each_cause_is_below_its_position_and_nothing_is_cut_off(
    report: Maker, open_report: Opener
) -> None:
    page = open_report(add_comparison(report(50)), width=390)
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.run(
        "[...document.querySelectorAll('#differences td')].every("
        "one => one.getBoundingClientRect().right <= 390)"
    )
    assert page.complaints() == []
