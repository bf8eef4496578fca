"""Every fill under any rules equals a recomputation in Decimals that shares no code."""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from cent_walk import CentCandles, make_cent_walk, make_exact, round_every_second_month
from exact_account import ExactAccount, ExactFill, run_exact
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import (
    AccountConfig,
    ExitConfig,
    SimulationResult,
    SymbolSeries,
    make_booked_fill,
    make_rules_at,
    simulate,
    simulate_portfolio,
)
from onetape.engine.buy_and_hold import compute_buy_and_hold
from plain_engine import draw_rules, make_signals
from repeatable import count_examples

seeds = st.integers(0, 2**32 - 1)


def make_signal_array(signal: Sequence[int]) -> NDArray[np.int8]:
    return np.array(signal, dtype=np.int8)


def assert_equal_fills(result: SimulationResult, fills: Sequence[ExactFill]) -> None:
    """Compare fill by fill: to the last digit where the market has steps."""
    assert [(bar, fill.side) for bar, fill in zip(result.indices, result.fills, strict=True)] == [
        (fill.bar, fill.side) for fill in fills
    ]
    kinds = iter(result.exit_kinds)
    times = result.candles.timestamp.tolist()
    has_steps = result.rules.trading_rules.price_step is not None
    for ours, exact in zip(result.fills, fills, strict=True):
        if exact.side == "sell":
            assert next(kinds) in exact.kinds, exact
        if has_steps:
            booked = make_booked_fill(ours, make_rules_at(result.rules, times[exact.bar]))
            found = (booked.price, booked.amount, booked.fee)
            assert found == (exact.price, exact.amount, exact.fee), exact
        else:
            found = (ours.price, ours.amount, ours.fee)
            wanted = [float(one) for one in (exact.price, exact.amount, exact.fee)]
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9), exact


def assert_equal_runs(result: SimulationResult, exact: ExactAccount) -> None:
    (symbol,) = exact.symbols
    assert_equal_fills(result, symbol.fills)
    assert [bar for bar, _ in result.refused] == symbol.refused
    assert result.fill_log.ambiguous == symbol.ambiguous
    near = pytest.approx
    assert result.cash == near(float(exact.cash), rel=1e-9, abs=1e-4)
    assert result.base == near(float(symbol.base), rel=1e-9, abs=1e-9)
    total = exact.cash + symbol.base * symbol.prices.close[-1]
    assert result.final_equity == near(float(total), rel=1e-9, abs=1e-4)


STEPS = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal(5))
BOTH = ExitConfig(stop_loss=0.02, take_profit=0.03)
#: A configuration of each kind of rule; each trades a thousand times or more.
KINDS: dict[str, dict[str, Any]] = {
    # No fee at all would leave cash that is a whole number of steps, which floats can miss.
    "all in, fee in base": {"fee_currency": "base"},
    "all in, stop and target": {"exits": BOTH},
    "a fixed amount of quote": {"sizing": "quote_amount", "quote_amount": 120.0},
    "a fixed amount of coins": {
        "sizing": "base_amount",
        "base_amount": 1.25,
        "fee_currency": "base",
    },
    "a share, trailing": {
        "sizing": "equity_share",
        "equity_share": 0.02,
        "exits": ExitConfig(trailing_stop=0.015),
    },
    "a risk, stop and falling target": {
        "sizing": "risk_per_trade",
        "risk_per_trade": 0.0002,
        "exits": ExitConfig(stop_loss=0.02, target_table={1: 0.03, 4: 0.01, 8: -0.005}),
    },
    "a risk, fee in base": {
        "sizing": "risk_per_trade",
        "risk_per_trade": 0.0002,
        "fee_currency": "base",
        "exits": ExitConfig(trailing_stop=0.03),
    },
    "a volatility": {
        "sizing": "volatility_target",
        "volatility_target": 0.02,
        "volatility_bars": 7,
    },
    "a time stop and a cooldown": {
        "sizing": "equity_share",
        "equity_share": 0.02,
        "cooldown_bars": 2,
        "exits": ExitConfig(time_stop_bars=3, take_profit=0.01),
    },
    "hours and weekdays": {
        "sizing": "equity_share",
        "equity_share": 0.02,
        "trading_hours": "20:30-04:00,09:00-16:30",
        "trading_days": "mon-thu,sat",
        "trading_timezone": "America/New_York",
        "exits": ExitConfig(time_stop_bars=3, take_profit=0.01),
    },
    "entry guards": {
        "sizing": "equity_share",
        "equity_share": 0.02,
        "stoploss_guard": "trade_limit=3,lookback_period_candles=20,stop_duration_candles=5",
        "drawdown_pause": "trade_limit=2,lookback_period_candles=30,stop_duration_candles=4,"
        "max_allowed_drawdown=0.07",
        "low_profit_pairs": "trade_limit=2,lookback_period_candles=9,stop_duration_candles=3,"
        "required_profit=-0.02",
        "exits": BOTH,
    },
    "a share of the volume": {
        "sizing": "equity_share",
        "equity_share": 0.01,
        "volume_impact": 0.1,
        "exits": BOTH,
    },
    "at most a share of the volume": {"max_volume_share": 0.004, "exits": BOTH},
    "at most a share of the volume, which moves the price": {
        "max_volume_share": 0.03,
        "volume_impact": 0.1,
        "fee_currency": "base",
        "exits": BOTH,
    },
}
BARS = 12_000


@pytest.mark.parametrize("what", KINDS)
def test_a_thousand_random_trades_of_each_rule_equal_a_decimal_recomputation(
    what: str, random_seed: int
):
    given_rules: dict[str, Any] = {
        "cash": 50_000.0,
        "fee_rate": 0.00075,
        "maker_fee_rate": 0.0002,
        "slippage_bps": 2.0,
        "spread_bps": 3.0,
        "trading_rules": STEPS,
    } | KINDS[what]
    rules = AccountConfig(**given_rules)
    trades = 0
    for more in itertools.count():
        # Where all is put in, the money of one walk may not last for so many.
        prices = make_cent_walk(random_seed + more, BARS)
        signal = np.random.default_rng(random_seed + more).integers(-1, 2, BARS).tolist()
        result = simulate(prices.candles, make_signal_array(signal), rules)
        assert_equal_runs(result, run_exact([(prices, signal, rules.trading_rules)], rules))
        trades += len(result.exit_kinds)
        if trades >= 1_000:
            break


#: Where the offset is the entry price itself, the stop before it and after it is one.
AT_THE_ENTRY = AccountConfig(
    cash=7.0,
    fee_rate=0.0,
    exits=ExitConfig(trailing_stop=0.05, trailing_offset=0.0, trailing_stop_before_offset=0.004),
)


@settings(max_examples=count_examples(300))
@given(seeds, st.integers(2, 250), draw_rules())
@example(seed=0, count=3, rules=AT_THE_ENTRY)
def test_any_rules_equal_a_decimal_recomputation(seed: int, count: int, rules: AccountConfig):
    prices, signal = make_cent_walk(seed, count), make_signals(seed, count)
    result = simulate(prices.candles, make_signal_array(signal), rules)
    assert_equal_runs(result, run_exact([(prices, signal, rules.trading_rules)], rules))


@settings(max_examples=count_examples(40))
@given(seeds, draw_rules(), st.sampled_from(["0.1", "0.05", "1", "50"]))
def test_a_price_step_coarser_than_the_candles_of_a_month_is_replaced_in_that_month(
    seed: int, rules: AccountConfig, step: str
):
    prices, signal = (
        round_every_second_month(make_cent_walk(seed, 2_000)),
        make_signals(seed, 2_000),
    )
    rules = replace(rules, trading_rules=replace(STEPS, price_step=Decimal(step)))
    result = simulate(prices.candles, make_signal_array(signal), rules)
    assert_equal_runs(result, run_exact([(prices, signal, rules.trading_rules)], rules))


@settings(max_examples=count_examples(200))
@given(seeds, st.integers(2, 60), draw_rules())
def test_buying_and_holding_equals_a_decimal_recomputation(
    seed: int, count: int, rules: AccountConfig
):
    prices = make_cent_walk(seed, count)
    hold = compute_buy_and_hold(prices.candles, rules)
    costs = {
        name: getattr(rules, name)
        for name in (
            "cash",
            "fee_rate",
            "fee_currency",
            "slippage_bps",
            "spread_bps",
            "volume_impact",
        )
    }
    exact = run_exact(
        [(prices, [1] + [0] * (count - 1), rules.trading_rules)], AccountConfig(**costs)
    )
    (symbol,) = exact.symbols
    if hold is None:
        assert len(symbol.refused) == 1 or symbol.buy_waits
        return
    (bought,) = symbol.fills
    equities = [make_exact(rules.cash)] * (bought.bar - 1)
    equities += [exact.cash + bought.base_change * close for close in prices.close[bought.bar :]]
    path = [make_exact(rules.cash), *equities]
    falls = [one / max(path[: bar + 1]) - 1 for bar, one in enumerate(path)]
    assert hold.final_equity == pytest.approx(float(equities[-1]))
    assert hold.total_return == pytest.approx(
        float(equities[-1] / make_exact(rules.cash) - 1), abs=1e-9
    )
    assert hold.max_drawdown == pytest.approx(float(min(falls)), abs=1e-9)


def make_three_markets(seed: int, count: int) -> list[tuple[CentCandles, list[int]]]:
    """Return three markets of one time grid; the last one ends early."""
    lengths = (count, count, max(2, count // 2))
    return [
        (make_cent_walk(seed + number, length), make_signals(seed + number, length))
        for number, length in enumerate(lengths)
    ]


#: The first entry of seed 148 leaves a millionth of a million, which is money and no rounding.
A_MILLIONTH_LEFT = AccountConfig(
    cash=1e6,
    exits=ExitConfig(stop_loss=0.02, time_stop_bars=1),
    trading_rules=STEPS,
)
#: A target after it, whose fee is another one.
A_MILLIONTH_LEFT_BY_A_TARGET = AccountConfig(
    cash=1e6,
    maker_fee_rate=0.0,
    exits=ExitConfig(take_profit=0.004, time_stop_bars=7),
    cooldown_bars=1,
    trading_rules=STEPS,
)


@settings(max_examples=count_examples(300))
@given(seeds, st.integers(10, 200), draw_rules(), st.sampled_from([None, 1, 2, 3]))
@example(148, 15, A_MILLIONTH_LEFT, None)
@example(148, 15, A_MILLIONTH_LEFT_BY_A_TARGET, None)
def test_symbols_that_share_an_account_equal_a_decimal_recomputation(
    seed: int, count: int, rules: AccountConfig, slots: int | None
):
    markets = make_three_markets(seed, count)
    steps = [rules.trading_rules, NO_TRADING_RULES, STEPS]
    series = [
        SymbolSeries(f"{number}/Q", prices.candles, make_signal_array(signal), 0, own)
        for number, ((prices, signal), own) in enumerate(zip(markets, steps, strict=True))
    ]
    result = simulate_portfolio(series, rules, slots)
    exact = run_exact(
        [(prices, signal, own) for (prices, signal), own in zip(markets, steps, strict=True)],
        rules,
        slots,
    )
    for part, symbol in zip(result.parts, exact.symbols, strict=True):
        assert_equal_fills(part, symbol.fills)
        assert [bar for bar, _ in part.refused] == symbol.refused
        assert part.fill_log.ambiguous == symbol.ambiguous
    assert result.skipped_entries == exact.skipped
    assert result.cash == pytest.approx(float(exact.cash), rel=1e-9, abs=1e-6)
    total = sum(symbol.base * symbol.prices.close[-1] for symbol in exact.symbols)
    assert result.final_equity == pytest.approx(float(exact.cash + total), rel=1e-9, abs=1e-6)


@settings(max_examples=10)
@given(seeds, draw_rules(), st.sampled_from(["0.1", "0.05", "1"]))
@example(1, AccountConfig(cash=1_000.0), "1")
def test_the_shared_cash_is_exact_in_months_with_a_smaller_price_step(
    seed: int, rules: AccountConfig, step: str
):
    steps = replace(STEPS, price_step=Decimal(step))
    markets = [
        (
            round_every_second_month(make_cent_walk(seed + number, 2_000)),
            make_signals(seed + number, 2_000),
        )
        for number in range(2)
    ]
    series = [
        SymbolSeries(f"{number}/Q", prices.candles, make_signal_array(signal), 0, steps)
        for number, (prices, signal) in enumerate(markets)
    ]
    result = simulate_portfolio(series, rules)
    exact = run_exact([(prices, signal, steps) for prices, signal in markets], rules)
    for part, symbol in zip(result.parts, exact.symbols, strict=True):
        assert_equal_fills(part, symbol.fills)
    assert result.cash == pytest.approx(float(exact.cash), rel=1e-9, abs=1e-6)
