"""The recorded long-only runs and the published small cases are reproduced."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import (
    AccountConfig,
    SimulationResult,
    compute_metrics,
    simulate,
    simulate_buy,
    simulate_sell,
)
from onetape.engine.drawdown import compute_drawdown_curve, find_max_drawdown
from onetape.engine.fills import ModelFill
from onetape.engine.ratios import compute_cagr, compute_expectancy_ratio
from onetape.strategies import Strategy, evaluate_strategy, load_strategy

RUNS = ["btc_1d_sma_20_50", "eth_1d_rsi14_30_70", "btc_1h_sma_50_200", "eth_1h_macd"]
DAY_SECONDS = 86_400


def read_reference(shared: Path, name: str) -> Any:
    return json.loads((shared / "data" / "reference" / name).read_text())


def make_strategy(run: Mapping[str, Any]) -> Strategy:
    given = run["params"]
    if run["strategy"] == "rsi":
        levels = {"buy": given["buy_above"], "sell": given["sell_below"]}
        return load_strategy("rsi", {"period": given["period"], **levels, "entry": "cross_up"})
    return load_strategy({"sma": "sma_cross", "macd": "macd"}[run["strategy"]], given)


@pytest.fixture(scope="module", params=RUNS)
def run(
    shared: Path, recorded: Callable[[str], Candles], request: pytest.FixtureRequest
) -> tuple[Mapping[str, Any], SimulationResult]:
    runs = read_reference(shared, "backtests_long_only.json")["runs"]
    expected = next(run for run in runs if run["name"] == request.param)
    candles = recorded(Path(expected["candles"]).name.removesuffix(".csv.gz"))
    rules = AccountConfig(cash=expected["start_cash"], fee_rate=expected["fee_per_side"])
    signals = evaluate_strategy(make_strategy(expected), candles)
    return expected, simulate(candles, signals.signal, rules)


#: What data/README.md states of each run: closed trades, final equity and largest drawdown in %.
STATED = {
    "btc_1d_sma_20_50": (33, 153_632.50, -74.88),
    "eth_1d_rsi14_30_70": (6, 10_717.82, -59.08),
    "btc_1h_sma_50_200": (186, 95_816.22, -64.20),
    "eth_1h_macd": (1_702, 4_152.96, -87.04),
}
#: What the file states of each run, all of it looked at by the tests below.
CLAIMS = {
    *("name", "strategy", "params", "candles", "rows", "fee_per_side", "start_cash"),
    *("closed_trades", "wins", "open_at_end", "final_equity", "return_pct", "max_drawdown_pct"),
    *("buy_hold_pct", "trades"),
}


def test_every_entry_in_the_file_of_recorded_runs_is_tested(shared: Path):
    runs = read_reference(shared, "backtests_long_only.json")["runs"]
    assert [run["name"] for run in runs] == RUNS
    # Whether another program made the same trades is not a number that could come out of ours.
    assert {key for run in runs for key in run} - CLAIMS == {"same_trades_in_backtesting_py"}


def test_the_stated_numbers_of_the_recorded_run_are_reproduced(
    run: tuple[Mapping[str, Any], SimulationResult],
):
    expected, result = run
    metrics = compute_metrics(result)
    drawdown = round(metrics.max_drawdown * 100, 2)
    assert STATED[expected["name"]] == (metrics.trades, round(metrics.final_equity, 2), drawdown)
    assert result.start_cash == 10_000.0
    assert result.rules.fee_rate == 0.001
    assert result.rules.trading_rules == NO_TRADING_RULES


def test_every_trade_of_the_recorded_run_is_reproduced(
    run: tuple[Mapping[str, Any], SimulationResult],
):
    expected, result = run
    assert len(result.candles) == expected["rows"]
    closed = [trade for trade in result.trades if not trade.open_at_end]
    ours = [
        [trade.entry_timestamp, trade.entry_price, trade.exit_timestamp, trade.exit_price]
        for trade in closed
    ]
    assert ours == [trade[:4] for trade in expected["trades"]]
    ratios = [trade.profit_ratio for trade in closed]
    assert ratios == pytest.approx([trade[4] for trade in expected["trades"]], abs=2e-12)


def test_the_final_equity_of_the_recorded_run_is_reproduced(
    run: tuple[Mapping[str, Any], SimulationResult],
):
    expected, result = run
    assert result.final_equity == pytest.approx(expected["final_equity"], rel=1e-12)
    assert round(result.final_equity, 2) == round(expected["final_equity"], 2)


def test_the_metrics_of_the_recorded_run_are_reproduced(
    run: tuple[Mapping[str, Any], SimulationResult],
):
    expected, result = run
    metrics = compute_metrics(result)
    assert (metrics.trades, metrics.wins) == (expected["closed_trades"], expected["wins"])
    assert metrics.open_at_end == (expected["open_at_end"] is not None)
    assert metrics.total_return * 100 == pytest.approx(expected["return_pct"])
    assert metrics.max_drawdown * 100 == pytest.approx(expected["max_drawdown_pct"])
    assert metrics.market_change is not None
    assert metrics.market_change * 100 == pytest.approx(expected["buy_hold_pct"])


def test_the_open_position_of_the_recorded_run_is_reproduced(
    run: tuple[Mapping[str, Any], SimulationResult],
):
    expected, result = run
    left = [
        {"entry_time": trade.entry_timestamp, "entry_price": trade.entry_price}
        for trade in result.trades
        if trade.open_at_end
    ]
    assert left == ([expected["open_at_end"]] if expected["open_at_end"] else [])


def test_every_entry_in_the_file_of_small_cases_is_tested(shared: Path):
    cases = read_reference(shared, "pnl_and_metrics_small.json")
    assert set(cases) == {"source", "trade_pnl", "cagr", "max_drawdown", "expectancy"}
    claims = {key for row in cases["trade_pnl"]["rows"] for key in row}
    assert claims == {"fee", "close", "cost", "proceeds", "profit", "ratio"}
    assert (len(cases["trade_pnl"]["rows"]), len(cases["cagr"]["rows"])) == (8, 6)


def test_published_trade_profits_are_reproduced(shared: Path):
    for row in read_reference(shared, "pnl_and_metrics_small.json")["trade_pnl"]["rows"]:
        paid = 60.0 * (1 + row["fee"])
        rules = AccountConfig(cash=paid, fee_rate=row["fee"])
        buy = simulate_buy(rules, paid, 2.0)
        assert isinstance(buy, ModelFill)
        assert buy.amount == pytest.approx(30.0)
        sell = simulate_sell(rules, 30.0, row.get("close", 2.0))
        assert isinstance(sell, ModelFill)
        back = sell.cash_change
        ours = {"cost": -buy.cash_change, "proceeds": back, "profit": back - paid}
        ours["ratio"] = back / paid - 1.0
        for name in ours.keys() & row.keys():
            assert ours[name] == pytest.approx(row[name], abs=1e-8), (name, row)


def test_published_growth_rates_are_reproduced(shared: Path):
    for start, end, days, expected in read_reference(shared, "pnl_and_metrics_small.json")["cagr"][
        "rows"
    ]:
        assert compute_cagr(start, end, days * DAY_SECONDS) == pytest.approx(expected, abs=5e-5)


def test_the_published_largest_relative_drawdown_is_not_the_largest_by_amount(shared: Path):
    case = read_reference(shared, "pnl_and_metrics_small.json")["max_drawdown"]
    equity = case["starting_balance"] + np.cumsum(case["profits"])
    fall = find_max_drawdown(equity, case["starting_balance"])
    assert -fall.ratio == pytest.approx(case["max_relative"])
    assert -fall.amount == pytest.approx(case["max_relative_abs"])
    highs = np.maximum.accumulate(equity)
    largest = int(np.argmax(highs - equity))
    assert highs[largest] - equity[largest] == case["max_abs"] > -fall.amount
    by_part = -compute_drawdown_curve(equity, case["starting_balance"])[largest]
    assert by_part == pytest.approx(case["max_abs_relative"], abs=1e-6)


def test_published_expectancy_is_reproduced(shared: Path):
    case = read_reference(shared, "pnl_and_metrics_small.json")["expectancy"]
    profits = np.array(case["profits"], dtype=np.float64)
    assert float(profits.mean()) == case["expectancy"]
    assert compute_expectancy_ratio(profits) == pytest.approx(case["expectancy_ratio"])
