"""Compact columns of the page, and merging of candles for drawing."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.market_digits import choose_market_price_decimals
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.report import ReportData
from onetape.report.columns import choose_column_decimals, round_column
from onetape.report.merged_candles import compute_drawn_limit, group_by_timeframe, group_candles
from onetape.report.payload import encode_payload, encode_time_runs, make_payload

positive_steps = some.lists(some.integers(1, 10_000_000), max_size=60)
prices = some.lists(some.floats(0.01, 1e6), min_size=1, max_size=80)


def make_candles(values: list[float], step_seconds: int = 60) -> Candles:
    column = np.array(values)
    stamps = np.arange(len(values), dtype=np.int64) * step_seconds
    return Candles(stamps, column, column + 1.0, column - 0.005, column, column)


def unpack_runs(runs: dict[str, Any]) -> list[int]:
    """Read the runs as the page's script does."""
    times = [runs["start"]]
    for count, step in runs["runs"]:
        times += [times[-1] + step * (place + 1) for place in range(count)]
    return times


@given(positive_steps)
def test_time_runs_restore_every_time(steps: list[int]) -> None:
    stamps = np.cumsum(np.array([1_600_000_000, *steps], dtype=np.int64))
    assert unpack_runs(encode_time_runs(stamps)) == stamps.tolist()


def test_a_year_without_gaps_is_one_run() -> None:
    stamps = np.arange(8_760, dtype=np.int64) * 3_600
    assert encode_time_runs(stamps) == {"start": 0, "runs": [[8_759, 3_600]]}


def test_the_start_cash_counts_as_a_peak(report: Callable[..., ReportData]) -> None:
    data = report(3)
    shown = make_payload(replace(data, equity=np.array([90.0, 120.0, 60.0]), start_cash=100.0))
    assert shown["drawdown"] == pytest.approx([-10.0, 0.0, -50.0])


@given(prices, some.integers(1, 20))
def test_merged_candles_preserve_volume_high_low_open_and_close(
    values: list[float], limit: int
) -> None:
    candles = make_candles(values)
    drawn = group_candles(candles, group_by_timeframe(candles, limit))
    assert len(drawn) <= limit
    assert drawn.volume.sum() == pytest.approx(candles.volume.sum())
    assert (drawn.high.max(), drawn.low.min()) == (candles.high.max(), candles.low.min())
    assert (drawn.open[0], drawn.close[-1]) == (candles.open[0], candles.close[-1])


def test_a_missing_candle_does_not_remove_the_others_of_its_merged_candle() -> None:
    whole = make_candles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    absent = np.isin(np.arange(9), [0, 5, 6, 7, 8])
    prices = [np.where(absent, np.nan, one) for one in (whole.open, whole.high, whole.low)]
    close = np.where(absent, np.nan, whole.close)
    candles = Candles(whole.timestamp, prices[0], prices[1], prices[2], close, whole.volume)
    drawn = group_candles(candles, group_by_timeframe(candles, limit=3))
    assert drawn.open[:2].tolist() == [2.0, 4.0]
    assert drawn.close[:2].tolist() == [3.0, 5.0]
    assert np.isnan([drawn.open[2], drawn.close[2]]).all()


@given(prices, some.integers(1, 20))
def test_every_candle_is_merged_into_the_one_that_contains_its_time(
    values: list[float], limit: int
) -> None:
    candles = make_candles(values)
    groups = group_by_timeframe(candles, limit)
    bars = groups.find_bars(candles.timestamp)
    sizes = np.diff(np.append(groups.starts, len(candles)))
    assert np.bincount(bars, minlength=len(sizes)).tolist() == sizes.tolist()


def test_merging_uses_the_shortest_common_timeframe_that_fits() -> None:
    groups = group_by_timeframe(make_candles([1.0] * 100), limit=40)
    assert (groups.name, len(groups.starts)) == ("3m", 34)


def test_merging_preserves_the_worst_drawdown(report: Callable[..., ReportData]) -> None:
    data = report(60_000, step_seconds=60, timeframe="1m")
    drawn = make_payload(data)["drawdown"]
    deepest = (data.equity / np.maximum.accumulate(data.equity) - 1.0).min() * 100.0
    assert min(drawn) == pytest.approx(deepest, abs=1e-3)


@pytest.mark.parametrize(
    ("price", "decimals"),
    [(61_240.0, 0), (61_240.12, 2), (0.000_008_12, 8), (1.5, 4), (0.0, 0)],
)
def test_prices_get_the_decimals_they_are_quoted_in(price: float, decimals: int) -> None:
    column = np.array([price])
    candles = Candles(np.zeros(1, dtype=np.int64), column, column, column, column, column)
    assert choose_market_price_decimals(NO_TRADING_RULES, candles) == decimals


def test_prices_without_a_step_get_eight_digits() -> None:
    column = np.array([123.456_789_012_3])
    candles = Candles(np.zeros(1, dtype=np.int64), column, column, column, column, column)
    assert choose_market_price_decimals(NO_TRADING_RULES, candles) == 5


def test_an_empty_column_has_two_decimals() -> None:
    assert choose_column_decimals(np.array([np.nan, 0.0]), 6) == 2


def test_values_that_are_not_numbers_become_null() -> None:
    column = np.array([1.25, np.nan, np.inf])
    assert round_column(column, 1) == [1.2, None, None]


def test_the_json_in_the_page_holds_no_character_that_could_end_it(
    report: Callable[..., ReportData],
) -> None:
    data = report(50, symbol="</script><script>alert(1)</script>&\u2028/USDT")
    text = encode_payload(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["symbol"] == data.title.symbol


def test_overlays_are_drawn_in_the_order_of_the_indicators(
    report: Callable[..., ReportData],
) -> None:
    data = replace(report(10), overlays=frozenset({"MACD", "SMA", "RSI"}))
    assert [line["name"] for line in make_payload(data)["overlays"]] == ["SMA", "RSI", "MACD"]


def test_an_indicator_is_a_histogram_by_the_end_of_its_name(
    report: Callable[..., ReportData],
) -> None:
    lines = make_payload(report(10))["panes"][1]
    assert [line["histogram"] for line in lines] == [False, False, True]


def test_reasons_are_stored_once(report: Callable[..., ReportData]) -> None:
    trades = make_payload(report(2_000))["trades"]
    assert trades["reasons"] == ["RSI over 70", "RSI under 30"]


def test_a_fill_inside_a_candle_belongs_to_that_candle(report: Callable[..., ReportData]) -> None:
    data = report(500)
    trade = replace(data.trades[0], exit_timestamp=data.trades[0].exit_timestamp + 1_800)
    moved = make_payload(replace(data, trades=(trade,)))["trades"]["exit_bar"]
    assert moved == make_payload(data)["trades"]["exit_bar"][:1]


def test_a_level_that_moves_inside_a_merged_candle_keeps_its_last_price(
    report: Callable[..., ReportData],
) -> None:
    data = report(60_000, step_seconds=60, timeframe="1m")
    first = int(data.candles.timestamp[300])
    steps = tuple((first + 60 * minute, 100.0 + minute) for minute in range(7))
    trade = replace(data.trades[0], stop=steps)
    drawn = make_payload(replace(data, trades=(trade,)))["trades"]["stop"][0]
    # Three minutes are drawn as one.
    assert drawn == [[100, 102.0], [101, 105.0], [102, 106.0]]


def test_bars_and_levels_of_a_trade_are_those_of_its_market(
    shared_report: Callable[..., ReportData],
) -> None:
    data = shared_report(1_000, later=100)
    moment = data.trades[1].entry_timestamp
    trades = (data.trades[0], replace(data.trades[1], stop=((moment, 1_900.0),)))
    shown = make_payload(replace(data, trades=trades))["trades"]
    assert shown["market"] == [0, 1]
    assert shown["entry_bar"] == [300, 500]
    assert shown["stop"] == [[], [[500, 1_900.0]]]


def test_the_account_is_written_once_for_markets_with_the_same_candles(
    shared_report: Callable[..., ReportData],
) -> None:
    account = {"times", "equity", "buy_and_hold", "drawdown"}
    (alike,) = make_payload(shared_report())["others"]
    (later,) = make_payload(shared_report(later=100))["others"]
    assert (account & alike.keys(), account & later.keys()) == (set(), account)
    assert len(later["equity"]) == len(later["close"]) == 1_900


def test_one_market_alone_is_written_without_the_format_for_several(
    report: Callable[..., ReportData],
) -> None:
    assert "others" not in make_payload(report())


def test_many_markets_are_drawn_with_fewer_candles_each(
    shared_report: Callable[..., ReportData],
) -> None:
    shown = make_payload(shared_report(30_000))
    drawn = {len(shown["close"]), len(shown["others"][0]["close"])}
    # 25,000 of each; two hours are the next usual length.
    assert drawn == {15_000}
    assert compute_drawn_limit(100) == 366 * 24
