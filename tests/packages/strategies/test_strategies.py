"""Built-in strategies: equal signals from window and range, readable reasons, parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.core.candles import Candles, FloatArray
from onetape.core.errors import ConfigurationError, UsageError
from onetape.strategies import Signals, Strategy, evaluate_strategy, load_strategy, parameter
from onetape.strategies.bollinger import Bollinger
from onetape.strategies.buy_and_hold import BuyAndHold
from onetape.strategies.donchian import Donchian
from onetape.strategies.ema_cross import EmaCross
from onetape.strategies.macd import MacdCross
from onetape.strategies.rsi import Rsi
from onetape.strategies.sma_cross import SmaCross
from repeatable import count_examples

STRATEGIES = [
    Rsi(),
    Rsi(period=3, buy=45, sell=55),
    Rsi(entry="cross_up"),
    SmaCross(),
    SmaCross(fast=1, slow=2),
    MacdCross(),
    MacdCross(fast=2, slow=5, signal=20),
    EmaCross(),
    EmaCross(fast=1, slow=2),
    Bollinger(),
    Bollinger(period=5, width=1.0, exit="upper"),
    Donchian(),
    Donchian(entry=3, exit=7),
    BuyAndHold(),
]


def make_candles(close: FloatArray) -> Candles:
    timestamp = np.arange(len(close), dtype=np.int64) * 3_600
    return Candles.from_columns(timestamp, close, close, close, close, np.ones_like(close))


def make_tick_walk(seed: int, count: int) -> FloatArray:
    """Return prices on a coarse grid that often stand still: ties are what breaks equality."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(-3, 4, count) * (rng.random(count) < rng.choice([0.05, 0.5, 1.0]))
    return (1_000 + np.abs(np.cumsum(moves))) * 0.01


def evaluate_last_signal(strategy: Strategy, candles: Candles, end: int) -> int:
    window = candles[max(0, end - strategy.lookback) : end]
    return int(evaluate_strategy(strategy, window).signal[-1])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@settings(max_examples=count_examples(4), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_lookback_candles_give_the_signals_of_the_whole_range_on_every_bar(
    strategy: Strategy, seed: int
):
    candles = make_candles(make_tick_walk(seed, 900))
    whole = evaluate_strategy(strategy, candles).signal
    windows = [evaluate_last_signal(strategy, candles, end) for end in range(1, len(candles) + 1)]
    assert windows == whole.tolist()


@pytest.mark.parametrize(
    "strategy",
    [
        *(Rsi(), Rsi(entry="cross_up"), SmaCross(), MacdCross()),
        *(EmaCross(), Bollinger(), Donchian()),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "binance_BTC-USDT_1h_20170817_20240421",
        "binance_BRD-BTC_1m_20210410_20210520",
        "kraken_BTC-USD_1h_20131006_20230107",
    ],
)
def test_lookback_candles_give_the_signals_of_the_whole_range_on_recorded_candles(
    recorded: Callable[[str], Candles], name: str, strategy: Strategy
):
    candles = recorded(name)
    whole = evaluate_strategy(strategy, candles).signal
    # Every bar of every file would take minutes: a seeded choice, half of it bars that signal.
    rng = np.random.default_rng(5)
    signalled = rng.choice(np.flatnonzero(whole), 150)
    ends = np.concatenate((signalled, rng.integers(0, len(candles), 150))) + 1
    assert [evaluate_last_signal(strategy, candles, int(end)) for end in ends] == whole[
        ends - 1
    ].tolist()


@pytest.mark.parametrize("touches", [1, 2, 6])
def test_averages_that_touch_sell_on_the_candle_that_leaves_the_touch(touches: int):
    # SMA 2 lies over SMA 4 while the closes rise, on it while they stand still, then under it.
    rise, fall = [100.0, 98, 96, 97, 99, 101, 103], [101.0, 95.0]
    close = np.array([*rise, *[103.0] * (2 + touches), *fall])
    signals = evaluate_strategy(SmaCross(fast=2, slow=4), make_candles(close))
    first = len(close) - len(fall)
    fast, slow = signals.indicators.values()
    assert (fast[first - touches : first] == slow[first - touches : first]).all()
    assert np.flatnonzero(signals.signal == -1).tolist() == [first]
    words = SmaCross(fast=2, slow=4).describe(signals, first - 1, holding=True)
    assert words == "SMA2 103.0 equal to SMA4 103.0 (sells on a cross down)"


def test_no_cross_of_a_recorded_thin_market_is_lost(recorded: Callable[[str], Candles]):
    candles = recorded("binance_BRD-BTC_1m_20210410_20210520")
    # Whole steps of the price: sums of 5 and of 20 closes compare exactly.
    steps = np.rint(candles.close * 1e8).astype(np.int64).tolist()
    expected = [0] * 20
    for bar in range(20, len(steps)):
        now = 4 * sum(steps[bar - 4 : bar + 1]) - sum(steps[bar - 19 : bar + 1])
        was = 4 * sum(steps[bar - 5 : bar]) - sum(steps[bar - 20 : bar])
        expected.append(1 if was <= 0 < now else -1 if was >= 0 > now else 0)
    found = evaluate_strategy(SmaCross(fast=5, slow=20), candles).signal
    assert found.tolist() == expected


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_prices_in_another_unit_give_the_same_signals(strategy: Strategy):
    close = make_tick_walk(11, 2_000)
    doubled = evaluate_strategy(strategy, make_candles(close * 2.0)).signal
    assert doubled.tolist() == evaluate_strategy(strategy, make_candles(close)).signal.tolist()


@pytest.mark.parametrize(
    "strategy",
    [
        *(Rsi(), Rsi(entry="cross_up"), SmaCross(), MacdCross()),
        *(EmaCross(), Bollinger(), Donchian()),
    ],
)
def test_a_market_that_becomes_constant_gives_no_signal(strategy: Strategy):
    close = np.concatenate((make_tick_walk(4, 300), np.full(2_000, 9.37)))
    signal = evaluate_strategy(strategy, make_candles(close)).signal
    assert not signal[-1_000:].any()


def test_rsi_buys_on_every_bar_under_the_level_and_sells_on_every_bar_over_it():
    close = np.concatenate((np.linspace(100, 50, 60), np.linspace(50, 120, 80)))
    signals = evaluate_strategy(Rsi(), make_candles(close))
    rsi = signals.indicators["RSI"]
    assert np.array_equal(signals.signal == 1, rsi < 30)
    assert np.array_equal(signals.signal == -1, rsi > 70)


def test_rsi_cross_up_buys_on_the_bar_that_comes_back_over_the_level_only():
    close = np.concatenate((np.linspace(100, 50, 60), np.linspace(50, 120, 80)))
    signals = evaluate_strategy(Rsi(entry="cross_up"), make_candles(close))
    rsi = signals.indicators["RSI"]
    (bought,) = np.flatnonzero(signals.signal == 1)
    assert rsi[bought - 1] < 30 < rsi[bought]


@pytest.mark.parametrize(
    ("strategy", "holding", "words"),
    [
        (Rsi(), False, "RSI 100.0 (buys under 30)"),
        (Rsi(), True, "RSI 100.0 (sells over 70)"),
        (Rsi(entry="cross_up"), False, "RSI 100.0 (buys when it crosses above 30)"),
        (Rsi(period=200), False, "RSI not known yet (buys under 30)"),
        (SmaCross(), False, "SMA20 140.5 over SMA50 125.5 (buys on a cross up)"),
        (SmaCross(), True, "SMA20 140.5 over SMA50 125.5 (sells on a cross down)"),
        (EmaCross(), False, "EMA12 144.5 over EMA26 137.5 (buys on a cross up)"),
        (Bollinger(), False, "lower band 129.0, average 140.5 (buys under the lower band)"),
        (Bollinger(), True, "lower band 129.0, average 140.5 (sells over the average)"),
        (Donchian(), False, "high20 149.0, low10 140.0 (buys over high20)"),
        (Donchian(), True, "high20 149.0, low10 140.0 (sells under low10)"),
        (BuyAndHold(), False, "buys at once"),
        (BuyAndHold(), True, "never sells"),
        (MacdCross(), True, "MACD 7.00 over signal 7.00 (sells on a cross down)"),
    ],
)
def test_the_decision_line_has_the_values_and_the_condition_for_a_signal(
    strategy: Strategy, holding: bool, words: str
):
    signals = evaluate_strategy(strategy, make_candles(np.arange(51.0, 151.0)))
    printed = strategy.describe(signals, -1, holding=holding)
    assert printed.replace("under signal", "over signal") == words


def test_bollinger_buys_under_the_lower_band_and_sells_over_the_line_of_its_parameter():
    close = make_tick_walk(3, 900)
    middle, upper = (
        evaluate_strategy(Bollinger(exit=line), make_candles(close)) for line in ("middle", "upper")
    )
    lines = middle.indicators
    assert np.array_equal(middle.signal == 1, close < lines["lower band"] - close * 1e-12)
    assert np.array_equal(middle.signal == -1, close > lines["average"] + close * 1e-12)
    assert np.array_equal(upper.signal == -1, close > lines["upper band"] + close * 1e-12)


def test_donchian_compares_a_close_with_the_bars_before_it_only():
    close = np.array([5.0, 6.0, 5.0, 6.0, 7.0, 6.0, 5.0, 4.0])
    signals = evaluate_strategy(Donchian(entry=3, exit=2), make_candles(close))
    assert signals.signal.tolist() == [0, 0, 0, 0, 1, 0, -1, -1]
    assert signals.indicators["high3"].tolist()[3:] == [6.0, 6.0, 7.0, 7.0, 7.0]


def test_buy_and_hold_buys_from_the_first_candle_on():
    assert evaluate_strategy(BuyAndHold(), make_candles(np.ones(3))).signal.tolist() == [1, 1, 1]


def test_reasons_name_the_rule_that_gave_the_signal():
    signals = evaluate_strategy(Rsi(), make_candles(np.linspace(100, 50, 60)))
    assert (signals.get_reason_text(-1), signals.get_reason_text(0)) == ("under 30", "")


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("rsi", {"period": 1}, "rsi: period must be 2 to 500, found 1"),
        ("rsi", {"period": 14.5}, "rsi: period must be a whole number, found 14.5"),
        ("rsi", {"period": True}, "rsi: period must be a whole number, found True"),
        ("rsi", {"period": "1e3"}, "rsi: period must be a whole number, found '1e3'"),
        ("rsi", {"buy": "nan"}, "rsi: buy must be 0 to 100, found nan"),
        ("rsi", {"buy": 80}, "buy must be under sell, found buy 80 and sell 70"),
        ("rsi", {"entry": "crossup"}, "one of below, cross_up, found 'crossup'; did you mean"),
        ("sma_cross", {"fast": 50}, "fast must be under slow, found fast 50 and slow 50"),
        ("ema_cross", {"fast": 26}, "fast must be under slow, found fast 26 and slow 26"),
        ("bollinger", {"exit": "lower"}, "exit must be one of middle, upper, found 'lower'"),
        ("donchian", {"entry": 0}, "donchian: entry must be 1 to 2000, found 0"),
        ("macd", {"slow": 9}, "fast must be under slow, found fast 12 and slow 9"),
        ("macd", {"singal": 9}, "no parameter 'singal'; did you mean 'signal'? (it has: fast,"),
    ],
)
def test_invalid_parameters_are_refused_by_name_and_bound(
    name: str, parameters: dict[str, object], text: str
):
    with pytest.raises(UsageError) as caught:
        load_strategy(name, parameters)
    assert text in str(caught.value)


def test_text_from_a_command_line_becomes_the_declared_type():
    assert load_strategy("rsi", {"period": " 9 ", "buy": "25"}) == Rsi(period=9, buy=25.0)


@dataclass(frozen=True)
class Careless(Strategy):
    """A strategy that changes its candles or ends the program."""

    name: ClassVar[str] = "careless"
    act: str = parameter("mutate", choices=("mutate", "exit"))

    @property
    def lookback(self) -> int:
        return 1

    def evaluate(self, candles: Candles, higher: Mapping[str, Candles]) -> Signals:
        if self.act == "exit":
            raise SystemExit(0)
        candles.close[:] = 1.0
        return Signals(np.zeros(len(candles), dtype=np.int8), {})


@pytest.mark.parametrize("act", ["mutate", "exit"])
def test_a_strategy_that_changes_its_candles_or_exits_is_refused_in_one_line(act: str) -> None:
    column = np.arange(1.0, 4.0)
    candles = Candles(np.arange(3) * 60, column, column, column, column.copy(), column)
    with pytest.raises(ConfigurationError, match="strategy careless failed"):
        evaluate_strategy(Careless(act=act), candles)
    assert candles.close.tolist() == [1.0, 2.0, 3.0]


def test_a_strategy_returns_only_its_signals() -> None:
    @dataclass(frozen=True)
    class Bare(Strategy):
        name: ClassVar[str] = "bare"

        @property
        def lookback(self) -> int:
            return 1

        def evaluate(self, candles: Candles, higher: Mapping[str, object]) -> Signals:
            del higher
            return Signals(np.ones(len(candles), dtype=np.int8))

    signals = evaluate_strategy(Bare(), make_candles(make_tick_walk(1, 20)))
    assert (signals.indicators, signals.get_reason_text(3)) == ({}, "")
    assert Bare().describe(signals, -1, holding=False) == ""
