"""Every built-in strategy compared with its rule, computed from TA-Lib's lines."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray
from onetape.strategies import BUY, SELL, Strategy, evaluate_strategy, load_strategy
from onetape.strategies.registry import BUILT_IN
from onetape.strategies.testing import random_candles

Line = FloatArray | float
Rule = Callable[[Candles], list[int]]


def find_crosses(first: Line, second: Line, count: int) -> list[int]:
    """Return 1 where a line is above another that it was not above one bar before; -1: below.

    The lines are equal where they differ by no more than rounding: TA-Lib's sums are running ones.
    """
    one, other = (np.broadcast_to(line, count) for line in (first, second))
    found = [0]
    for bar in range(1, count):
        was, now = (_round_noise(one[at] - other[at]) for at in (bar - 1, bar))
        found.append(1 if was <= 0 < now else -1 if was >= 0 > now else 0)
    return found


def _round_noise(difference: float) -> float:
    return 0.0 if abs(difference) < 1e-9 else difference


def combine_sides(buy: NDArray[np.bool_], sell: NDArray[np.bool_]) -> list[int]:
    return [1 if one else -1 if other else 0 for one, other in zip(buy, sell, strict=True)]


def ema_cross(candles: Candles) -> list[int]:
    fast, slow = talib.EMA(candles.close, 5), talib.EMA(candles.close, 12)
    return find_crosses(fast, slow, len(candles))


def sma_cross(candles: Candles) -> list[int]:
    fast, slow = talib.SMA(candles.close, 5), talib.SMA(candles.close, 12)
    return find_crosses(fast, slow, len(candles))


def macd(candles: Candles) -> list[int]:
    line, signal, _ = talib.MACD(candles.close, 4, 9, 3)
    return find_crosses(line, signal, len(candles))


def rsi(candles: Candles) -> list[int]:
    values = talib.RSI(candles.close, 6)
    return combine_sides(values < 35, values > 65)


def rsi_cross_up(candles: Candles) -> list[int]:
    values = talib.RSI(candles.close, 6)
    up = np.array(find_crosses(values, 35.0, len(candles))) == 1
    down = np.array(find_crosses(values, 65.0, len(candles))) == -1
    return combine_sides(up, down)


def bollinger(candles: Candles) -> list[int]:
    _, middle, lower = talib.BBANDS(candles.close, 10, 1.5, 1.5)
    return combine_sides(candles.close < lower, candles.close > middle)


def donchian(candles: Candles) -> list[int]:
    high = np.append(np.nan, talib.MAX(candles.high, 8)[:-1])
    low = np.append(np.nan, talib.MIN(candles.low, 4)[:-1])
    return combine_sides(candles.close > high, candles.close < low)


def buy_and_hold(candles: Candles) -> list[int]:
    return [1] * len(candles)


#: Rule, strategy, and the parameters that the rule is written for.
RULES: list[tuple[Rule, str, dict[str, object]]] = [
    (ema_cross, "ema_cross", {"fast": 5, "slow": 12}),
    (sma_cross, "sma_cross", {"fast": 5, "slow": 12}),
    (macd, "macd", {"fast": 4, "slow": 9, "signal": 3}),
    (rsi, "rsi", {"period": 6, "buy": 35, "sell": 65}),
    (rsi_cross_up, "rsi", {"period": 6, "buy": 35, "sell": 65, "entry": "cross_up"}),
    (bollinger, "bollinger", {"period": 10, "width": 1.5}),
    (donchian, "donchian", {"entry": 8, "exit": 4}),
    (buy_and_hold, "buy_and_hold", {}),
]


def test_every_built_in_strategy_has_a_rule_in_this_file():
    assert {name for _, name, _ in RULES} == set(BUILT_IN)


@pytest.mark.parametrize(("rule", "name", "parameters"), RULES)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(20, 400))
def test_signals_equal_those_of_the_rule(
    rule: Rule, name: str, parameters: dict[str, object], seed: int, count: int
):
    candles = random_candles(count, seed=seed)
    found = evaluate_strategy(load_strategy(name, parameters), candles)
    assert found.signal.tolist() == rule(candles)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_signal_has_a_reason_and_the_columns_have_names(name: str):
    strategy: Strategy = load_strategy(name)
    candles = random_candles(2_000, seed=3)
    found = evaluate_strategy(strategy, candles)
    codes = found.signal.tolist()
    assert BUY in codes
    assert name == "buy_and_hold" or SELL in codes
    texts = {
        code: {found.get_reason_text(bar) for bar in np.flatnonzero(found.signal == code).tolist()}
        for code in (BUY, SELL, 0)
    }
    assert texts[0] <= {""}
    assert all(text for code in (BUY, SELL) for text in texts[code])
    assert bool(found.indicators) == (name != "buy_and_hold")
    assert found.overlays <= found.indicators.keys()
