"""Several symbols on one page, in a real headless Chromium."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.report import ReportData, render_report

Opener = Callable[..., BrowserTab]
Maker = Callable[..., ReportData]

SYMBOL = "window.onetapeReport.symbol()"
LEGEND = "document.querySelector('#legends span').textContent"
PRESSED = "document.querySelector('#symbols [aria-pressed=true]').textContent"
OTHER = "#symbols button:nth-child(2)"


def get_visible_bars(page: BrowserTab) -> dict[str, Any]:
    page.settle()
    return page.run("window.onetapeReport.visibleRange()")


def get_price_scale(page: BrowserTab) -> dict[str, float]:
    page.settle()
    return page.run("window.onetapeReport.scale()")


def find_markers(page: BrowserTab, count: int) -> list[bool]:
    names = [f"entry-{index}" for index in range(count)]
    return [page.run(f"!!window.onetapeReport.marker('{name}')") for name in names]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_switch_shows_the_candles_and_markers_of_the_other_symbol(
    shared_report: Maker, open_report: Opener, width: int, dark: bool
) -> None:
    data = shared_report()
    page = open_report(data, width=width)
    page.dark(on=dark)
    first = get_price_scale(page), find_markers(page, 4)
    page.click(*page.centre(OTHER))
    second = get_price_scale(page), find_markers(page, 4)
    assert first[0]["from"] > 10_000 > 5_000 > second[0]["to"]
    assert (first[1], second[1]) == ([True, False] * 2, [False, True] * 2)
    close = data.others[0].candles.close[-1]
    assert f"C {close:,.2f}" in page.run(LEGEND)
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.run("window.onetapeReport.background()") == ("#171c24" if dark else "#ffffff")
    assert page.complaints() == []


def test_equity_and_drawdown_are_always_those_of_the_account(
    shared_report: Maker, open_report: Opener
) -> None:
    page = open_report(shared_report())
    money = "[...document.querySelectorAll('#legends > div')].slice(-2).map(one => one.textContent)"
    before = page.run(money)
    page.click(*page.centre(OTHER))
    assert page.run(money) == before


@pytest.mark.parametrize("width", [1280, 390])
def test_legends_stay_at_their_panes_after_a_switch(
    shared_report: Maker, open_report: Opener, width: int
) -> None:
    page = open_report(shared_report(), width=width)
    tops = "[...document.querySelectorAll('#legends > div')].map(one => one.style.top)"
    before = page.run(tops)
    page.click(*page.centre(OTHER))
    page.settle()
    assert page.run(tops) == before


def test_a_click_on_a_trade_of_the_other_symbol_switches_and_moves_the_chart(
    shared_report: Maker, open_report: Opener
) -> None:
    data = shared_report()
    page = open_report(data)
    page.click(*page.centre("#trade-table tbody tr:nth-child(2)"))
    trade, shown = data.trades[1], get_visible_bars(page)
    assert (page.run(SYMBOL), page.run(PRESSED)) == ("ETH/USDT", "ETH/USDT")
    assert shown["fromTime"] < trade.entry_timestamp < trade.exit_timestamp < shown["toTime"]
    assert shown["to"] - shown["from"] < 200
    assert "Trade 2 of 6 (ETH/USDT)" in page.run("document.getElementById('selected').textContent")
    assert page.complaints() == []


def test_enter_on_a_trade_and_the_trade_buttons_switch_too(
    shared_report: Maker, open_report: Opener
) -> None:
    page = open_report(shared_report())
    page.run("document.querySelector('#trade-table tbody tr').focus()")
    page.key("ArrowDown")
    page.key("Enter")
    shown = [page.run(SYMBOL)]
    for button in ("#next-trade", "#previous-trade"):
        page.click(*page.centre(button))
        shown.append(page.run(SYMBOL))
    assert shown == ["ETH/USDT", "BTC/USDT", "ETH/USDT"]


def test_the_switch_works_by_keyboard_and_keeps_the_time_in_view(
    shared_report: Maker, open_report: Opener
) -> None:
    page = open_report(shared_report(later=150))
    page.run("window.onetapeReport.showTrade(2)")
    before = get_visible_bars(page)
    page.run(f"document.querySelector('{OTHER}').focus()")
    page.key("Enter")
    after = get_visible_bars(page)
    assert page.run(SYMBOL) == "ETH/USDT"
    assert (after["fromTime"], after["toTime"]) == (before["fromTime"], before["toTime"])
    assert after["from"] == pytest.approx(before["from"] - 150, abs=0.5)
    assert page.run("document.activeElement.textContent") == "ETH/USDT"


def test_stops_of_a_trade_are_drawn_in_the_chart_of_its_symbol_alone(
    shared_report: Maker, leveled: Callable[[ReportData], ReportData], open_report: Opener
) -> None:
    page = open_report(leveled(shared_report()))
    levels = [page.run("window.onetapeReport.levels()")]
    page.click(*page.centre(OTHER))
    levels.append(page.run("window.onetapeReport.levels()"))
    assert levels == [[0, 2, 4], [1, 3, 5]]


def test_prices_in_the_list_have_the_decimals_of_their_symbol(
    shared_report: Maker, open_report: Opener
) -> None:
    data = shared_report()
    (other,) = data.others
    columns = other.candles
    whole = [column.round() for column in (columns.open, columns.high, columns.low, columns.close)]
    candles = type(columns)(
        columns.timestamp, whole[0], whole[1], whole[2], whole[3], columns.volume
    )
    trades = tuple(replace(one, entry_price=1_234.0) for one in data.trades)
    page = open_report(replace(data, trades=trades, others=(replace(other, candles=candles),)))
    rows = page.run(
        "[...document.querySelectorAll('#trade-table tbody tr')].slice(0, 2)"
        ".map(row => [row.cells[1].textContent, row.cells[6].textContent])"
    )
    assert rows == [["BTC/USDT", "1,234.00"], ["ETH/USDT", "1,234.0"]]


def test_one_symbol_has_no_switch(report: Maker) -> None:
    assert 'id="symbols"' not in render_report(report())


def test_three_symbols_over_a_year_of_hours_make_a_page_of_a_few_megabytes(
    shared_report: Maker,
) -> None:
    data = shared_report(366 * 24, every=20)
    third = replace(data.others[0], symbol="XRP/USDT")
    page = render_report(replace(data, others=(*data.others, third)))
    assert len(page.encode()) < 4_000_000
