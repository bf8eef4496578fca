"""Layout of the pages: what fits, marks of wide tables, labels of axes; in a headless Chromium."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.core.candles import Candles
from onetape.report import ReportData

Opener = Callable[..., BrowserTab]
Maker = Callable[..., ReportData]

#: Draws the chart again and returns every text that it writes on its canvases.
WRITTEN = """
(async () => {
  const texts = [];
  const fill = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    texts.push(text);
    return fill.call(this, text, ...rest);
  };
  document.getElementById('zoom-in').click();
  document.querySelector('#ranges button').click();
  const frame = () => new Promise(done => requestAnimationFrame(done));
  for (let count = 0; count < 4; count += 1) await frame();
  CanvasRenderingContext2D.prototype.fillText = fill;
  return texts;
})()
"""
#: Whether each hint at a table that goes on is shown.
HINTS = "[...document.querySelectorAll('.sideways')].map(one => one.offsetHeight > 0)"
FADES = "[...document.querySelectorAll('.scroll')].map(one => one.classList.contains('overflows'))"
TO_THE_END = "document.querySelectorAll('.scroll').forEach(one => { one.scrollLeft = 9999; })"


def measure_right_edges(page: BrowserTab, cell: str, box: str) -> tuple[float, float]:
    edges = page.run(
        f"['{cell}', '{box}'].map(one => document.querySelector(one).getBoundingClientRect().right)"
    )
    return edges[0], edges[1]


def test_the_price_axis_has_no_label_below_zero(report: Maker, open_report: Opener) -> None:
    data = report(2_000)
    count = len(data.candles)
    # From 1,000 to 70,000: the room for the volume reaches far under zero.
    close = np.round(np.geomspace(1_000.0, 70_000.0, count), 2)
    candles = Candles(
        data.candles.timestamp, close, close * 1.01, close * 0.99, close, data.candles.volume
    )
    warm = {**data.indicators, "SMA": close}
    page = open_report(replace(data, candles=candles, indicators=warm, trades=()))
    written = page.run(WRITTEN)
    assert "20,000" in written
    assert [text for text in written if text.startswith("-") and "000" in text] == []


def test_every_column_of_several_symbols_fits_at_1280(
    shared_report: Maker, open_report: Opener
) -> None:
    data = shared_report()
    reason = "under 30 while the price was over its mean of the day"
    trades = tuple(
        replace(trade, amount=0.12345678, profit_quote=-1_234.56, entry_reason=reason)
        for trade in data.trades
    )
    page = open_report(replace(data, trades=trades))
    fits = "(box => box.scrollWidth <= box.clientWidth)(document.getElementById('trade-box'))"
    assert page.run(fits)
    assert not any(page.run(HINTS))


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_a_hint_that_a_table_continues_is_shown_until_its_end_is_visible(
    report: Maker, open_report: Opener, dark: bool
) -> None:
    page = open_report(report(366 * 24), width=390, height=844)
    page.dark(on=dark)
    # Months, groups and trades; the groups are two tables.
    assert (page.run(HINTS), page.run(FADES)) == ([True] * 3, [True] * 4)
    page.run(TO_THE_END)
    page.settle()
    assert page.run(FADES) == [False] * 4
    assert page.complaints() == []


def test_profit_entry_and_exit_are_visible_on_a_phone(
    shared_report: Maker, open_report: Opener
) -> None:
    page = open_report(shared_report(), width=390, height=844)
    last, box = measure_right_edges(page, "#trade-table tbody td:nth-child(5)", "#trade-box")
    # Another font may be a little wider; two whole times side by side are 60 pixels wider.
    assert last <= box + 12


def test_a_year_with_only_late_months_is_not_an_empty_row_on_a_phone(
    report: Maker, open_report: Opener
) -> None:
    data = report(366 * 24)
    later = replace(data.candles, timestamp=data.candles.timestamp + 304 * 86_400)
    page = open_report(replace(data, candles=later, trades=()), width=390, height=844)
    year, box = measure_right_edges(page, "#months tbody td.total", "#months-box")
    assert year <= box
    empty = "getComputedStyle(document.querySelector('#months td:empty'), '::after').content"
    assert page.run(empty) == '"\u00b7"'
