"""Trades in groups: their sums, their order, and the tables of the page."""

import math
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from onetape.report import ReportData, render_report
from onetape.report.payload import make_payload
from onetape.report.trade_groups import MAX_GROUPS, OPEN, TradeOutcome, group_trades, sum_outcomes

Maker = Callable[..., ReportData]
OUTCOMES = some.lists(
    some.builds(
        TradeOutcome,
        some.sampled_from(["sell signal", "stop loss", "target"]),
        some.floats(-1_000.0, 1_000.0),
        some.floats(-1.0, 3.0) | some.just(math.nan),
        some.integers(0, 10_000_000),
        some.booleans(),
    ),
    max_size=60,
)


def read_table_rows(page: str, table: str) -> list[list[str]]:
    """Return the texts of the rows of a table: body first, then foot."""
    inner = re.search(rf'<table[^>]*id="{table}".*?</table>', page, re.DOTALL)
    assert inner
    rows = re.findall(r"<tr>(.*?)</tr>", inner[0].partition("</thead>")[2], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


@given(OUTCOMES)
def test_every_trade_is_in_one_group(outcomes: list[TradeOutcome]) -> None:
    groups = group_trades(outcomes)
    closed = [one for one in outcomes if not one.is_open]
    assert {one.name: one.trades for one in groups if one.name != OPEN} == Counter(
        one.group for one in closed
    )
    assert sum(one.trades for one in groups) == len(outcomes)
    assert sum(one.profit for one in groups) == pytest.approx(
        sum(one.profit for one in outcomes), abs=1e-6
    )
    assert sum(one.wins for one in groups) == sum(one.profit > 0 for one in outcomes)


@given(OUTCOMES)
def test_open_trades_are_the_last_group_and_the_largest_group_is_the_first(
    outcomes: list[TradeOutcome],
) -> None:
    groups = group_trades(outcomes)
    assert [one.name == OPEN for one in groups[:-1]] == [False] * len(groups[:-1])
    sizes = [one.trades for one in groups if one.name != OPEN]
    assert sizes == sorted(sizes, reverse=True)


def test_the_sums_of_a_group_are_those_of_its_trades() -> None:
    found = sum_outcomes(
        "stop loss",
        [
            TradeOutcome("stop loss", 30.0, 0.03, 7_200),
            TradeOutcome("stop loss", -10.0, -0.02, 3_600),
            TradeOutcome("stop loss", 0.0, math.nan, 0),
        ],
    )
    assert (found.trades, found.wins, found.win_rate) == (3, 1, pytest.approx(1 / 3))
    assert (found.profit, found.held_seconds) == (20.0, 3_600.0)
    assert (found.average, found.best, found.worst) == (pytest.approx(0.005), 0.03, -0.02)


def test_groups_beyond_the_limit_are_combined_in_one() -> None:
    outcomes = [TradeOutcome(f"reason {number}", 1.0, 0.01, 60) for number in range(40)]
    *groups, rest = group_trades(outcomes)
    assert len(groups) == MAX_GROUPS
    assert (rest.name, rest.trades, rest.is_rest) == ("10 others", 10, True)
    assert not any(one.is_rest for one in groups)


def test_the_page_has_a_row_for_each_reason_and_the_sum_of_all(report: Maker) -> None:
    data = report(2_000, every=300)
    reasons = ("target", "stop loss", "target", "target")
    trades = tuple(
        replace(trade, exit_reason=reasons[index % 4], profit_quote=10.0, profit_ratio=0.01)
        for index, trade in enumerate(data.trades[:5])
    )
    page = render_report(replace(data, trades=trades))
    assert read_table_rows(page, "groups-exit") == [
        ["target", "4", "100.0 %", "+40.00", "+1.00 %", "+1.00 %", "+1.00 %", "40.0 h"],
        ["stop loss", "1", "100.0 %", "+10.00", "+1.00 %", "+1.00 %", "+1.00 %", "40.0 h"],
        ["all closed", "5", "100.0 %", "+50.00", "+1.00 %", "+1.00 %", "+1.00 %", "40.0 h"],
    ]
    assert [row[0] for row in read_table_rows(page, "groups-entry")] == [
        "RSI under 30",
        "all closed",
    ]
    assert 'id="groups-symbol"' not in page


def test_an_open_trade_has_its_own_row_and_is_not_in_the_sum(report: Maker) -> None:
    data = report(500, every=240, held=40)
    trades = (data.trades[0], replace(data.trades[-1], open_at_end=True, exit_reason=""))
    rows = read_table_rows(render_report(replace(data, trades=trades)), "groups-exit")
    assert [row[:2] for row in rows] == [["RSI over 70", "1"], [OPEN, "1"], ["all closed", "1"]]


def test_several_symbols_have_a_table(shared_report: Maker) -> None:
    page = render_report(shared_report())
    assert [row[:2] for row in read_table_rows(page, "groups-symbol")] == [
        ["BTC/USDT", "3"],
        ["ETH/USDT", "3"],
        ["all closed", "6"],
    ]


def test_a_page_without_trades_states_this(report: Maker) -> None:
    page = render_report(replace(report(), trades=()))
    assert "No trade was made." in page
    assert "No trade was closed." in page
    assert 'id="groups-exit"' not in page


def test_the_group_names_filter_by_the_exit_reasons_of_the_data(report: Maker) -> None:
    data = report(2_000, every=300)
    first = replace(data.trades[0], entry_reason="", exit_reason="<b>late</b>")
    data = replace(data, trades=(first, *data.trades[1:]))
    reasons = make_payload(data)["trades"]["reasons"]
    page = render_report(data)
    found = re.findall(r'data-filter="(\w+)" data-value="(\d+)">([^<]*)<', page)
    assert {(kind, name, reasons[int(value)]) for kind, value, name in found} == {
        ("exit", "RSI over 70", "RSI over 70"),
        ("exit", "&lt;b&gt;late&lt;/b&gt;", "<b>late</b>"),
        ("entry", "RSI under 30", "RSI under 30"),
        ("entry", "no reason stated", ""),
    }
