"""Properties of any run: money adds up, fills are possible, units and splits change nothing."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.engine import (
    AccountConfig,
    SimulationResult,
    Trade,
    compute_metrics,
    make_booked_fill,
    simulate,
)
from plain_engine import STEPS, double_money, draw_rules, make_signals, walk
from repeatable import count_examples

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(2, 250)
EXACT = Context(prec=60)


def run_of(seed: int, count: int, rules: AccountConfig) -> SimulationResult:
    return simulate(walk(seed, count), np.array(make_signals(seed, count), np.int8), rules)


@settings(max_examples=count_examples(150))
@given(seeds, counts, draw_rules())
def test_cash_plus_position_value_equals_equity_after_any_fills(
    seed: int, count: int, rules: AccountConfig
):
    result = run_of(seed, count, rules)
    fills = list(zip(result.indices, result.fills, strict=True))
    for bar, close in enumerate(result.candles.close.tolist()):
        cash = rules.cash + sum(fill.cash_change for at, fill in fills if at <= bar)
        coins = sum(fill.base_change for at, fill in fills if at <= bar)
        assert result.equity[bar] == pytest.approx(cash + coins * close, rel=1e-9, abs=1e-6)
    assert result.cash >= 0


@settings(max_examples=count_examples(150))
@given(seeds, counts, draw_rules())
def test_before_slippage_no_fill_lies_outside_its_candle(
    seed: int, count: int, rules: AccountConfig
):
    result = run_of(seed, count, rules)
    for bar, fill in zip(result.indices, result.fills, strict=True):
        noise = fill.before_slippage * 1e-12
        low, high = result.candles.low[bar], result.candles.high[bar]
        assert low - noise <= fill.before_slippage <= high + noise
        worse = fill.price - fill.before_slippage
        assert worse * (1 if fill.side == "buy" else -1) >= -1e-6 * fill.price


def double_prices(candles: Candles) -> Candles:
    return replace(
        candles,
        open=candles.open * 2,
        high=candles.high * 2,
        low=candles.low * 2,
        close=candles.close * 2,
    )


@settings(max_examples=count_examples(150))
@given(seeds, counts, draw_rules())
def test_doubled_prices_and_money_double_the_equity_and_leave_the_amounts(
    seed: int, count: int, rules: AccountConfig
):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    one, two = (
        simulate(candles, signal, rules),
        simulate(double_prices(candles), signal, double_money(rules)),
    )
    assert two.indices == one.indices
    # The volatility is a logarithm, which is exact to the last bit but one.
    exact = rules.sizing != "volatility_target"
    amounts, same = [[fill.amount for fill in run.fills] for run in (one, two)]
    assert same == (amounts if exact else pytest.approx(amounts, rel=1e-9))
    equity = (one.equity * 2).tolist()
    assert two.equity.tolist() == (equity if exact else pytest.approx(equity, rel=1e-9))


def join_trades(parts: list[SimulationResult]) -> list[Trade]:
    """Return the trades of ranges that follow each other; an open one goes on in the next."""
    trades: list[Trade] = []
    skipped = 0
    for part in parts:
        if trades and trades[-1].open_at_end:
            trades.pop()
        trades += [
            replace(
                trade,
                entry_index=trade.entry_index + skipped,
                exit_index=None if trade.exit_index is None else trade.exit_index + skipped,
            )
            for trade in part.trades
        ]
        skipped += len(part.candles)
    return trades


VOLATILE = AccountConfig(sizing="volatility_target", volatility_target=0.3, volatility_bars=5)


@settings(max_examples=count_examples(300))
@example(1704, 70, VOLATILE, [69 / 70])  # a part of one candle, which alone has no length
@given(seeds, counts, draw_rules(), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_a_range_split_in_parts_with_the_state_carried_over_gives_the_same_trades(
    seed: int, count: int, rules: AccountConfig, at: list[float]
):
    candles, signal = walk(seed, count), np.array(make_signals(seed, count), np.int8)
    whole = simulate(candles, signal, rules)
    bounds = sorted({0, *(int(part * count) for part in at), count})
    parts: list[SimulationResult] = []
    for start, end in pairwise(bounds):
        state = parts[-1].state if parts else None
        parts.append(simulate(candles[:end], signal[:end], rules, start, state=state))
    assert join_trades(parts) == list(whole.trades)
    assert (parts[-1].cash, parts[-1].base) == (whole.cash, whole.base)
    assert np.concatenate([part.equity for part in parts]) == pytest.approx(whole.equity)
    assert parts[-1].state == whole.state


@settings(max_examples=count_examples(100))
@given(seeds, counts, draw_rules())
def test_the_metrics_of_any_run_are_consistent(seed: int, count: int, rules: AccountConfig):
    result = run_of(seed, count, rules)
    metrics = compute_metrics(result)
    closed = [trade for trade in result.trades if not trade.open_at_end]
    assert metrics.trades == len(closed)
    assert metrics.fees == pytest.approx(sum(fill.fee_quote for fill in result.fills))
    assert metrics.slippage == pytest.approx(sum(fill.slippage_quote for fill in result.fills))
    assert metrics.longest_drawdown_seconds >= metrics.max_drawdown_seconds
    assert 0 <= metrics.exposure <= 1
    ratios = [trade.profit_ratio for trade in closed]
    assert metrics.average_trade == (pytest.approx(np.mean(ratios)) if ratios else None)


def test_ten_thousand_random_trades_equal_a_decimal_recomputation(random_seed: int):
    rng = np.random.default_rng(random_seed)
    count = 20_400
    prices = 50_000 + np.cumsum(rng.integers(-900, 901, count)) % 4_000_000
    cents = prices.astype(np.float64) / 100
    candles = Candles.from_columns(
        np.arange(count, dtype=np.int64) * 60, cents, cents, cents, cents, np.ones(count)
    )
    signal = np.where(np.arange(count) % 2 == 0, 1, -1).astype(np.int8)
    fee = Decimal("0.00075")
    rules = AccountConfig(
        cash=50_000.0, fee_rate=float(fee), sizing="quote_amount", quote_amount=100.0,
        slippage_bps=2.0,
        trading_rules=replace(STEPS, min_amount=Decimal(0), min_notional=Decimal(0)),
    )  # fmt: skip
    result = simulate(candles, signal, rules)
    assert len(result.fills) // 2 >= 10_000
    cash, coins = Decimal(50_000), Decimal(0)
    for bar, fill in zip(result.indices, result.fills, strict=True):
        is_buy = fill.side == "buy"
        slipped = Decimal(int(prices[bar])) / 100 * (Decimal("1.0002") if is_buy else
                                                     Decimal("0.9998"))  # fmt: skip
        price = slipped.quantize(Decimal("0.01"), ROUND_CEILING if is_buy else ROUND_FLOOR)
        if is_buy:
            most = EXACT.divide(Decimal(100), price * (1 + fee))
            amount = most.quantize(Decimal("0.001"), ROUND_FLOOR)
        else:
            amount = coins
        paid = price * amount * fee
        cash += -price * amount - paid if is_buy else price * amount - paid
        coins += amount if is_buy else -amount
        booked = make_booked_fill(fill, rules)
        assert (booked.price, booked.amount, booked.fee) == (price, amount, paid)
    assert result.cash == pytest.approx(float(cash), abs=0.005)
    assert result.base == pytest.approx(float(coins), abs=1e-9)
