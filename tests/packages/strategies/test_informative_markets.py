"""Candles of other markets: what is known at each bar, and declarations that cannot be."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles, SeriesKey
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.timeframes import Timeframe
from onetape.strategies import (
    InputSeries,
    Market,
    Strategy,
    align_higher_candles,
    collect_inputs,
    evaluate_strategy,
    load_strategy,
)
from onetape.strategies.testing import (
    candles_of_closes,
    higher_of,
    random_candles,
    window_difference,
)

HOUR, FOUR = Timeframe.parse("1h"), Timeframe.parse("4h")
SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Market, Signals, Strategy, indicators


@dataclass(frozen=True)
class Follower(Strategy):
    name: ClassVar[str] = "follower"
    informative = {informative}
    lookback = 3

    def evaluate(self, candles, higher):
        {body}
"""
FOLLOWS = """leader = higher["BTC/USDT 4h"]
        line = leader.as_of(indicators.sma(leader.close, 2))
        rises = leader.as_of(leader.close) > line
        return Signals(rises.astype(np.int8), {"line": line})"""


def written(
    tmp_path: Path, informative: str = '(Market("BTC/USDT", "4h"),)', body: str = FOLLOWS
) -> str:
    path = tmp_path / "follower.py"
    path.write_text(SOURCE.format(informative=informative, body=body), encoding="utf-8")
    return str(path)


def load(tmp_path: Path, informative: str, body: str = FOLLOWS) -> Strategy:
    return load_strategy(written(tmp_path, informative, body))


def test_a_candle_of_another_market_is_known_from_its_own_close_on() -> None:
    traded = candles_of_closes([1.0] * 9)
    leader = candles_of_closes([10.0, 20.0], "4h")
    seen = align_higher_candles(traded, HOUR, leader, FOUR, "BTC/USDT")
    expected = [np.nan, np.nan, np.nan, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0]
    np.testing.assert_array_equal(seen.as_of(seen.close), expected)
    assert seen.label == "BTC/USDT 4h"


def test_a_candle_of_the_traded_timeframe_is_known_at_the_close_of_its_own_bar() -> None:
    traded = candles_of_closes([1.0, 2.0, 3.0])
    leader = candles_of_closes([10.0, 20.0, 30.0, 40.0])
    seen = align_higher_candles(traded, HOUR, leader, HOUR, "BTC/USDT")
    assert seen.as_of(seen.close).tolist() == [10.0, 20.0, 30.0]
    assert len(seen) == 3


def test_a_missing_candle_of_another_market_repeats_the_last_known_value() -> None:
    traded = candles_of_closes([1.0, 2.0, 3.0, 4.0])
    leader = candles_of_closes([10.0, 20.0, 30.0, 40.0]).take(np.array([0, 3]))
    seen = align_higher_candles(traded, HOUR, leader, HOUR, "BTC/USDT")
    assert seen.as_of(seen.close).tolist() == [10.0, 10.0, 10.0, 40.0]


@given(
    seed=st.integers(0, 2**32),
    end=st.integers(1, 300),
    lookback=st.integers(1, 300),
    timeframe=st.sampled_from([HOUR, FOUR]),
)
def test_what_a_trader_knows_of_another_market_is_what_the_whole_range_showed_then(
    seed: int, end: int, lookback: int, timeframe: Timeframe
) -> None:
    traded, leader = random_candles(300, seed=seed), random_candles(300, seed=seed + 1)
    kept = np.random.default_rng(seed).random(len(leader)) > 0.2
    shown = align_higher_candles(
        traded, HOUR, leader.take(np.flatnonzero(kept)), timeframe, "BTC/USDT"
    )
    start = max(0, end - lookback)
    part = shown.select_known(traded, start, end, len(shown))
    whole = shown.as_of(shown.close)[start:end]
    assert np.array_equal(part.as_of(part.close), whole, equal_nan=True)
    assert part.symbol == "BTC/USDT"
    now = HOUR.next(int(traded.timestamp[end - 1]))
    assert all(timeframe.next(opened) <= now for opened in part.timestamp.tolist())


def test_a_strategy_gets_the_markets_it_names(tmp_path: Path) -> None:
    strategy = load(tmp_path, '(Market("BTC/USDT", "4h"),)')
    assert collect_inputs(strategy, HOUR) == (InputSeries("BTC/USDT 4h", FOUR, "BTC/USDT"),)
    candles = random_candles(200, seed=1)
    leader = random_candles(200, seed=2)
    higher = higher_of(strategy, candles, markets={"BTC/USDT": leader})
    signals = evaluate_strategy(strategy, candles, higher)
    # The oracle: at each hour the two last spans of four hours that are over.
    for bar in range(len(candles)):
        over = (bar + 1) // 4
        if over < 2:
            assert np.isnan(signals.indicators["line"][bar])
            continue
        closes = [float(leader.close[4 * number - 1]) for number in (over - 1, over)]
        assert signals.indicators["line"][bar] == pytest.approx(sum(closes) / 2)
        assert signals.signal[bar] == (closes[1] > sum(closes) / 2)


def test_a_market_without_a_timeframe_has_the_traded_one(tmp_path: Path) -> None:
    strategy = load(tmp_path, '(Market("BTC/USDT"),)')
    assert collect_inputs(strategy, FOUR) == (InputSeries("BTC/USDT", FOUR, "BTC/USDT"),)


@pytest.mark.parametrize(
    ("declared", "symbol"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("BTC/{quote}", "BTC/EUR"),
        ("{base}/BTC", "ETH/BTC"),
        ("{base}/{quote}", "ETH/EUR"),
    ],
)
def test_currencies_of_the_traded_symbol_are_filled_in(declared: str, symbol: str) -> None:
    series = InputSeries(Market(declared, "4h").name, FOUR, declared)
    traded = SeriesKey("binance", "ETH/EUR", "1h")
    assert series.make_key(traded) == SeriesKey("binance", symbol, "4h")
    assert series.make_base_key(traded) == SeriesKey("binance", symbol, "1h")
    assert series.make_label(traded) == f"{symbol} 4h"


@pytest.mark.parametrize(
    ("informative", "error", "words"),
    [
        ('"BTC/USDT"', ConfigurationError, "informative must be a tuple of markets"),
        ('Market("BTC/USDT", "4h")', ConfigurationError, "informative must be a tuple of markets"),
        ('("BTC/USDT", "4h")', ConfigurationError, "informative must be a tuple of markets"),
        ("(Market(1, '4h'),)", ConfigurationError, "informative must be a tuple of markets"),
        ("(Market('BTC', '4h'),)", UsageError, "needs BTC 4h candles: symbol 'BTC' was not"),
        ("(Market('btc/usdt', '4h'),)", UsageError, "did you mean 'BTC/USDT'?"),
        ("(Market('BTC/{stake}', '4h'),)", UsageError, "only {base} and {quote} stand for"),
        ("(Market('BTC/USDT:USDT', '4h'),)", UsageError, "is a derivative"),
        ("(Market('BTC/USDT', '4x'),)", UsageError, "needs BTC/USDT 4x candles: timeframe '4x'"),
        ("(Market('BTC/USDT', '15m'),)", UsageError, "15m candles are not made of whole 1h"),
    ],
)
def test_markets_that_cannot_be_are_refused(
    tmp_path: Path, informative: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        collect_inputs(load(tmp_path, informative), HOUR)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_strategy_that_is_not_given_its_market_is_not_run(tmp_path: Path) -> None:
    strategy = load(tmp_path, '(Market("BTC/USDT", "4h"),)', "raise RuntimeError")
    with pytest.raises(ConfigurationError, match="needs BTC/USDT 4h candles, and got none"):
        evaluate_strategy(strategy, random_candles(100, seed=1))


def test_a_column_of_another_length_names_the_market(tmp_path: Path) -> None:
    body = 'return Signals(higher["BTC/USDT 4h"].as_of(candles.close), {})'
    strategy = load(tmp_path, '(Market("BTC/USDT", "4h"),)', body)
    candles = random_candles(100, seed=1)
    with pytest.raises(ConfigurationError, match="each of the 25 BTC/USDT 4h candles"):
        evaluate_strategy(strategy, candles, higher_of(strategy, candles))


def test_a_strategy_cannot_change_the_candles_of_another_market(tmp_path: Path) -> None:
    strategy = load(tmp_path, '(Market("BTC/USDT", "4h"),)', 'higher["BTC/USDT 4h"].close[:] = 0')
    candles = random_candles(100, seed=1)
    with pytest.raises(ConfigurationError, match="read-only"):
        evaluate_strategy(strategy, candles, higher_of(strategy, candles))


def test_the_check_without_a_database_gives_markets_at_random(tmp_path: Path) -> None:
    assert window_difference(written(tmp_path), random_candles(400, seed=3)) is None


def test_markets_of_a_test_have_the_times_of_the_traded_candles(tmp_path: Path) -> None:
    strategy = load(tmp_path, '(Market("BTC/{quote}"),)')
    candles: Candles = random_candles(50, seed=3)
    (found,) = higher_of(strategy, candles, symbol="ETH/EUR").values()
    assert found.symbol == "BTC/EUR"
    assert found.timestamp.tolist() == candles.timestamp.tolist()
    assert not np.array_equal(found.close, candles.close)
