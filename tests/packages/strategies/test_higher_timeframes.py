"""Higher timeframe candles of a strategy: only closed ones are visible on each bar."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.resample import resample
from onetape.core.timeframes import Timeframe
from onetape.strategies import (
    align_higher_candles,
    collect_inputs,
    evaluate_strategy,
    load_strategy,
)
from onetape.strategies.testing import candles_of_closes, random_candles

HOUR, DAY = Timeframe.parse("1h"), Timeframe.parse("1d")


def make_gappy_candles(seed: int, count: int) -> Candles:
    """Return hourly candles of which some are missing."""
    candles = random_candles(count, seed=seed)
    kept = np.random.default_rng(seed).random(count) > 0.2
    kept[0] = True
    return candles.take(np.flatnonzero(kept))


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 400),
    longer=st.sampled_from(["4h", "1d", "1w", "1M"]),
)
def test_each_bar_has_the_last_closed_higher_timeframe_candle_and_no_later_one(
    seed: int, count: int, longer: str
):
    candles, timeframe = make_gappy_candles(seed, count), Timeframe.parse(longer)
    bars = align_higher_candles(candles, HOUR, resample(candles, HOUR, timeframe), timeframe)
    seen = bars.as_of(bars.timestamp.astype(np.float64))
    for bar, opened in enumerate(candles.timestamp.tolist()):
        now = HOUR.next(opened)
        closed = [each for each in bars.timestamp.tolist() if timeframe.next(each) <= now]
        assert seen[bar] == closed[-1] if closed else np.isnan(seen[bar])


def test_a_day_is_visible_on_its_last_hour_and_not_before():
    candles = candles_of_closes(range(1, 73))
    daily = align_higher_candles(candles, HOUR, resample(candles, HOUR, DAY), DAY)
    close = daily.as_of(daily.close)
    assert np.isnan(close[:23]).all()
    assert close[23:48].tolist() == [24.0] * 24 + [48.0]


@given(seed=st.integers(0, 2**32), end=st.integers(1, 300), lookback=st.integers(1, 300))
def test_a_traders_window_has_the_values_of_the_whole_range(seed: int, end: int, lookback: int):
    candles = make_gappy_candles(seed, 400)
    end = min(end, len(candles))
    daily = align_higher_candles(candles, HOUR, resample(candles, HOUR, DAY), DAY)
    part = daily.select_known(candles, max(0, end - lookback), end, len(daily))
    whole = daily.as_of(daily.close)[max(0, end - lookback) : end]
    assert np.array_equal(part.as_of(part.close), whole, equal_nan=True)
    assert all(
        DAY.next(opened) <= HOUR.next(int(candles.timestamp[end - 1]))
        for opened in part.timestamp.tolist()
    )


def test_a_column_of_another_length_is_refused():
    candles = random_candles(100, seed=1)
    daily = align_higher_candles(candles, HOUR, resample(candles, HOUR, DAY), DAY)
    with pytest.raises(ValueError, match="each of the 4 1d candles, found shape"):
        daily.as_of(candles.close)


SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"
    higher_timeframes = {higher}
    lookback = 1

    def evaluate(self, candles, higher):
        {body}
"""


@pytest.mark.parametrize(
    ("higher", "error", "words"),
    [
        ("'1d'", ConfigurationError, "higher_timeframes must be a tuple of names"),
        ("(1,)", ConfigurationError, "higher_timeframes must be a tuple of names"),
        ("('1x',)", UsageError, "strategy mine needs 1x candles: timeframe '1x'"),
        ("('15m',)", UsageError, "strategy mine needs 15m candles: 15m candles are not made of"),
        ("('1h',)", UsageError, "1h candles are not made of whole 1h candles"),
    ],
)
def test_invalid_higher_timeframes_are_refused(
    tmp_path: Path, higher: str, error: type[Exception], words: str
):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(higher=higher, body="return Signals(candles.close * 0, {})"))
    with pytest.raises(error) as caught:
        collect_inputs(load_strategy(str(path)), HOUR)
    assert words in str(caught.value)


def test_a_strategy_cannot_change_its_higher_timeframe_candles(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(higher="('1d',)", body="higher['1d'].close[:] = 0"))
    candles = random_candles(100, seed=1)
    daily = align_higher_candles(candles, HOUR, resample(candles, HOUR, DAY), DAY)
    with pytest.raises(ConfigurationError, match="read-only"):
        evaluate_strategy(load_strategy(str(path)), candles, {"1d": daily})


def test_a_strategy_without_its_higher_timeframe_candles_is_not_run(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(higher="('1d',)", body="raise RuntimeError"))
    with pytest.raises(ConfigurationError, match="needs 1d candles"):
        evaluate_strategy(load_strategy(str(path)), random_candles(100, seed=1))
