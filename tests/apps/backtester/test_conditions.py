"""Named conditions of a strategy: `explain`, the trader's line and the trades name those met."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.strategies import evaluate_strategy, load_strategy
from onetape.strategies.testing import random_candles

Run = Callable[..., Any]
SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Named(Strategy):
    name: ClassVar[str] = "named"
    lookback: ClassVar[int] = 1

    def evaluate(self, candles, higher):
        falls = candles.close < candles.open
        even = (candles.timestamp // 3_600) % 2 == 0
        signal = np.where(falls & even, 1, np.where(~falls, -1, 0)).astype(np.int8)
        return Signals(signal, {"close": candles.close}, conditions={"falls": falls, "even": even})
"""


@pytest.fixture
def named(tmp_path: Path) -> str:
    path = tmp_path / "named.py"
    path.write_text(SOURCE)
    return str(path)


def test_the_decision_line_states_which_conditions_were_met_and_which_not(named: str):
    strategy, candles = load_strategy(named), random_candles(50, seed=1)
    signals = evaluate_strategy(strategy, candles)
    for index in range(50):
        line = strategy.describe(signals, index, holding=False)
        falls, even = (bool(signals.conditions[name][index]) for name in ("falls", "even"))
        both = (("falls", falls), ("even", even))
        missing = ", ".join(name for name, is_met in both if not is_met)
        met = ", ".join(name for name, is_met in both if is_met)
        assert line.startswith(f"not met: {missing}" if missing else f"met: {met}")
        assert f"; met: {met}; close " in line or not (met and missing)


def test_explain_and_the_list_of_trades_name_the_conditions(
    backtest_json: Run, backtester: Run, named: str
):
    document = backtest_json("-s", named).document
    trades = document["trades"]
    assert {trade["entry_reason"] for trade in trades} == {"falls, even"}
    # A SELL on an odd candle met none: its own words stand there.
    assert {trade["exit_reason"] for trade in trades} <= {"even", "sell signal", ""}
    at = trades[0]["entry_timestamp"] - 3_600
    given = ("--exchange", "simulator", "-s", named, "--at", str(at))
    shown = backtester("explain", *given)
    assert "conditions: falls met, even met" in shown.out
    found: Any = json.loads(backtester("explain", *given, "--json").out)
    assert found["conditions"] == {"falls": True, "even": True}


@pytest.mark.parametrize(
    "conditions",
    ["5", "{'x': np.zeros(len(falls))}", "{'x': falls[1:]}", "{7: falls}"],
)
def test_an_invalid_condition_is_refused(tmp_path: Path, conditions: str):
    path = tmp_path / "bad.py"
    path.write_text(SOURCE.replace('{"falls": falls, "even": even}', conditions))
    with pytest.raises(Exception, match="strategy named returned condition"):
        evaluate_strategy(load_strategy(str(path)), random_candles(9, seed=1))


def test_boolean_columns_of_a_freqtrade_file_are_conditions(tmp_path: Path):
    path = tmp_path / "F.py"
    path.write_text(
        "from freqtrade.strategy import IStrategy\n\n\nclass F(IStrategy):\n"
        '    timeframe = "1h"\n    stoploss = -0.1\n\n'
        "    def populate_indicators(self, df, metadata):\n"
        '        df["falls"] = df["close"] < df["open"]\n        return df\n'
    )
    strategy, candles = load_strategy(str(path)), random_candles(30, seed=2)
    signals = evaluate_strategy(strategy, candles)
    np.testing.assert_array_equal(signals.conditions["falls"], candles.close < candles.open)
    assert "falls" not in signals.indicators
    assert strategy.describe(signals, -1, holding=False) in ("met: falls", "not met: falls")
