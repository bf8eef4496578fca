"""The vectorized search and account make the fills of a plain loop over bars."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.trading_rules import NO_TRADING_RULES
from onetape.engine import AccountConfig, SimulationResult, simulate
from plain_engine import draw_rules, make_signals, run_plain, walk
from repeatable import count_examples

PLAIN_SIZINGS = ("all_in", "quote_amount", "base_amount")
seeds = st.integers(0, 2**32 - 1)


def run_simulation(seed: int, count: int, rules: AccountConfig) -> SimulationResult:
    return simulate(walk(seed, count), np.array(make_signals(seed, count), np.int8), rules)


def list_fills(result: SimulationResult) -> list[tuple[int, str, float, float, str]]:
    kinds = iter(result.exit_kinds)
    return [
        (bar, fill.side, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(result.indices, result.fills, strict=True)
    ]


@settings(max_examples=count_examples(400))
@given(seeds, st.integers(2, 400), draw_rules())
def test_every_fill_equals_that_of_a_loop_over_the_bars(
    seed: int, count: int, rules: AccountConfig
):
    result = run_simulation(seed, count, rules)
    plain = run_plain(walk(seed, count), make_signals(seed, count), rules)
    assert list_fills(result) == plain.fills
    assert [bar for bar, _ in result.refused] == plain.refused
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.equity.tolist() == plain.equity
    assert result.fill_log.ambiguous == plain.ambiguous


@st.composite
def draw_plain_rules(draw: st.DrawFn) -> AccountConfig:
    """Return rules that the account in columns takes on: no steps, no impact, fee in quote."""
    rules = draw(draw_rules().filter(lambda rules: rules.sizing in PLAIN_SIZINGS))
    return replace(
        rules,
        cash=5_000.0,
        fee_currency="quote",
        volume_impact=0.0,
        max_volume_share=None,
        trading_rules=NO_TRADING_RULES,
    )


@settings(max_examples=count_examples(200))
@given(seeds, st.integers(2, 400), draw_plain_rules())
def test_the_vectorized_account_equals_the_loop_over_the_bars(
    seed: int, count: int, rules: AccountConfig
):
    result = run_simulation(seed, count, rules)
    plain = run_plain(walk(seed, count), make_signals(seed, count), rules)
    assert list_fills(result) == plain.fills
    assert (result.cash, result.base) == (plain.cash, plain.base)
    assert result.equity.tolist() == plain.equity
    assert result.fill_log.ambiguous == plain.ambiguous


def test_plain_rules_use_the_vectorized_account():
    result = run_simulation(1, 300, AccountConfig())
    assert len(result.fills) > 10
    assert result.fill_log.added == 0


@settings(max_examples=25)
@given(seeds, draw_rules(), st.sampled_from([0.0005, 0.004]))
def test_positions_over_many_candles_end_as_in_the_loop(
    seed: int, rules: AccountConfig, move: float
):
    count = 3_000
    candles, signal = walk(seed, count, move=move), make_signals(seed, count)
    result = simulate(candles, np.array(signal, np.int8), rules)
    assert list_fills(result) == run_plain(candles, signal, rules).fills
