"""The equity without costs, computed from the fills of a run, is that of a second run."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import AccountConfig, ExitConfig, PortfolioResult, simulate_portfolio
from onetape.engine.cost_free import compute_cost_free_equity, remove_costs
from plain_engine import STEPS, draw_rules
from repeatable import count_examples
from symbol_series import make_symbol_series

seeds = st.integers(0, 2**32 - 1)
COSTS: dict[str, Any] = {"fee_rate": 0.002, "slippage_bps": 5.0, "spread_bps": 3.0}


def run_with_and_without_costs(
    seed: int, count: int, symbols: int, rules: AccountConfig, slots: int | None = None
) -> tuple[PortfolioResult, PortfolioResult]:
    """Return a run, and one without costs."""
    series = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=False, is_mixed=False
    )
    first, second = (simulate_portfolio(series, one, slots) for one in (rules, remove_costs(rules)))
    return first, second


def test_rules_without_costs_have_no_cost_left() -> None:
    rules = AccountConfig(maker_fee_rate=0.0005, volume_impact=0.1, **COSTS)
    free = remove_costs(rules)
    assert (free.fee_rate, free.target_fee_rate, free.slippage, free.volume_impact) == (0, 0, 0, 0)
    assert remove_costs(free) == free


@settings(max_examples=count_examples(300))
@given(
    seeds,
    st.integers(9, 200),
    st.integers(1, 3),
    draw_rules(),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_the_return_without_costs_is_that_of_a_second_run_or_unknown(
    seed: int, count: int, symbols: int, rules: AccountConfig, is_plain: bool, slots: int | None
) -> None:
    if is_plain:
        rules = replace(
            rules,
            cash=1e6,
            fee_currency="quote",
            volume_impact=0.0,
            max_volume_share=None,
            trading_rules=NO_TRADING_RULES,
        )
    run, free = run_with_and_without_costs(seed, count, symbols, rules, slots)
    found = compute_cost_free_equity(run)
    if found is not None:
        assert found == pytest.approx(free.final_equity, rel=1e-9)


@pytest.mark.parametrize(
    ("symbols", "sizing"),
    [
        (1, {}),
        (3, {"sizing": "quote_amount", "quote_amount": 200.0}),
        (3, {"sizing": "base_amount", "base_amount": 1.0}),
    ],
)
@pytest.mark.parametrize("stop", [None, 0.02])
def test_plain_rules_need_no_second_run_for_the_return_without_costs(
    symbols: int, sizing: dict[str, Any], stop: float | None
) -> None:
    exits = ExitConfig(stop_loss=stop, take_profit=None if stop is None else 0.03)
    rules = AccountConfig(exits=exits, cash=1e5, **COSTS, **sizing)
    run, free = run_with_and_without_costs(5, 300, symbols, rules)
    assert len(run.trades) >= 5
    found = compute_cost_free_equity(run)
    assert found == pytest.approx(free.final_equity, rel=1e-9)
    assert found is not None
    assert found > run.final_equity


@pytest.mark.parametrize(
    "given_rules",
    [
        {"trading_rules": STEPS},
        {"volume_impact": 0.1},
        {"max_volume_share": 0.01},
        {"fee_currency": "base"},
        {"sizing": "equity_share", "equity_share": 0.5},
        {"exits": ExitConfig(take_profit=0.02, net_targets=True)},
        {"sizing": "quote_amount", "quote_amount": 1e6},
        {
            "low_profit_pairs": "trade_limit=1,lookback_period_candles=9,"
            "stop_duration_candles=99,required_profit=0"
        },
    ],
)
def test_other_rules_may_give_other_fills_without_costs(given_rules: dict[str, Any]) -> None:
    run, _ = run_with_and_without_costs(5, 300, 1, AccountConfig(**{**COSTS, **given_rules}))
    assert compute_cost_free_equity(run) is None


def test_symbols_that_share_all_cash_need_a_second_run() -> None:
    run, _ = run_with_and_without_costs(5, 300, 2, AccountConfig(**COSTS))
    assert compute_cost_free_equity(run) is None


def test_a_run_without_a_trade_ends_with_its_cash() -> None:
    series = make_symbol_series(5, 50, AccountConfig(), symbols=1, has_detail=False, is_mixed=False)
    idle = [replace(one, signal=np.zeros(len(one.candles), np.int8)) for one in series]
    run = simulate_portfolio(idle, AccountConfig(cash=123.0))
    assert compute_cost_free_equity(run) == 123.0
