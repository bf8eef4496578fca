"""The bias check finds strategies that are biased in common ways, and reports the cause."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.strategies import Strategy, evaluate_strategy, load_strategy, sampled_check
from onetape.strategies.check_data import CheckData, evaluate_window_signal
from onetape.strategies.check_result import CheckResult
from onetape.strategies.check_text import (
    format_check_line,
    format_smallest_lookback,
    make_check_document,
)
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.min_lookback import find_min_lookback
from onetape.strategies.registry import BUILT_IN
from onetape.strategies.sampled_check import (
    WHOLE_BARS,
    format_quick_check,
    run_quick_check,
    run_sample_check,
)
from onetape.strategies.testing import higher_of, random_candles

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.core.resample import compute_opens
from onetape.core.timeframes import Timeframe
from onetape.strategies import Market, Signals, Strategy, indicators

STATE = {{}}


def above(price, line):
    return Signals(np.nan_to_num(np.sign(price - line)).astype(np.int8), {{"line": line}})


@dataclass(frozen=True)
class Biased(Strategy):
    name: ClassVar[str] = "biased"
    higher_timeframes = {higher}
    informative = ({informative})

    @property
    def lookback(self):
        return {lookback}

    @property
    def higher_lookback(self):
        return {higher_lookback}

    def evaluate(self, candles, higher):
        close, n = candles.close, len(candles)
        {body}
"""
#: What looks into the future, by the way in which it does.
FUTURE = {
    "a negative shift": "return above(candles.frame()['close'].shift(-1), close)",
    "the mean of the whole series": "return above(close, np.full(n, close.mean()))",
    "the extremes of the whole series": (
        "return above((close - close.min()) / (close.max() - close.min() + 1e-9), np.full(n, 0.7))"
    ),
    "a centred window": (
        "return above(close, candles.frame()['close'].rolling(9, center=True).mean().to_numpy())"
    ),
    "gaps filled from behind": (
        "return above(close, candles.frame()['close'].rolling(9).mean().bfill().shift(-3).bfill())"
    ),
    "a forming candle of a higher timeframe, resampled by itself": (
        "day = candles.frame()['close'].resample('1D').last().reindex(candles.frame().index, "
        "method='ffill'); return above(close, day.to_numpy())"
    ),
    "the last price of a day on all its hours": (
        "day = compute_opens(Timeframe.parse('1d'), candles.timestamp); "
        "last = np.searchsorted(day, day, side='right') - 1; return above(close, close[last])"
    ),
    "a turning point confirmed by later bars": (
        "low = candles.frame()['low']; return above(low, low.rolling(7, center=True).min())"
    ),
}
#: Reads on in the memory behind the candles that it is given, as a slip of compiled code does.
READS_ON = """
        pointer = close.__array_interface__["data"][0]
        owner = np.asarray(close.base.obj)
        owner = owner if owner.base is None else owner.base
        at = (pointer - owner.__array_interface__["data"][0]) // 8
        following = owner[at + 1 : at + 1 + n]
        return above(np.append(following, close[-1])[:n], close)
"""
#: Gives random signals, or stores earlier evaluations.
UNSTEADY = {
    "random numbers": (
        "return Signals(np.random.default_rng().integers(-1, 2, n), {})",
        "not repeatable",
    ),
    "the clock": (
        "import time; rng = np.random.default_rng(time.perf_counter_ns()); "
        "return Signals(rng.integers(-1, 2, n), {})",
        "not repeatable",
    ),
    "a counter": (
        "STATE['n'] = STATE.get('n', 0) + 1; return Signals(np.full(n, STATE['n'] % 2), {})",
        "state",
    ),
    "an average carried from call to call": (
        "STATE['ema'] = 0.9 * STATE.get('ema', close[-1] * 0.9) + 0.1 * close[-1]; "
        "return above(close, np.full(n, STATE['ema']))",
        "state",
    ),
}

Write = Callable[..., Callable[[], Strategy]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a strategy with a body and returns its factory."""

    def written(
        body: str,
        lookback: int = 20,
        higher: tuple[str, ...] = (),
        higher_lookback: int = 20,
        informative: str = "",
    ) -> Callable[[], Strategy]:
        path = tmp_path / "biased.py"
        source = SOURCE.format(
            body=body,
            lookback=lookback,
            higher=higher,
            higher_lookback=higher_lookback,
            informative=informative,
        )
        path.write_text(source, encoding="utf-8")
        return lambda: load_strategy(str(path))

    return written


def run_full_check(make: Callable[[], Strategy], candles: Candles) -> tuple[CheckData, CheckResult]:
    data = CheckData(candles, higher_of(make(), candles))
    return data, check_strategy(make, data, choose_bars_to_check(data, whole=True))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_bar_of_a_built_in_strategy_passes(name: str):
    _, result = run_full_check(lambda: load_strategy(name), random_candles(700, seed=8))
    assert format_check_line(result) == "bias check: passed, 700 bars"


@pytest.mark.parametrize("how", FUTURE)
def test_look_ahead_is_reported_with_its_first_bar(write: Write, how: str):
    make, candles = write(FUTURE[how], lookback=150), random_candles(260, seed=2)
    _, result = run_full_check(make, candles)
    assert result.first is not None
    assert result.first.kind == "look-ahead"
    # The bar is the first on which the candles up to it decide otherwise than all of them.
    whole = evaluate_strategy(make(), candles).signal
    prefixes = [
        int(evaluate_strategy(make(), candles[: bar + 1]).signal[-1])
        for bar in range(result.first.index + 1)
    ]
    assert np.flatnonzero(prefixes != whole[: len(prefixes)]).tolist() == [result.first.index]
    assert "later candles change the past" in format_check_line(result)


@pytest.mark.parametrize("how", UNSTEADY)
def test_a_strategy_that_does_not_repeat_its_signals_is_reported_by_the_cause(
    write: Write, how: str
):
    body, kind = UNSTEADY[how]
    _, result = run_full_check(write(body), random_candles(300, seed=2))
    assert result.first is not None
    assert result.first.kind == kind


def test_a_strategy_that_stores_its_signals_hides_no_look_ahead(write: Write):
    body = (
        "signal = np.sign(close - close.mean()).astype(int); "
        "[STATE.setdefault(t, s) for t, s in zip(candles.timestamp.tolist(), signal.tolist())]; "
        "return Signals([STATE[t] for t in candles.timestamp.tolist()], {})"
    )
    _, result = run_full_check(write(body), random_candles(300, seed=2))
    assert result.first is not None
    assert result.first.kind == "look-ahead"


def test_a_strategy_that_stores_candles_outside_its_file_is_found(
    write: Write, monkeypatch: pytest.MonkeyPatch
):
    # A fresh instance runs the file again, but not what the file imports.
    monkeypatch.setattr(sys, "seen", {}, raising=False)
    body = (
        "import sys; times = candles.timestamp.tolist(); "
        "sys.seen.update(zip(times, close.tolist())); "
        "return above(np.array([sys.seen.get(t + 3_600, 0) for t in times]), close)"
    )
    _, result = run_full_check(write(body), random_candles(300, seed=2))
    assert result.first is not None
    assert result.first.kind in {"look-ahead", "state"}


def test_a_strategy_that_stores_the_first_long_series_is_found(
    write: Write, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "first", {}, raising=False)
    body = (
        "import sys; times = candles.timestamp.tolist(); "
        "n > 200 and not sys.first and sys.first.update(zip(times, close.tolist())); "
        "return above(np.array([sys.first.get(t + 3_600, 0) for t in times]), close)"
    )
    _, result = run_full_check(write(body), random_candles(300, seed=2))
    assert not result.is_clean


def test_a_strategy_that_reads_memory_behind_its_candles_is_found(write: Write):
    _, result = run_full_check(write(READS_ON.strip()), random_candles(300, seed=2))
    assert result.first is not None
    assert result.first.kind == "look-ahead"


NEEDS_160 = "return above(close, indicators.sma(close, 160))"


def test_a_short_lookback_is_reported_with_the_smallest_sufficient_one(write: Write):
    data, result = run_full_check(write(NEEDS_160, lookback=20), random_candles(600, seed=4))
    assert result.first is not None
    assert result.first.kind == "warm-up"
    bars = choose_bars_to_check(data, whole=True)
    make = write(NEEDS_160, lookback=20)
    smallest = find_min_lookback(make, data, bars, result.differing, result.windows)
    assert (
        format_smallest_lookback(result, smallest) == "smallest lookback that agrees: 160 (now 100)"
    )
    assert run_full_check(write(NEEDS_160, lookback=160), data.candles)[1].is_clean
    assert not run_full_check(write(NEEDS_160, lookback=159), data.candles)[1].is_clean


def test_a_signal_that_depends_on_where_the_candles_begin_has_no_lookback(write: Write):
    make = write("return above(close, np.cumsum(close) / np.arange(1, n + 1))")
    data, result = run_full_check(make, random_candles(500, seed=4))
    bars = choose_bars_to_check(data, whole=True)
    smallest = find_min_lookback(make, data, bars, result.differing, result.windows)
    assert "none that these candles can show" in format_smallest_lookback(result, smallest)


def test_a_short_warm_up_and_a_look_ahead_in_one_strategy_are_both_reported(write: Write):
    body = (
        "line = indicators.sma(close, 160); line[:-1] = np.where(np.arange(n - 1) % 50 == 49, "
        "close[1:], line[:-1]); return above(close, line)"
    )
    _, result = run_full_check(write(body, lookback=20), random_candles(600, seed=4))
    assert result.look_ahead is not None
    document = make_check_document(result)
    assert document["first_look_ahead"]["kind"] == "look-ahead"


def test_a_strategy_that_fails_on_few_candles_is_reported_with_the_place(write: Write):
    body = "assert n > 50, 'too few'; return above(close, close)"
    _, result = run_full_check(write(body), random_candles(300, seed=4))
    assert result.first is not None
    assert (result.first.kind, result.first.index) == ("fails", 0)
    assert "AssertionError: too few" in format_check_line(result)


def make_daily_average_body(column: str) -> str:
    return (
        f"day = higher['1d']; line = day.as_of(indicators.sma(day.{column}, 3)); "
        "return above(close, line)"
    )


def test_higher_timeframe_candles_merged_by_close_pass(write: Write):
    make = write(make_daily_average_body("close"), higher=("1d",))
    data, result = run_full_check(make, random_candles(900, seed=4))
    assert result.is_clean
    assert np.count_nonzero(evaluate_strategy(make(), data.candles, data.higher).signal) > 500


def test_higher_timeframe_candles_merged_by_open_are_look_ahead(write: Write):
    # The usual merge: the day that began last, though it has not closed.
    body = (
        "day = higher['1d']; at = np.searchsorted(day.timestamp, candles.timestamp, 'right') - 1; "
        "return above(close, np.where(at < 0, np.nan, day.close[at]) if len(day) else close)"
    )
    _, result = run_full_check(write(body, higher=("1d",)), random_candles(900, seed=4))
    assert result.first is not None
    assert result.first.kind == "look-ahead"


MARKET = 'Market("BTC/USDT", "4h"),'


def market_average(column: str) -> str:
    return (
        f"btc = higher['BTC/USDT 4h']; line = btc.as_of(indicators.sma(btc.{column}, 3)); "
        "return above(close, line)"
    )


def test_candles_of_another_market_brought_by_as_of_are_clean(write: Write):
    make = write(market_average("close"), informative=MARKET)
    data, result = run_full_check(make, random_candles(900, seed=4))
    assert result.is_clean
    assert np.count_nonzero(evaluate_strategy(make(), data.candles, data.higher).signal) > 500


@pytest.mark.parametrize(
    "place",
    [
        "np.searchsorted(btc.timestamp, candles.timestamp, 'right') - 1",
        "np.minimum(btc.visible, len(btc) - 1)",
    ],
    ids=["merged by its open", "the candle after the one that is known"],
)
def test_a_candle_of_another_market_that_has_not_closed_is_look_ahead(write: Write, place: str):
    body = (
        f"btc = higher['BTC/USDT 4h']; at = {place}; "
        "return above(close, np.where(at < 0, np.nan, btc.close[at]) if len(btc) else close)"
    )
    _, result = run_full_check(write(body, informative=MARKET), random_candles(900, seed=4))
    assert result.first is not None
    assert result.first.kind == "look-ahead"


def test_too_few_higher_timeframe_candles_are_reported_as_the_lookback_of_that_timeframe(
    write: Write,
):
    body = "day = higher['1d']; return above(close, day.as_of(indicators.sma(day.close, 110)))"
    make = write(body, higher=("1d",))
    data, result = run_full_check(make, random_candles(24 * 160, seed=4))
    bars = choose_bars_to_check(data, whole=True)
    smallest = find_min_lookback(make, data, bars, result.differing, result.windows)
    assert smallest is not None
    assert smallest.name == "higher_lookback"
    assert 105 <= smallest.value <= 110


def test_a_long_range_is_checked_by_a_sample_that_depends_on_the_candles():
    data = CheckData(random_candles(200_900, seed=5), first=300)
    bars = choose_bars_to_check(data, whole=False)
    assert (len(bars), len(choose_bars_to_check(data, whole=True))) == (200_000, 200_600)
    assert bars[0] >= 300
    assert np.array_equal(bars, choose_bars_to_check(data, whole=False))


@pytest.mark.parametrize("how", FUTURE)
def test_the_sample_of_a_backtest_finds_look_ahead(write: Write, how: str):
    make, data = write(FUTURE[how], lookback=150), CheckData(random_candles(3_000, seed=2))
    result = run_sample_check(make, data, evaluate_strategy(make(), data.candles).signal)
    text = format_quick_check(result, "backtester check")
    assert "DIFFER, first 2024-" in text
    assert "(look-ahead): do not trust this result; why: backtester check" in text


def test_the_sample_of_a_backtest_finds_a_short_lookback(write: Write):
    make, data = write(NEEDS_160, lookback=20), CheckData(random_candles(3_000, seed=2))
    result = run_sample_check(make, data, evaluate_strategy(make(), data.candles).signal)
    text = format_quick_check(result, "backtester check")
    assert "(warm-up): the trader would decide otherwise; why: backtester check" in text


def test_the_sample_is_repeatable_and_has_its_size():
    data = CheckData(random_candles(3_000, seed=2))
    whole = evaluate_strategy(load_strategy("rsi"), data.candles).signal
    one, other = (run_sample_check(lambda: load_strategy("rsi"), data, whole) for _ in range(2))
    assert one == other
    assert format_quick_check(one, "X") == "passed on a sample of 200 of 3,000 bars; all: X"


def test_a_backtest_checks_a_short_range_completely_and_a_long_one_by_a_sample(
    monkeypatch: pytest.MonkeyPatch,
):
    # A busy machine is slow, and would have a sample of the short one, too.
    monkeypatch.setattr(sampled_check, "WHOLE_SECONDS", 60.0)
    whole = {
        count: run_quick_check(lambda: load_strategy("rsi"), data, signals)
        for count, data, signals in (
            (count, data, evaluate_strategy(load_strategy("rsi"), data.candles).signal)
            for count in (WHOLE_BARS, WHOLE_BARS + 1)
            for data in [CheckData(random_candles(count, seed=2))]
        )
    }
    assert format_quick_check(whole[WHOLE_BARS], "X") == "passed, 5,000 bars"
    assert (
        format_quick_check(whole[WHOLE_BARS + 1], "X")
        == "passed on a sample of 200 of 5,001 bars; all: X"
    )


def test_a_slow_strategy_is_checked_by_a_sample_even_in_a_short_range(
    write: Write, monkeypatch: pytest.MonkeyPatch
):
    # A fast machine is through with so little work in the time that a check has.
    monkeypatch.setattr(sampled_check, "WHOLE_SECONDS", 0.1)
    slow = "x = [i for i in range(20_000)]\n        return Signals(np.zeros(n, np.int8), {})"
    make, data = write(slow, lookback=7), CheckData(random_candles(4_000, seed=2))
    result = run_quick_check(make, data, evaluate_strategy(make(), data.candles).signal)
    assert 0 < result.checked <= 200


def test_the_check_of_a_short_range_finds_stored_state_of_a_strategy(write: Write):
    # The windows of the sample all agree; only a second look at all candles does not.
    keeps = (
        "calls = globals().setdefault('calls', []); calls.append(n)\n"
        "        return Signals(np.full(n, calls.count(n) % 2 == 0 and n > 100, np.int8), {})"
    )
    make, data = write(keeps, lookback=7), CheckData(random_candles(2_000, seed=2))
    instance = make()
    whole = evaluate_strategy(instance, data.candles).signal
    assert run_sample_check(lambda: instance, data, whole).is_clean
    text = format_quick_check(run_quick_check(lambda: instance, data, whole), "X")
    assert text.startswith("DIFFER, first 2024-")
    assert text.endswith(": the trader would decide otherwise; why: X")


def test_the_sample_imports_no_slow_module():
    # NumPy's random numbers alone take as long as the whole sample.
    code = (
        "import sys, numpy as np; from onetape.strategies import *; "
        "from onetape.strategies.lookahead_check import CheckData; "
        "from onetape.core.candles import Candles; "
        "from onetape.strategies.sampled_check import run_sample_check; x = np.arange(1.0, 300.0); "
        "c = Candles(x.astype(np.int64) * 60, x, x, x, x, x); make = lambda: load_strategy('rsi'); "
        "assert run_sample_check(make, CheckData(c), evaluate_strategy(make(), c).signal).checked; "
        "print([m for m in ('numpy.random', 'pandas', 'rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_checked_window_equals_that_of_the_trader(write: Write):
    # 100 candles at least, as the trader gives; the strategy returns their number.
    make = write("return Signals(np.full(n, n == 100, dtype=np.int8), {})", lookback=7)
    data, result = run_full_check(make, random_candles(200, seed=2))
    assert result.windows.candles == 100
    assert evaluate_window_signal(make(), data, 150, result.windows) == 1
    assert evaluate_window_signal(make(), data, 50, result.windows) == 0
