"""The histogram of the trades: every closed trade in the bin of its profit."""

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from onetape.report import ReportData, ReportTrade
from onetape.report.histogram import (
    MAX_BINS,
    Histogram,
    compute_histogram,
    describe_histogram,
)
from onetape.report.payload import make_payload

#: Profits in hundredths of a per cent: floats of them are edges too.
RATIOS = some.lists(some.integers(-9_999, 50_000).map(lambda one: one / 10_000), max_size=300)


def trade(ratio: float, *, is_open: bool = False) -> ReportTrade:
    return ReportTrade(0, 3_600, 1.0, 1.0, 1.0, ratio * 100.0, ratio, 0.0, open_at_end=is_open)


def require_histogram(ratios: list[float]) -> Histogram:
    found = compute_histogram([trade(one) for one in ratios])
    assert found is not None
    return found


@given(RATIOS.filter(bool))
def test_each_bin_counts_the_trades_from_its_lower_edge_up(ratios: list[float]) -> None:
    found = require_histogram(ratios)
    # Compared with half a hundredth of a per cent of room: no profit lies that near to an edge.
    percent = [one * 100.0 + 1e-7 for one in ratios]
    edges = found.edges
    assert found.counts == tuple(
        sum(low <= one < high for one in percent) for low, high in itertools.pairwise(edges)
    )
    assert found.under == sum(one < edges[0] for one in percent)
    assert found.over == sum(one >= edges[-1] for one in percent)
    assert found.trades == len(ratios)
    assert len(found.counts) <= MAX_BINS


@given(RATIOS.filter(bool))
def test_at_most_one_percent_of_trades_lies_outside_each_end(ratios: list[float]) -> None:
    found = require_histogram(ratios)
    assert max(found.under, found.over) <= len(ratios) * 0.01


def test_zero_is_an_edge_between_losses_and_profits() -> None:
    found = require_histogram([-0.031, -0.012, -0.001, 0.0, 0.004, 0.02])
    place = found.edges.index(0.0)
    assert (sum(found.counts[:place]), sum(found.counts[place:])) == (3, 3)


def test_mean_and_median_are_those_of_the_closed_trades() -> None:
    trades = [trade(0.01), trade(0.05), trade(-0.02), trade(9.0, is_open=True)]
    found = compute_histogram(trades)
    assert found is not None
    assert (found.mean, found.median) == (pytest.approx(4 / 3), pytest.approx(1.0))
    assert describe_histogram(found).endswith("mean +1.33 %, median +1.00 %.")


@pytest.mark.parametrize("ratios", [[], [math.nan]])
def test_without_a_closed_trade_there_is_no_histogram(ratios: list[float]) -> None:
    assert compute_histogram([trade(one) for one in ratios]) is None
    assert describe_histogram(None) == "No trade was closed."


@pytest.mark.parametrize("ratio", [0.0, 0.03, -1.0, 1e-9, 1e250])
def test_equal_profits_of_any_size_are_in_one_bin(ratio: float) -> None:
    found = require_histogram([ratio] * 5)
    assert found.counts == (5,)
    assert (found.under, found.over) == (0, 0)


def test_a_rare_huge_profit_does_not_flatten_the_rest() -> None:
    found = require_histogram([*(number / 1_000 for number in range(-100, 100)), 50.0])
    assert found.over == 1
    assert found.edges[-1] < 15.0
    assert len(found.counts) >= 10


def test_the_page_has_the_counts(report: Callable[..., ReportData]) -> None:
    data = report(500)
    trades = tuple(replace(data.trades[0], profit_ratio=one) for one in (0.01, 0.012, -0.02))
    shown = make_payload(replace(data, trades=trades))["histogram"]
    assert sum(shown["counts"]) + shown["under"] + shown["over"] == 3
    assert len(shown["edges"]) == len(shown["counts"]) + 1
    assert make_payload(replace(data, trades=()))["histogram"] is None
