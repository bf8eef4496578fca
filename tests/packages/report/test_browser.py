"""The page in a real headless Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.core.candles import Candles
from onetape.report import ReportData

Opener = Callable[..., BrowserTab]
Maker = Callable[..., ReportData]

#: Counts the colours that the biggest canvas of each pane shows: an empty canvas has one.
COLOURS = """
[...document.querySelectorAll('#chart tr')].map(row => {
  const canvases = [...row.querySelectorAll('canvas')].sort((a, b) => b.width - a.width);
  if (!canvases.length) return 0;
  const {width, height} = canvases[0];
  const colours = new Set();
  for (const canvas of canvases.filter(one => one.width === width)) {
    const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, width, height).data.buffer);
    data.forEach(pixel => colours.add(pixel));
  }
  return colours.size;
}).filter(count => count > 0)
"""  # noqa: E501
#: Counts the pixels of the price pane in the colours of a stop and of a target.
LEVEL_PIXELS = """
(() => {
  const style = getComputedStyle(document.documentElement);
  const canvases = [...document.querySelector('#chart tr').querySelectorAll('canvas')];
  return ['--loss', '--gain'].map(name => {
    const paint = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
    let count = 0;
    for (const canvas of canvases) {
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < data.length; at += 4) {
        if ((data[at] << 16 | data[at + 1] << 8 | data[at + 2]) === paint) count += 1;
      }
    }
    return count;
  });
})()
"""
RANGE = "window.onetapeReport.visibleRange()"


def get_visible_range(page: BrowserTab) -> dict[str, Any]:
    page.settle()
    return page.run(RANGE)


def compute_width(bars: dict[str, Any]) -> float:
    return bars["to"] - bars["from"]


def test_the_console_has_no_message_and_nothing_is_requested(
    report: Maker, open_report: Opener
) -> None:
    page = open_report(report(origin="invented"))
    page.dark(on=True)
    page.run("document.querySelector('#trade-table tbody tr').click()")
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []


def test_every_pane_is_drawn(report: Maker, open_report: Opener) -> None:
    page = open_report(report())
    colours = page.run(COLOURS)
    assert page.run("window.onetapeReport.panes()") == 5
    assert all(count > 3 for count in colours[:5]), colours


def test_each_trade_has_an_entry_and_an_exit_marker(report: Maker, open_report: Opener) -> None:
    data = report()
    page = open_report(data)
    assert page.run("window.onetapeReport.markers()") == 2 * len(data.trades)


def test_exits_are_marked_by_their_kind(
    report: Maker, leveled: Callable[[ReportData], ReportData], open_report: Opener
) -> None:
    page = open_report(leveled(report(2_000, every=300)))
    page.run("window.onetapeReport.showTrade(2)")
    page.settle()
    marks = [page.run(f"window.onetapeReport.marker('exit-{index}')") for index in range(5)]
    assert [(mark["shape"], mark["text"]) for mark in marks] == [
        ("arrowDown", "sell"),
        ("circle", "stop"),
        ("circle", "trail"),
        ("square", "target"),
        ("arrowDown", "time"),
    ]
    assert "stopped out by the trailing stop" in page.run(
        "document.getElementById('selected').textContent"
    )
    keys = page.run("[...document.querySelectorAll('.key')].map(key => key.textContent.trim())")
    assert {"exit by stop", "exit by target", "stop", "target price"} <= set(keys)


def test_stop_and_target_of_a_trade_are_drawn_in_their_colours(
    report: Maker, leveled: Callable[[ReportData], ReportData], open_report: Opener
) -> None:
    data = leveled(report(2_000, every=300))
    # The marks of the exits have these colours too.
    bare = replace(data, trades=tuple(replace(one, stop=(), target=()) for one in data.trades))
    counts: list[list[int]] = []
    for shown in (bare, data):
        page = open_report(shown)
        page.run("window.onetapeReport.showTrade(3)")
        page.settle()
        counts.append(page.run(LEVEL_PIXELS))
    assert [after > before + 50 for before, after in zip(*counts, strict=True)] == [True, True]


def test_levels_of_many_trades_are_drawn_for_the_chosen_one_alone(
    report: Maker, leveled: Callable[[ReportData], ReportData], open_report: Opener
) -> None:
    page = open_report(leveled(report(3_000, every=40, held=20)))
    assert page.run("window.onetapeReport.levels()") == []
    page.run("window.onetapeReport.showTrade(30)")
    page.settle()
    assert 30 in page.run("window.onetapeReport.levels()")
    page.run("document.querySelector('#ranges button').click()")
    page.settle()
    assert page.run("window.onetapeReport.levels()") == [30]


def test_the_page_has_a_monthly_table(report: Maker, open_report: Opener) -> None:
    page = open_report(report(366 * 24))
    rows = page.run(
        "[...document.querySelectorAll('#months tbody tr')].map(row =>"
        " [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows] == ["2023", "2024"]
    assert all(cell for cell in rows[0])
    assert len(rows[0]) == 15


def test_the_chart_first_shows_the_whole_range(report: Maker, open_report: Opener) -> None:
    bars = get_visible_range(open_report(report(700)))
    assert bars["from"] == pytest.approx(0, abs=1)
    assert bars["to"] == pytest.approx(700, abs=3)


def test_the_wheel_zooms_in(report: Maker, open_report: Opener) -> None:
    page = open_report(report())
    before = compute_width(get_visible_range(page))
    x, y = page.centre("#chart")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    page.wait_for(f"{RANGE}.to - {RANGE}.from < {before * 0.95}")


def test_dragging_pans(report: Maker, open_report: Opener) -> None:
    page = open_report(report())
    page.run("document.querySelectorAll('#ranges button')[1].click()")
    before = get_visible_range(page)
    x, y = page.centre("#chart")
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    for step in (40, 80, 120):
        page.mouse("mouseMoved", x + step, y, button="left", buttons=1)
    page.mouse("mouseReleased", x + 120, y, button="left", clickCount=1)
    after = get_visible_range(page)
    assert after["from"] < before["from"] - 5


@pytest.mark.parametrize(("button", "factor"), [("#zoom-in", 0.6), ("#zoom-out", 1.0)])
def test_the_zoom_buttons_change_the_visible_range(
    report: Maker, open_report: Opener, button: str, factor: float
) -> None:
    page = open_report(report())
    before = compute_width(get_visible_range(page))
    page.click(*page.centre(button))
    assert compute_width(get_visible_range(page)) == pytest.approx(before * factor, rel=0.02)


def test_the_last_week_button_shows_the_last_week(report: Maker, open_report: Opener) -> None:
    page = open_report(report())
    page.run("[...document.querySelectorAll('#ranges button')].at(-2).click()")
    bars = get_visible_range(page)
    assert bars["toTime"] - bars["fromTime"] == pytest.approx(7 * 86_400, abs=2 * 3_600)


def test_a_click_on_a_trade_moves_the_chart_to_it(report: Maker, open_report: Opener) -> None:
    data = report(3_000)
    page = open_report(data)
    page.click(*page.centre("#trade-table tbody tr:nth-child(6)"))
    bars = get_visible_range(page)
    trade = data.trades[5]
    assert bars["fromTime"] < trade.entry_timestamp < trade.exit_timestamp < bars["toTime"]
    assert compute_width(bars) < 200
    assert page.run("window.onetapeReport.chosenTrade()") == 5


def test_enter_on_a_row_reached_by_arrow_keys_moves_the_chart(
    report: Maker, open_report: Opener
) -> None:
    page = open_report(report(3_000))
    page.run("document.querySelector('#trade-table tbody tr').focus()")
    page.key("ArrowDown")
    page.key("Enter")
    assert page.run("window.onetapeReport.chosenTrade()") == 1
    assert page.run("document.querySelector('[aria-current]').cells[0].textContent") == "2"


def test_a_click_scrolls_the_chart_into_view(report: Maker, open_report: Opener) -> None:
    page = open_report(report(3_000))
    page.click(*page.centre("#trade-table tbody tr:nth-child(3)"))
    top = page.run("document.getElementById('chart').getBoundingClientRect().top")
    assert 0 <= top < 300


def test_an_open_trade_is_marked_as_such(report: Maker, open_report: Opener) -> None:
    data = report(500, every=480, held=40)
    page = open_report(data)
    assert data.trades[-1].open_at_end
    assert "open position" in page.run("document.querySelector('#trade-table').innerText")


def test_reason_texts_are_shown_as_text(report: Maker, open_report: Opener) -> None:
    data = report()
    hostile = "<img src=x onerror=alert(1)>"
    trades = tuple(replace(trade, entry_reason=hostile) for trade in data.trades)
    page = open_report(replace(data, trades=trades))
    assert hostile in page.run("document.querySelector('#trade-table tbody tr').innerText")
    assert page.run("document.images.length") == 0


def test_the_chart_changes_its_colours_with_the_scheme(report: Maker, open_report: Opener) -> None:
    page = open_report(report())
    shown: list[str] = []
    for on in (False, True):
        page.dark(on=on)
        shown.append(page.run("window.onetapeReport.background()"))
    assert shown == ["#ffffff", "#171c24"]


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_never_scrolls_sideways(report: Maker, open_report: Opener, width: int) -> None:
    data = report(
        3_000,
        origin="invented",
        symbol="LONGCOINNAME/LONGQUOTE",
        parameters={"an_unbroken_name_of_a_parameter": "x" * 80},
    )
    page = open_report(data, width=width, height=844)
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_tiny_prices_are_written_without_exponent(report: Maker, open_report: Opener) -> None:
    data = report()
    # In whole steps of 0.00000001, near 0.000008.
    columns = (data.candles.open, data.candles.high, data.candles.low, data.candles.close)
    small = [np.round(column / 5e9, 8) for column in columns]
    candles = Candles(
        data.candles.timestamp, small[0], small[1], small[2], small[3], data.candles.volume
    )
    trade = replace(data.trades[0], entry_price=0.000_008_12, exit_price=0.000_008_2)
    page = open_report(replace(data, candles=candles, trades=(trade,)))
    cells = page.run(
        "[...document.querySelector('#trade-table tbody tr').cells].map(cell => cell.textContent)"
    )
    assert cells[5:7] == ["0.00000812", "0.00000820"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1e-9, "0.000000001"), (1.23456e-12, "0.000000000001235"), (12.5, "12.5"), (0.1 + 0.2, "0.3")],
)
def test_a_tiny_amount_is_not_written_as_zero(
    report: Maker, open_report: Opener, amount: float, text: str
) -> None:
    data = report()
    page = open_report(replace(data, trades=(replace(data.trades[0], amount=amount),)))
    cell = "document.querySelector('#trade-table tbody tr').cells[7].textContent"
    assert page.run(cell) == text


@pytest.mark.parametrize("candles", [0, 1, 2])
def test_a_page_of_very_few_candles_has_no_console_message(
    report: Maker, open_report: Opener, candles: int
) -> None:
    assert open_report(report(candles)).complaints() == []


def test_a_quarter_of_a_million_minutes_are_drawn_and_can_be_panned(
    report: Maker, open_report: Opener
) -> None:
    data = report(250_000, step_seconds=60, timeframe="1m", every=500, held=90)
    page = open_report(data)
    assert page.run("window.onetapeReport.markers()") > 100
    page.run("window.onetapeReport.showTrade(300)")
    bars = get_visible_range(page)
    assert bars["fromTime"] < data.trades[300].entry_timestamp < bars["toTime"]
    assert page.run("!!window.onetapeReport.marker('entry-300')")
    assert page.complaints() == []


def test_a_page_of_real_candles_with_gaps_has_no_console_message(
    shared: Path, report: Maker, open_report: Opener
) -> None:
    path = shared / "data" / "candles" / "binance_BTC-USDT_1h_20170817_20240421.csv.gz"
    table = np.loadtxt(path, delimiter=",", skiprows=1, max_rows=8_760)
    open_, high, low, close, volume = table.T[1:]
    candles = Candles(table[:, 0].astype(np.int64), open_, high, low, close, volume)
    data = replace(report(len(candles)), candles=candles)
    page = open_report(data)
    assert page.complaints() == []
    assert get_visible_range(page)["fromTime"] == int(candles.timestamp[0])
