"""Invalid results of a user's strategy are refused with cause, place and remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError
from onetape.strategies import evaluate_strategy, load_strategy

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class Junk(Strategy):
    name: ClassVar[str] = {name}

    @property
    def lookback(self):
        return {lookback}

    def evaluate(self, candles, higher):
        n = len(candles)
        print("printed")
        return Signals({signal}, {extras})
"""
RESULTS = {
    "ragged signals": ("[[1], [1, 2]]", "{}", "signals that are not a column"),
    "indicators of a list": ("np.zeros(n)", "[1, 2]", "indicators of type list"),
    "an indicator without a name": ("np.zeros(n)", "{7: np.zeros(n)}", "named an indicator '7'"),
    "a name without end": ("np.zeros(n)", "{'x' * 10**6: np.zeros(n)}", "named an indicator 'xxx"),
    "an indicator of objects": ("np.zeros(n)", "{'x': [None] * n}", "'x' of type object"),
    "a ragged indicator": ("np.zeros(n)", "{'x': [[1], [1, 2]]}", "'x' that are not a column"),
    "far too many": (
        "np.zeros(n)",
        "{str(i): np.zeros(n) for i in range(10**4)}",
        "returned 10,000 indicators",
    ),
    "overlays of text": ("np.zeros(n)", "{}, overlays='x'", "overlays of type str"),
    "levels of numbers": ("np.zeros(n)", "{}, levels=5", "levels of type int"),
    "levels of nothing": ("np.zeros(n)", "{}, levels={'x': (1,)}", "levels 'x' that cannot be"),
    "endless levels": (
        "np.zeros(n)",
        "{'x': np.zeros(n)}, levels={'x': (np.inf,)}",
        "levels 'x' that cannot be drawn",
    ),
    "reasons of text": ("np.zeros(n)", "{}, reason=['a'] * n", "reasons of type <U1"),
    "too few reasons": ("np.zeros(n)", "{}, reason=np.zeros(1, dtype=int)", "and shape (1,)"),
    "reason texts of numbers": ("np.zeros(n)", "{}, reason_texts={1: 5}", "reason_texts"),
    "no reason texts": ("np.zeros(n)", "{}, reason_texts=None", "reason_texts"),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the strategy with some parts replaced; it returns its name."""

    def written(**parts: str) -> str:
        whole = {"name": "'junk'", "lookback": "1", "signal": "np.zeros(n)", "extras": "{}"}
        path = tmp_path / "junk.py"
        path.write_text(SOURCE.format(**whole | parts), encoding="utf-8")
        return str(path)

    return written


@pytest.fixture
def candles() -> Candles:
    """Return five candles."""
    prices: Any = np.full(5, 10.0)
    return Candles.from_columns(np.arange(5) * 3_600, prices, prices, prices, prices, prices)


@pytest.mark.parametrize("what", RESULTS)
def test_an_invalid_result_of_a_strategy_is_reported_with_its_fault(
    write: Callable[..., str], candles: Candles, what: str
) -> None:
    signal, extras, words = RESULTS[what]
    strategy = load_strategy(write(signal=signal, extras=extras))
    with pytest.raises(ConfigurationError) as caught:
        evaluate_strategy(strategy, candles)
    text = str(caught.value)
    assert text.startswith("strategy junk ")
    assert words in text
    assert len(text) < 300


@pytest.mark.parametrize("name", ["7", "None", "'x' * 61", "'two words'", "['junk']"])
def test_an_invalid_strategy_name_is_refused(write: Callable[..., str], name: str) -> None:
    with pytest.raises(ConfigurationError, match="write name: ClassVar"):
        load_strategy(write(name=name))


@pytest.mark.parametrize("lookback", ["'7'", "None", "1.5", "True", "-1", "10**9", "10**999"])
def test_an_invalid_lookback_is_refused(write: Callable[..., str], lookback: str) -> None:
    with pytest.raises(ConfigurationError, match="lookback must be a whole number from 0 to 100"):
        load_strategy(write(lookback=lookback))


def test_a_lookback_that_raises_is_reported(write: Callable[..., str]) -> None:
    with pytest.raises(ConfigurationError, match="could not state its lookback"):
        load_strategy(write(lookback="1 // 0"))


def test_lists_and_integers_are_accepted_and_output_of_a_strategy_stays_off_stdout(
    write: Callable[..., str], candles: Candles, capsys: pytest.CaptureFixture[str]
) -> None:
    extras = "{'x': [1] * n}, overlays=['x', 'unknown'], levels={'x': [3]}, reason=[1] * n"
    signals = evaluate_strategy(load_strategy(write(signal="[0] * n", extras=extras)), candles)
    assert signals.indicators["x"].dtype == np.float64
    assert (signals.overlays, signals.levels) == ({"x"}, {"x": (3.0,)})
    assert capsys.readouterr() == ("", "printed\n")
