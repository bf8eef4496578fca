"""The stepper, event by event, makes the fills of the backtest, to the last bit."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onetape.engine import (
    AccountConfig,
    CandleFacts,
    PortfolioResult,
    SimulationResult,
    StepState,
    SymbolSeries,
    restore_state,
    simulate_portfolio,
)
from plain_engine import draw_rules
from repeatable import count_examples
from step_broker import Made, StepBroker
from symbol_series import draw_busy_rules, make_busy_series, make_symbol_series

seeds = st.integers(0, 2**32 - 1)


def list_backtest_fills(part: SimulationResult) -> list[Made]:
    kinds = iter(part.exit_kinds)
    return [
        (fill.side, bar, fill.price, fill.amount, "" if fill.side == "buy" else next(kinds))
        for bar, fill in zip(part.indices, part.fills, strict=True)
    ]


def select_facts_since_entry(rows: list[CandleFacts]) -> list[CandleFacts]:
    """Return the facts from the candle before the last entry on, or the newest one."""
    entries = [number for number, row in enumerate(rows) if row.entry_price is not None]
    return rows[max(0, entries[-1] - 1) :] if entries else rows[-1:]


def require_equal(
    series: list[SymbolSeries], rules: AccountConfig, max_open_trades: int | None
) -> None:
    result: PortfolioResult = simulate_portfolio(series, rules, max_open_trades)
    stepped = StepBroker(series, rules, max_open_trades).run()
    for part, market in zip(result.parts, stepped.markets.values(), strict=True):
        assert market.made == list_backtest_fills(part)
        assert market.refused == [bar for bar, _ in part.refused]
        assert (market.base, market.ambiguous) == (part.base, part.fill_log.ambiguous)
    assert stepped.cash == result.cash


@settings(max_examples=count_examples(150))
@given(seed=seeds, count=st.integers(2, 200), rules=draw_rules())
def test_one_symbol_is_traded_as_in_the_backtest(
    *, seed: int, count: int, rules: AccountConfig
) -> None:
    series = make_symbol_series(seed, count, rules, symbols=1, has_detail=False, is_mixed=False)
    require_equal(series, rules, None)


@settings(max_examples=count_examples(100))
@given(
    seed=seeds,
    count=st.integers(9, 120),
    rules=draw_rules(),
    symbols=st.integers(2, 4),
    slots=st.sampled_from([None, 1, 2, 3]),
)
@example(
    seed=3,
    count=120,
    rules=AccountConfig(sizing="quote_amount", quote_amount=90.0, cash=150.0),
    symbols=4,
    slots=2,
)
def test_several_symbols_are_traded_as_in_the_backtest(
    *, seed: int, count: int, rules: AccountConfig, symbols: int, slots: int | None
) -> None:
    series = make_symbol_series(
        seed, count, rules, symbols=symbols, has_detail=False, is_mixed=True
    )
    require_equal(series, rules, slots)


@settings(max_examples=count_examples(150))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    symbols=st.integers(1, 4),
    slots=st.sampled_from([None, 1, 2]),
)
def test_orders_that_are_often_refused_are_those_of_the_backtest(
    *, seed: int, rules: AccountConfig, symbols: int, slots: int | None
) -> None:
    require_equal(make_busy_series(seed, 80, rules, symbols), rules, slots)


@settings(max_examples=count_examples(200))
@given(
    seed=seeds,
    rules=draw_busy_rules(),
    symbols=st.integers(1, 2),
    cut=st.integers(1, 59),
    is_short=st.booleans(),
)
def test_a_state_rebuilt_from_stored_facts_goes_on_as_if_never_stopped(
    *, seed: int, rules: AccountConfig, symbols: int, cut: int, is_short: bool
) -> None:
    series = make_busy_series(seed, 60, rules, symbols)
    whole = StepBroker(series, rules).run()
    stopped = StepBroker(series, rules).run(until=cut * 3_600)
    facts = {name: market.facts for name, market in stopped.markets.items()}
    if is_short:
        facts = {name: select_facts_since_entry(rows) for name, rows in facts.items()}
    restored = restore_state(stopped.rules, facts)
    assert is_short or restored == stopped.state
    stopped.state = restored
    for moment in stopped.moments[cut:]:
        stopped.trade(moment)
    for name, market in whole.markets.items():
        assert stopped.markets[name].made == market.made
    assert stopped.cash == whole.cash


@settings(max_examples=count_examples(30))
@given(seed=seeds, rules=draw_busy_rules(), cut=st.integers(1, 59))
def test_a_stored_state_is_read_back_as_it_was(
    *, seed: int, rules: AccountConfig, cut: int
) -> None:
    state = StepBroker(make_busy_series(seed, 60, rules, 2), rules).run(until=cut * 3_600).state
    assert msgspec.json.decode(msgspec.json.encode(state), type=StepState) == state
