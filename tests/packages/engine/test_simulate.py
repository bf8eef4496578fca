"""Signals become fills on the next open, and the account adds up on every bar."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine import AccountConfig, SimulationResult, simulate

FREE = AccountConfig(cash=1_000.0, fee_rate=0.0)
STEPS = TradingRules(Decimal("0.01"), Decimal("0.001"), Decimal("0.002"), Decimal(5))


def make_candles(opens: list[float]) -> Candles:
    """Return candles whose close is the next one's open."""
    open_ = np.array(opens, dtype=np.float64)
    close = np.append(open_[1:], open_[-1:])
    timestamp = np.arange(len(opens), dtype=np.int64) * 3_600
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return Candles.from_columns(timestamp, open_, high, low, close, np.ones_like(open_))


def run_of(
    opens: list[float], signal: list[int], rules: AccountConfig = FREE, start: int = 0
) -> SimulationResult:
    return simulate(make_candles(opens), np.array(signal, dtype=np.int8), rules, start)


def list_trade_bars(result: SimulationResult) -> list[tuple[int, int | None]]:
    return [(trade.entry_index, trade.exit_index) for trade in result.trades]


@st.composite
def draw_runs(draw: st.DrawFn) -> tuple[Candles, list[int], AccountConfig]:
    """Return a random walk, signals and rules."""
    seed = draw(st.integers(0, 2**32))
    count = draw(st.integers(1, 120))
    rng = np.random.default_rng(seed)
    opens = np.round(
        draw(st.sampled_from([0.5, 100.0, 30_000.0]))
        * np.exp(np.cumsum(rng.normal(0, 0.02, count))),
        2,
    )
    signal = rng.integers(-1, 2, count).tolist()
    rules = AccountConfig(
        cash=draw(st.sampled_from([20.0, 1_000.0, 1e6])),
        fee_rate=draw(st.sampled_from([0.0, 0.001])),
        fee_currency=draw(st.sampled_from(["quote", "base"])),
        slippage_bps=draw(st.sampled_from([0.0, 5.0])),
        trading_rules=draw(st.sampled_from([NO_TRADING_RULES, STEPS])),
    )
    return make_candles(opens.tolist()), signal, rules


def test_a_signal_is_filled_at_the_open_of_the_next_bar():
    (trade,) = run_of([10, 20, 30, 40], [1, 0, -1, 0]).trades
    assert (trade.entry_index, trade.entry_price) == (1, 20)
    assert (trade.exit_index, trade.exit_price) == (3, 40)
    assert (trade.profit, trade.profit_ratio, trade.bars_held) == (1_000, 1.0, 2)


def test_a_buy_while_long_and_a_sell_while_flat_fill_nothing():
    assert list_trade_bars(run_of([1] * 8, [-1, 1, 1, 0, 1, -1, -1, 0])) == [(2, 6)]


def test_a_signal_on_the_last_bar_fills_nothing():
    assert list_trade_bars(run_of([1, 1, 1], [0, 0, 1])) == []


def test_a_position_open_at_the_end_is_marked_and_valued_at_the_last_close():
    (trade,) = run_of([10, 20, 30], [1, 0, 0]).trades
    assert (trade.open_at_end, trade.exit_timestamp, trade.bars_held) == (True, None, 2)
    assert trade.profit == pytest.approx(500)


def test_signals_of_the_warm_up_are_not_traded():
    result = run_of([1] * 6, [1, 1, 0, 1, 0, 0], start=2)
    assert [trade.entry_timestamp for trade in result.trades] == [4 * 3_600]
    assert (len(result.equity), result.start_index) == (4, 2)


@pytest.mark.parametrize("count", [0, 1])
def test_a_range_of_no_or_one_candle_trades_nothing(count: int):
    result = run_of([1.0] * count, [1] * count)
    assert (result.trades, result.final_equity, result.exposure) == ((), 1_000.0, 0.0)


def test_signals_that_do_not_fit_the_candles_are_refused():
    with pytest.raises(ValueError, match="2 signals and start_index 0 do not fit 3 candles"):
        run_of([1, 1, 1], [1, 1])


def test_a_refused_buy_is_tried_again_on_the_next_bar_with_a_buy():
    steps = TradingRules(None, Decimal(1), Decimal(0), Decimal(0))
    result = run_of([9, 2_000, 2_000, 900, 9], [1, 1, 1, 0, 0], replace(FREE, trading_rules=steps))
    assert list_trade_bars(result) == [(3, None)]
    assert [index for index, _ in result.refused] == [1, 2]


def test_dust_left_by_a_sell_is_not_a_position_and_is_kept_in_the_equity():
    rules = AccountConfig(cash=100.0, fee_currency="base", trading_rules=STEPS)
    result = run_of([7, 7, 7, 7, 7], [1, -1, 1, 0, 0], rules)
    assert list_trade_bars(result) == [(1, 2), (3, None)]
    bought, sold = result.buys[0], result.sells[0]
    assert bought.base_change - sold.amount == pytest.approx(14.285 * 0.999 - 14.27)
    fees = (bought.amount + sold.amount) * 7 * 0.001
    assert result.equity[2] == pytest.approx(100 - fees)


def test_exposure_is_the_part_of_bars_that_close_in_a_position():
    assert run_of([1] * 8, [1, 0, -1, 0, 0, 1, 0, 0]).exposure == 4 / 8


def test_an_amount_may_be_a_whole_number():
    signal = [1, 0, -1, 0]
    spent = AccountConfig(cash=1_000, fee_rate=0, sizing="quote_amount", quote_amount=3)
    bought = AccountConfig(cash=1_000, fee_rate=0, sizing="base_amount", base_amount=3)
    assert [
        run_of([10, 20, 30, 40], signal, rules).trades[0].amount for rules in (spent, bought)
    ] == [3 / 20, 3]


@given(draw_runs())
def test_cash_plus_position_value_equals_equity_on_every_bar(
    of: tuple[Candles, list[int], AccountConfig],
):
    candles, signal, rules = of
    result = simulate(candles, np.array(signal, dtype=np.int8), rules)
    fills = dict(zip(result.indices, result.fills, strict=True))
    cash, base = rules.cash, 0.0
    for index, close in enumerate(candles.close.tolist()):
        if index in fills:
            cash += fills[index].cash_change
            base += fills[index].base_change
        assert result.equity[index] == pytest.approx(cash + base * close, rel=1e-12)
    assert (result.cash, result.base) == (cash, base)


@given(draw_runs())
def test_trades_equal_those_of_a_bar_by_bar_account(of: tuple[Candles, list[int], AccountConfig]):
    candles, signal, rules = of
    result = simulate(candles, np.array(signal, dtype=np.int8), rules)
    refused = {index for index, _ in result.refused}
    held, bought, sold = False, list[int](), list[int]()
    for index in range(1, len(candles)):
        wanted = signal[index - 1]
        if wanted == (-1 if held else 1) and index not in refused:
            (sold if held else bought).append(index)
            held = not held
    assert list(result.indices[0::2]) == bought
    assert list(result.indices[1::2]) == sold


@given(draw_runs())
def test_before_slippage_no_fill_lies_outside_its_candle(
    of: tuple[Candles, list[int], AccountConfig],
):
    candles, signal, rules = of
    result = simulate(candles, np.array(signal, dtype=np.int8), replace(rules, slippage_bps=0.0))
    for index, fill in zip(result.indices, result.fills, strict=True):
        noise = fill.price * 1e-12
        assert candles.low[index] - noise <= fill.price <= candles.high[index] + noise


@given(draw_runs())
def test_doubled_prices_and_cash_double_the_equity_and_leave_the_amounts(
    of: tuple[Candles, list[int], AccountConfig],
):
    candles, signal, rules = of
    trading_rules = rules.trading_rules
    doubled_steps = replace(
        trading_rules,
        price_step=trading_rules.price_step and trading_rules.price_step * 2,
        min_notional=trading_rules.min_notional * 2,
    )
    doubled = replace(
        candles,
        open=candles.open * 2,
        high=candles.high * 2,
        low=candles.low * 2,
        close=candles.close * 2,
    )
    signals = np.array(signal, dtype=np.int8)
    one = simulate(candles, signals, rules)
    two = simulate(
        doubled, signals, replace(rules, cash=rules.cash * 2, trading_rules=doubled_steps)
    )
    assert two.equity.tolist() == (one.equity * 2).tolist()
    assert [trade.amount for trade in two.trades] == [trade.amount for trade in one.trades]


@given(draw_runs())
def test_money_is_never_created(of: tuple[Candles, list[int], AccountConfig]):
    candles, signal, rules = of
    flat = replace(candles, open=np.full(len(candles), 7.0), close=np.full(len(candles), 7.0))
    result = simulate(flat, np.array(signal, dtype=np.int8), rules)
    assert (np.diff(result.equity, prepend=rules.cash) <= rules.cash * 1e-12).all()
    assert result.cash >= 0
    assert result.base >= 0
