"""The trade list is sorted and filtered, and the chart follows it; in a headless Chromium."""

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from browser import BrowserTab
from onetape.report import ReportData, ReportTrade

Opener = Callable[..., BrowserTab]
Maker = Callable[..., ReportData]

#: The numbers of the listed trades, counted from 0.
LISTED = "[...document.querySelectorAll('#trade-table tbody tr')].map(row => +row.dataset.trade)"
STATUS = "document.getElementById('filtered').textContent"
HEADS = "[...document.querySelectorAll('#trade-table thead th')].map(one => one.textContent)"
SORTED = "[...document.querySelectorAll('#trade-table th[aria-sort]')].map(one => one.ariaSort)"


def vary_trades(data: ReportData) -> ReportData:
    """Return the report with trades of which each has another profit, in an order of their own."""
    profits = (5.0, -20.0, 40.0, -1.0, 9.0, 12.0)
    exits = ("target", "stop loss", "target", "stop loss", "sell signal", "target")
    trades: list[ReportTrade] = [
        replace(
            trade,
            profit_quote=profit,
            profit_ratio=profit / 1_000.0,
            exit_reason=reason,
            entry_reason="dip" if index % 2 else "breakout",
        )
        for index, (trade, profit, reason) in enumerate(
            zip(data.trades, profits, exits, strict=True)
        )
    ]
    return replace(data, trades=tuple(trades))


def pick(page: BrowserTab, field: str, value: str) -> None:
    """Choose a value of a filter as a person does."""
    page.run(
        f"(() => {{ const field = document.getElementById('filter-{field}');"
        f"field.value = {value!r}; field.dispatchEvent(new Event('input')); }})()"
    )


def press(page: BrowserTab, head: str) -> None:
    """Click on a heading of the list."""
    at = page.run(HEADS).index(head) + 1
    page.click(*page.centre(f"#trade-table thead th:nth-child({at})"))


def list_marked(page: BrowserTab, trades: Sequence[int]) -> list[bool]:
    return [page.run(f"!!window.onetapeReport.marker('entry-{index}')") for index in trades]


def test_a_heading_sorts_up_and_then_down(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    press(page, "Profit")
    assert (page.run(LISTED), page.run(SORTED)) == ([1, 3, 0, 4, 5, 2], ["ascending"])
    press(page, "Profit")
    assert (page.run(LISTED), page.run(SORTED)) == ([2, 5, 4, 0, 3, 1], ["descending"])
    press(page, "Reason")
    # By the whole texts: "breakout; then sell signal" before "breakout; then target".
    assert page.run(LISTED) == [4, 0, 2, 1, 3, 5]
    press(page, "#")
    assert page.run(LISTED) == [0, 1, 2, 3, 4, 5]


def test_enter_on_a_heading_sorts(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    at = page.run(HEADS).index("Profit, USDT") + 1
    page.run(f"document.querySelector('#trade-table th:nth-child({at})').focus()")
    page.key("Enter")
    assert page.run(LISTED) == [1, 3, 0, 4, 5, 2]


def test_times_and_prices_are_sorted_as_numbers(report: Maker, open_report: Opener) -> None:
    data = vary_trades(report(2_000, every=300))
    prices = (900.0, 10_000.0, 2_000.0, 30.0, 400.0, 5.0)
    trades = tuple(
        replace(trade, entry_price=price) for trade, price in zip(data.trades, prices, strict=True)
    )
    page = open_report(replace(data, trades=trades))
    press(page, "Entry price")
    assert page.run(LISTED) == [5, 3, 4, 0, 2, 1]
    press(page, "Exit (UTC)")
    assert page.run(LISTED) == [0, 1, 2, 3, 4, 5]


def test_filters_list_the_trades_that_pass_all_of_them(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    assert page.run(STATUS) == ""
    pick(page, "result", "win")
    assert (page.run(LISTED), page.run(STATUS)) == ([0, 2, 4, 5], "4 of 6 trades")
    pick(page, "text", "TARGET")
    assert page.run(LISTED) == [0, 2, 5]
    dip = page.run(
        "[...document.getElementById('filter-entry').options]"
        ".find(one => one.textContent === 'dip').value"
    )
    pick(page, "entry", dip)
    assert (page.run(LISTED), page.run(STATUS)) == ([5], "1 of 6 trades")
    page.click(*page.centre("#clear-filters"))
    assert (page.run(LISTED), page.run(STATUS)) == ([0, 1, 2, 3, 4, 5], "")
    assert page.run("document.activeElement.id") == "filter-text"


def test_a_search_finds_dates_and_a_sorting_stays(report: Maker, open_report: Opener) -> None:
    data = vary_trades(report(2_000, every=300))
    page = open_report(data)
    press(page, "Profit")
    day = page.run("document.querySelector('[data-trade=\"2\"] .time').textContent").split()[0]
    pick(page, "text", day)
    assert 2 in page.run(LISTED)
    assert len(page.run(LISTED)) < 6
    pick(page, "text", "")
    assert page.run(LISTED) == [1, 3, 0, 4, 5, 2]


def test_filters_that_no_trade_passes_give_an_empty_list(
    report: Maker, open_report: Opener
) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    pick(page, "text", "no such reason")
    assert (page.run(LISTED), page.run(STATUS)) == ([], "0 of 6 trades")
    disabled = "['previous', 'next'].map(one => document.getElementById(`${one}-trade`).disabled)"
    assert page.run(disabled) == [True, True]
    assert page.complaints() == []


def test_the_name_of_a_group_lists_its_trades(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    pick(page, "result", "loss")
    page.run(
        "[...document.querySelectorAll('#groups-exit button')]"
        ".find(one => one.textContent === 'target').click()"
    )
    assert (page.run(LISTED), page.run(STATUS)) == ([0, 2, 5], "3 of 6 trades")
    assert page.run("document.activeElement.id") == "filter-exit"


def test_the_open_trade_is_listed_by_its_group(report: Maker, open_report: Opener) -> None:
    data = vary_trades(report(2_000, every=300))
    last = replace(data.trades[-1], open_at_end=True, exit_reason="")
    page = open_report(replace(data, trades=(*data.trades[:-1], last)))
    page.run(
        "[...document.querySelectorAll('#groups-entry button')]"
        ".find(one => one.textContent === 'open position').click()"
    )
    assert page.run(LISTED) == [5]


def test_a_symbol_is_a_filter_where_there_are_several(
    shared_report: Maker, report: Maker, open_report: Opener
) -> None:
    page = open_report(shared_report())
    pick(page, "symbol", "1")
    assert page.run(LISTED) == [1, 3, 5]
    assert not open_report(report()).run("!!document.getElementById('filter-symbol')")


def test_the_chart_marks_the_listed_trades_alone(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    assert list_marked(page, range(6)) == [True] * 6
    pick(page, "result", "loss")
    assert list_marked(page, range(6)) == [False, True, False, True, False, False]
    page.click(*page.centre("#clear-filters"))
    assert list_marked(page, range(6)) == [True] * 6


def test_the_buttons_step_in_the_order_of_the_list(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    press(page, "Profit")
    pick(page, "result", "win")
    chosen: list[int] = []
    for button in ("next", "next", "next", "previous"):
        page.click(*page.centre(f"#{button}-trade"))
        chosen.append(page.run("window.onetapeReport.chosenTrade()"))
    assert chosen == [0, 4, 5, 4]
    assert page.run("document.querySelector('tr[aria-current]').dataset.trade") == "4"
    pick(page, "result", "loss")
    assert page.run("document.querySelectorAll('tr[aria-current]').length") == 0
    page.click(*page.centre("#next-trade"))
    assert page.run("window.onetapeReport.chosenTrade()") == 1


def test_arrow_keys_move_in_the_sorted_list(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    press(page, "Profit")
    page.run("document.querySelector('#trade-table tbody tr[tabindex=\"0\"]').focus()")
    page.key("ArrowDown")
    page.key("Enter")
    assert page.run("window.onetapeReport.chosenTrade()") == 3


def test_thousands_of_trades_are_sorted_as_a_whole(report: Maker, open_report: Opener) -> None:
    data = report(30_000, every=10, held=5)
    page = open_report(data)
    press(page, "Profit")
    worst = min(range(len(data.trades)), key=lambda index: data.trades[index].profit_ratio)
    assert page.run(LISTED)[0] == worst
    assert len(page.run(LISTED)) == 200
    assert len(data.trades) > 2_500


def test_group_tables_are_sorted_by_their_numbers(report: Maker, open_report: Opener) -> None:
    page = open_report(vary_trades(report(2_000, every=300)))
    names = (
        "[...document.querySelectorAll('#groups-exit tbody tr')].map(row => "
        "row.cells[0].textContent)"
    )
    assert page.run(names) == ["target", "stop loss", "sell signal"]
    page.click(*page.centre("#groups-exit thead th:nth-child(4)"))
    assert page.run(names) == ["stop loss", "sell signal", "target"]
    total = "document.querySelector('#groups-exit tfoot th').textContent"
    assert page.run(total) == "all closed"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_histogram_has_a_bar_for_each_bin_inside_its_picture(
    report: Maker, open_report: Opener, width: int
) -> None:
    page = open_report(vary_trades(report(2_000, every=300)), width=width)
    bars = page.run(
        "[...document.querySelectorAll('#histogram rect')].map(one => "
        "[one.getAttribute('class'), one.querySelector('title').textContent])"
    )
    counts = [int(text.rpartition(": ")[2].split()[0]) for _, text in bars]
    assert sum(counts) == 6
    losses = sum(count for (name, _), count in zip(bars, counts, strict=True) if name == "loss")
    assert losses == 2
    assert page.run(
        "(svg => [...svg.querySelectorAll('text')].every(one => { const box = one.getBBox();"
        "return box.x >= 0 && box.x + box.width <= svg.viewBox.baseVal.width + 1; }))"
        "(document.getElementById('histogram'))"
    )
    assert page.complaints() == []
