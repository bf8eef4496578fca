"""The full check and the check of a plain backtest name each bias by the same word."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from biased_strategies import BIASED_STRATEGIES, CLEAN_STRATEGIES, FAILING, make_strategy_source
from onetape.core.candles import Candles
from onetape.strategies import Strategy, evaluate_strategy, load_strategy
from onetape.strategies.check_data import CheckData
from onetape.strategies.check_result import CheckResult
from onetape.strategies.check_text import format_check_line
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.registry import BUILT_IN
from onetape.strategies.repeatability import find_repeat_difference
from onetape.strategies.sampled_check import (
    WHOLE_BARS,
    format_quick_check,
    run_quick_check,
    run_sample_check,
)
from onetape.strategies.testing import random_candles

Make = Callable[[], Strategy]
SHORT: Candles = random_candles(800, seed=5)
LONG: Candles = random_candles(WHOLE_BARS + 4_000, seed=6)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Make]:
    """Return a function that writes a strategy with a body and returns its factory."""

    def written(body: str) -> Make:
        path = tmp_path / "biased.py"
        path.write_text(make_strategy_source(body), encoding="utf-8")
        return lambda: load_strategy(str(path))

    return written


def run_full_check(make: Make, candles: Candles) -> CheckResult:
    data = CheckData(candles)
    return check_strategy(make, data, choose_bars_to_check(data, whole=True))


def run_sampled_check(make: Make, candles: Candles) -> CheckResult:
    """Return the sampled check of a backtest, after an evaluation of the whole range."""
    return run_quick_check(make, CheckData(candles), evaluate_strategy(make(), candles).signal)


def get_worst_kind(result: CheckResult) -> str | None:
    return None if result.worst is None else result.worst.kind


@pytest.mark.parametrize("how", BIASED_STRATEGIES)
def test_the_full_check_names_the_fault_of_a_biased_strategy(
    write: Callable[[str], Make], how: str
):
    body, expected = BIASED_STRATEGIES[how]
    assert get_worst_kind(run_full_check(write(body), SHORT)) == expected


@pytest.mark.parametrize("how", BIASED_STRATEGIES)
def test_a_backtest_of_a_short_range_names_the_fault_of_a_biased_strategy(
    write: Callable[[str], Make], how: str
):
    body, expected = BIASED_STRATEGIES[how]
    assert get_worst_kind(run_sampled_check(write(body), SHORT)) == expected


@pytest.mark.parametrize("how", BIASED_STRATEGIES)
def test_a_backtest_of_a_long_range_names_the_fault_of_a_biased_strategy(
    write: Callable[[str], Make], how: str
):
    body, expected = BIASED_STRATEGIES[how]
    result = run_sampled_check(write(body), LONG)
    assert get_worst_kind(result) == expected
    assert f"({expected})" in format_quick_check(result, "X")


@pytest.mark.parametrize("seconds_later", [0, 1])
def test_a_strategy_that_reads_the_clock_is_found_in_any_second(
    write: Callable[[str], Make], monkeypatch: pytest.MonkeyPatch, seconds_later: int
):
    make = write(BIASED_STRATEGIES["the second"][0])
    monkeypatch.setattr(time, "time", lambda: 1_001.0)
    data, whole = CheckData(LONG), evaluate_strategy(make(), LONG).signal
    monkeypatch.setattr(time, "time", lambda: 1_001.0 + seconds_later)
    found = find_repeat_difference(make, data, data.bars, whole, briefly=True)
    assert found is not None
    assert found.kind == "not repeatable"


def test_a_failure_on_few_candles_hides_no_look_ahead_from_the_full_check(
    write: Callable[[str], Make],
):
    result = run_full_check(write(FAILING), SHORT)
    assert result.failing == tuple(range(30))
    assert "30 of 800 bars fail, first 2024-01-01 00:00 UTC: fails: " in format_check_line(result)
    assert "later candles change the past" in format_check_line(result)


@pytest.mark.parametrize("candles", [SHORT, LONG], ids=["short", "long"])
def test_a_failure_on_few_candles_hides_no_look_ahead_from_a_backtest(
    write: Callable[[str], Make], candles: Candles
):
    result = run_sampled_check(write(FAILING), candles)
    text = format_quick_check(result, "X")
    assert "(look-ahead): do not trust this result; " in text
    assert " FAIL, first 2024-01-01 0" in text


@pytest.mark.parametrize("how", CLEAN_STRATEGIES)
def test_a_strategy_that_needs_two_candles_passes(write: Callable[[str], Make], how: str):
    make = write(CLEAN_STRATEGIES[how])
    assert run_full_check(make, SHORT).is_clean
    assert run_sampled_check(make, SHORT).is_clean
    assert run_sampled_check(make, LONG).is_clean


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_built_in_strategy_is_reported(name: str):
    def make() -> Strategy:
        return load_strategy(name)

    assert run_sampled_check(make, SHORT).is_clean
    assert run_sample_check(make, CheckData(LONG), evaluate_strategy(make(), LONG).signal).is_clean
