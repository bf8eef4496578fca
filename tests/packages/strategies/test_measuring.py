"""The measured lookback of strategy functions, and errors if it cannot be measured."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onetape.core.errors import ConfigurationError
from onetape.strategies.functions import Entries, get_measured_lookback, make_function_class

CALLS = {"count": 0}


def trade_by_chance(df: Any) -> Entries:
    chance = np.random.random(len(df))  # noqa: NPY002 - what users write
    return Entries(entry=chance < 0.01, exit=chance > 0.99)


def trade_by_clock(df: Any) -> Entries:
    odd = time.time_ns() // 1_000 % 2 == 1
    rises = df.close > df.open
    return Entries(entry=rises == odd, exit=rises != odd)


def trade_by_state(df: Any) -> Entries:
    CALLS["count"] += 1
    even = CALLS["count"] % 2 == 0
    rises = df.close > df.open
    return Entries(entry=rises == even, exit=rises != even)


def look_ahead(df: Any) -> Entries:
    return Entries(entry=df.close.shift(-1) > df.close, exit=df.close.shift(-1) < df.close)


def look_ahead_and_fail(df: Any) -> Entries:
    if len(df) < 30:
        msg = "needs 30 candles"
        raise ValueError(msg)
    return look_ahead(df)


def require_two_candles(df: Any) -> Entries:
    if len(df) < 2:
        raise IndexError
    return Entries(entry=df.close.pct_change() < -0.01, exit=df.close.pct_change() > 0.01)


def require_sixty_candles(df: Any) -> Entries:
    if len(df) < 60:
        msg = "needs 60 candles"
        raise ValueError(msg)
    return Entries(entry=df.close.pct_change() < -0.01, exit=df.close.pct_change() > 0.01)


def fail_always(df: Any) -> Entries:
    return Entries(entry=df.closing > 1, exit=df.close < 0)


def measure_lookback(function: Callable[..., Entries]) -> int:
    return get_measured_lookback(make_function_class(function)())


@pytest.mark.parametrize("function", [trade_by_chance, trade_by_clock, trade_by_state])
def test_random_clock_and_state_are_not_reported_as_look_ahead(
    function: Callable[..., Entries],
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        measure_lookback(function)
    assert "gives other signals for the same candles each time" in str(caught.value)
    assert "the future" not in str(caught.value)


def test_look_ahead_next_to_a_failure_on_few_candles_is_reported_with_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        measure_lookback(look_ahead_and_fail)
    text = str(caught.value)
    assert "it looks further back, or into the future" in text
    assert "it also fails on 16 candles (ValueError: needs 30 candles) (" in text


def test_look_ahead_alone_is_reported_without_a_failure() -> None:
    with pytest.raises(ConfigurationError, match="into the future") as caught:
        measure_lookback(look_ahead)
    assert "fails" not in str(caught.value)


def test_a_function_that_fails_on_fewer_candles_than_it_needs_is_measured() -> None:
    assert (measure_lookback(require_two_candles), measure_lookback(require_sixty_candles)) == (
        2,
        60,
    )


def test_a_function_that_fails_on_all_candles_is_refused_with_its_fault() -> None:
    with pytest.raises(ConfigurationError) as caught:
        measure_lookback(fail_always)
    assert "fails on 4,000 candles (AttributeError: " in str(caught.value)
    line = fail_always.__code__.co_firstlineno + 1
    assert f") ({__file__}, line {line}); correct it" in str(caught.value)
