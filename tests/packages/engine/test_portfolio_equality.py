"""Several symbols on one account equal the plain loop over events, to the last bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from event_loop import simulate_by_events
from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    PortfolioResult,
    SymbolSeries,
    compute_metrics,
    simulate_portfolio,
)
from plain_engine import draw_exit_rules, draw_rules, walk
from repeatable import count_examples
from symbol_series import make_symbol_series

seeds = st.integers(0, 2**32 - 1)


@st.composite
def draw_plain_rules(draw: st.DrawFn) -> AccountConfig:
    """Return rules that are traded in columns, with cash for no, some or all of the entries."""
    sizing, size = draw(
        st.sampled_from([("quote_amount", 90.0), ("quote_amount", 15.5), ("base_amount", 0.7)])
    )
    given: dict[str, Any] = {"sizing": sizing, sizing: size}
    return AccountConfig(
        cash=draw(st.sampled_from([50.0, 95.5, 180.0, 270.3, 1_000.0, 1e6])),
        fee_rate=draw(st.sampled_from([0.0, 0.001, 0.01])),
        maker_fee_rate=draw(st.sampled_from([None, 0.0])),
        slippage_bps=draw(st.sampled_from([0.0, 5.0])),
        exits=draw(draw_exit_rules()),
        cooldown_bars=draw(st.sampled_from([0, 0, 1, 6])),
        reentry=draw(st.sampled_from(["new_signal", "while_signal"])),
        **given,
    )


def list_all_values(result: PortfolioResult) -> list[Any]:
    """Return everything that a run came to, in values that are equal to the last bit or not."""
    found: list[Any] = [result.cash, result.skipped_entries, result.timestamp.tolist()]
    found += [result.equity.tolist(), result.trades, result.rules]
    for part in result.parts:
        fill_log = part.fill_log
        found += [part.equity.tolist(), part.base, part.fills, part.indices, part.exit_kinds]
        found += [part.refused, fill_log.ambiguous, fill_log.decided, fill_log.missing_intrabar]
        found += [fill_log.waited, fill_log.waiting, fill_log.intrabar_exits]
    return found


def require_equal(series: Sequence[SymbolSeries], rules: AccountConfig, slots: int | None) -> None:
    result = simulate_portfolio(series, rules, slots)
    plain = simulate_by_events(series, rules, slots)
    assert list_all_values(result) == list_all_values(plain)
    assert compute_metrics(result) == compute_metrics(plain)


@settings(max_examples=count_examples(250))
@given(
    seed=seeds,
    count=st.integers(9, 150),
    rules=draw_plain_rules(),
    symbols=st.integers(2, 5),
    slots=st.sampled_from([None, None, 1, 2, 3]),
)
@example(
    seed=3,
    count=120,
    rules=AccountConfig(sizing="quote_amount", quote_amount=90.0),
    symbols=5,
    slots=None,
)
def test_rules_of_the_vectorized_account_equal_the_plain_loop(
    *, seed: int, count: int, rules: AccountConfig, symbols: int, slots: int | None
):
    series = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=False, is_mixed=False
    )
    require_equal(series, rules, slots)


@settings(max_examples=count_examples(250))
@given(
    seed=seeds,
    count=st.integers(9, 150),
    rules=draw_rules(),
    symbols=st.integers(2, 5),
    slots=st.sampled_from([None, None, 1, 2, 3]),
    has_detail=st.sampled_from([False, False, True]),
)
def test_any_rules_equal_the_plain_loop(
    *,
    seed: int,
    count: int,
    rules: AccountConfig,
    symbols: int,
    slots: int | None,
    has_detail: bool,
):
    series = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=has_detail, is_mixed=True
    )
    require_equal(series, rules, slots)


def count_vectorized_fills(result: PortfolioResult) -> tuple[int, int]:
    """Return how many fills came in columns, and how many there are."""
    count = sum(len(part.indices) for part in result.parts)
    return count - sum(part.fill_log.added for part in result.parts), count


def test_symbols_that_never_affect_each_other_use_the_vectorized_account():
    rules = AccountConfig(
        cash=1e6,
        sizing="quote_amount",
        quote_amount=90.0,
        exits=ExitConfig(stop_loss=0.02, take_profit=0.05),
    )
    series = make_symbol_series(4, 400, rules, symbols=4, has_detail=False, is_mixed=False)
    in_columns, count = count_vectorized_fills(simulate_portfolio(series, rules))
    assert in_columns == count > 100


@pytest.mark.parametrize(("cash", "slots"), [(200.0, None), (1e6, 2)])
def test_event_by_event_trading_begins_at_the_first_shared_limit(cash: float, slots: int | None):
    rules = AccountConfig(cash=cash, sizing="quote_amount", quote_amount=90.0)
    early = np.zeros(400, dtype=np.int8)
    early[10:200:10], early[15:200:10] = 1, -1
    late = np.zeros(400, dtype=np.int8)
    late[300:390:10], late[305:395:10] = 1, -1
    signals = (early + late, np.roll(early, 6) + late, late)
    series = [
        SymbolSeries(f"{number}/Q", walk(number, 400), signal, 0, NO_TRADING_RULES)
        for number, signal in enumerate(signals)
    ]
    result = simulate_portfolio(series, rules, slots)
    in_columns, count = count_vectorized_fills(result)
    assert 40 < in_columns < count
    assert result.skipped_entries or any(part.refused for part in result.parts)
    require_equal(series, rules, slots)


@pytest.mark.parametrize("cash", [1e-295, 1e-9, 0.1, 1e15])
def test_the_cash_is_exact_for_orders_of_any_size(cash: float):
    rules = AccountConfig(cash=cash, sizing="equity_share", equity_share=0.4)
    series = make_symbol_series(5, 150, rules, symbols=4, has_detail=False, is_mixed=False)
    require_equal(series, rules, None)
    fixed = AccountConfig(cash=cash, sizing="quote_amount", quote_amount=cash * 0.3)
    require_equal(series, fixed, None)
