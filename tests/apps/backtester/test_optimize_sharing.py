"""Combinations share indicator columns; a strategy that writes into one changes no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.clock import format_utc

#: Runs the program; gives code, out, err, and the document of --json.
Run = Callable[..., Any]

#: Writes into whatever it is given, as far as it can.
SPOILER = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from onetape.strategies import Signals, Strategy, indicators, parameter

@dataclass(frozen=True)
class Spoiler(Strategy):
    """Stretches its averages in place, each combination otherwise."""

    name: ClassVar[str] = "spoiler"
    fast: int = parameter(5, ge=1, le=50)
    slow: int = parameter(20, ge=1, le=50)
    stretch: float = parameter(1.0, ge=0.0, le=2.0)

    @property
    def lookback(self):
        return self.slow + 50

    def evaluate(self, candles, higher):
        daily = higher["1d"]
        trend = indicators.ema(daily.close, 3)
        trend *= self.stretch
        fast = indicators.sma(candles.close, window=self.fast)
        slow = indicators.sma(candles.close, window=self.slow)
        top = indicators.highest(candles.high[1:], self.slow)
        fast *= self.stretch
        slow[::2] = np.nan
        top.sort()
        strength = indicators.rsi(candles.close, 14)
        strength -= 50 * self.stretch
        signal = np.sign(fast - np.nan_to_num(slow)) * (strength > 0) * (daily.as_of(trend) > 0)
        for column in (fast, slow, top, strength, trend):
            column[:] = -1.0
        try:
            candles.close[:] = 1.0
        except ValueError:
            pass
        return Signals(np.where(np.isnan(signal), 0, signal).astype(np.int8), {})

    higher_timeframes = ("1d",)

    @property
    def higher_lookback(self):
        return 120
'''


@pytest.mark.parametrize("part", ["in_sample", "out_of_sample"])
def test_a_strategy_that_writes_into_its_columns_changes_no_other_combination(
    optimize: Run, backtest_json: Run, tmp_path: Path, part: str
) -> None:
    (tmp_path / "spoiler.py").write_text(SPOILER)
    values = ("--param", "fast=4,6", "--param", "slow=10,20", "--param", "stretch=0.5,1")
    # In one process, so that all of them share.
    found = optimize(
        "-s", "spoiler.py", *values, "--from", "2024-02-01", "--jobs", "1", "--no-check"
    )
    ends = [format_utc(found[part][end]).replace(" ", "T") for end in ("from", "to")]
    assert len({str(result[part]) for result in found["results"]}) > 2
    for result in found["results"]:
        own = [f"--param={name}={value}" for name, value in result["parameters"].items()]
        alone = backtest_json(
            *("-s", "spoiler.py", *own, "--from", ends[0], "--to", ends[1], "--no-check")
        )
        assert alone.document["metrics"] == result[part]
