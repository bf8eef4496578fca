"""Stop and target columns of a strategy: refusals, and the bias check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError
from onetape.strategies import Signals, Strategy, evaluate_strategy, indicators
from onetape.strategies.check_data import CheckData
from onetape.strategies.check_result import CheckResult
from onetape.strategies.check_text import format_check_line, make_check_document
from onetape.strategies.functions import Entries, make_function_class
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.sampled_check import run_sample_check
from onetape.strategies.segments import Segment, evaluate_by_segment
from onetape.strategies.testing import candles_of_closes, random_candles

CANDLES = random_candles(400, seed=7)


@dataclass(frozen=True)
class Levels(Strategy):
    """Buys each candle, with a stop and a target that a subclass computes."""

    name: ClassVar[str] = "levels"

    @property
    def lookback(self) -> int:
        return 20

    def compute_stop(self, candles: Candles) -> Any:
        return indicators.lowest(candles.low, 20) * 0.99

    def compute_target(self, candles: Candles) -> Any:
        return candles.close * 1.05

    def evaluate(self, candles: Candles, higher: Any) -> Signals:
        return Signals(
            np.ones(len(candles), np.int8),
            stop=self.compute_stop(candles),
            target=self.compute_target(candles),
            stop_mode="each_candle",
        )


def test_the_columns_are_returned_as_floats_with_their_modes():
    signals = evaluate_strategy(Levels(), CANDLES)
    columns = signals.level_columns
    assert columns is not None
    assert (columns.stop_mode, columns.target_mode) == ("each_candle", "at_entry")
    row = columns.get_row(-1)
    assert row.stop == pytest.approx(CANDLES.low[-20:].min() * 0.99)
    assert row.target == pytest.approx(CANDLES.close[-1] * 1.05)
    assert columns.get_row(0).stop is None


def test_the_decision_line_has_stop_and_target():
    strategy = Levels()
    candles = candles_of_closes([100.0] * 25)
    line = strategy.describe(evaluate_strategy(strategy, candles), -1, holding=False)
    assert line == "stop 99.0000, target 105.0"


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (np.ones(3), "returned stop of type float64 and shape (3,) for 25 candles"),
        (["a"] * 25, "returned stop of type <U1 and shape (25,)"),
        (np.full(25, -1.0), "gave the stop -1 on the candle 2024-01-01 00:00 UTC"),
        (np.full(25, np.inf), "gave the stop inf on the candle 2024-01-01 00:00 UTC"),
        (
            np.full(25, 100.0),
            "gave BUY with the stop 100 on the candle 2024-01-02 00:00 UTC, whose close is 100; "
            "give BUY only where the stop is below the close",
        ),
    ],
)
def test_an_invalid_stop_is_refused_in_one_line(stop: Any, text: str):
    class Wrong(Levels):
        def compute_stop(self, candles: Candles) -> Any:
            return stop

    with pytest.raises(ConfigurationError) as raised:
        evaluate_strategy(Wrong(), candles_of_closes([100.0] * 25))
    assert str(raised.value).startswith(f"strategy levels {text}")
    assert "\n" not in str(raised.value)


def test_a_target_that_is_not_above_the_close_of_a_buy_is_refused():
    class Wrong(Levels):
        def compute_target(self, candles: Candles) -> Any:
            return np.where(np.arange(len(candles)) == 22, candles.close, candles.close * 2)

    candles = candles_of_closes([100.0] * 25)
    evaluate_strategy(Wrong(), candles)
    with pytest.raises(ConfigurationError, match="target is above the close"):
        evaluate_by_segment(Wrong(), candles, {}, (Segment(),))


def test_a_stop_above_the_close_is_no_error_on_a_candle_without_a_buy():
    class Holds(Levels):
        def evaluate(self, candles: Candles, higher: Any) -> Signals:
            return replace(
                super().evaluate(candles, higher),
                signal=np.zeros(len(candles), np.int8),
                stop=candles.close * 1.1,
            )

    assert evaluate_by_segment(Holds(), CANDLES, {}, (Segment(),)).stop is not None


def test_a_mode_that_does_not_exist_is_refused():
    class Wrong(Levels):
        def evaluate(self, candles: Candles, higher: Any) -> Signals:
            mode: Any = "always"
            return replace(super().evaluate(candles, higher), stop_mode=mode)

    with pytest.raises(ConfigurationError, match="stop_mode 'always'; use 'at_entry' or"):
        evaluate_strategy(Wrong(), CANDLES)


def test_an_indicator_may_not_have_the_name_that_a_stop_is_stored_by():
    class Wrong(Levels):
        def evaluate(self, candles: Candles, higher: Any) -> Signals:
            return replace(
                super().evaluate(candles, higher), indicators={"stop at_entry": candles.close}
            )

    with pytest.raises(ConfigurationError, match="use another name"):
        evaluate_strategy(Wrong(), CANDLES)


def test_a_warm_up_after_a_gap_has_no_prices():
    segments = (Segment(), Segment(200, 260, (1, 2), "1h"))
    signals = evaluate_by_segment(Levels(), CANDLES, {}, segments)
    assert signals.stop is not None
    assert np.isnan(signals.stop[200:260]).all()
    assert np.isfinite(signals.stop[260:]).all()
    assert signals.stop_mode == "each_candle"


def check_of(made: type[Strategy]) -> CheckResult:
    data = CheckData(CANDLES)
    return check_strategy(made, data, choose_bars_to_check(data, whole=True))


def test_columns_that_depend_only_on_the_lookback_pass():
    assert check_of(Levels).is_clean


def test_the_check_finds_a_stop_that_looks_ahead():
    class Ahead(Levels):
        def compute_stop(self, candles: Candles) -> Any:
            lowest = super().compute_stop(candles)
            return np.append(lowest[1:], np.nan)

    result = check_of(Ahead)
    assert result.first is not None
    assert (result.first.kind, result.first.column) == ("look-ahead", "stop")
    assert result.look_ahead == result.first
    line = format_check_line(result)
    assert "look-ahead: all candles give the stop " in line
    assert "those up to the bar no stop: later candles change the past" in line
    document = make_check_document(result)
    assert document["first"]["column"] == "stop"
    assert document["first"]["prefix"] is None


def test_the_check_finds_a_target_whose_window_is_too_short():
    class Short(Levels):
        def compute_target(self, candles: Candles) -> Any:
            return candles.close + np.cumsum(candles.volume)

    result = check_of(Short)
    assert result.first is not None
    assert (result.first.kind, result.first.column) == ("warm-up", "target")
    assert result.first.index == 100
    assert len(result.differing) == 300


def test_the_check_finds_a_random_stop():
    class Chance(Levels):
        def compute_stop(self, candles: Candles) -> Any:
            return candles.close * np.random.default_rng().uniform(0.5, 0.9, len(candles))

    result = check_of(Chance)
    assert result.first is not None
    assert result.first.kind == "not repeatable"


def test_prices_that_differ_by_less_than_a_billionth_are_equal():
    class Rounded(Levels):
        def compute_stop(self, candles: Candles) -> Any:
            return super().compute_stop(candles) * (1 + 1e-12 * len(candles))

    assert check_of(Rounded).is_clean


def test_the_check_of_a_sample_examines_the_columns_too():
    class Ahead(Levels):
        def compute_stop(self, candles: Candles) -> Any:
            return np.full(len(candles), candles.low.min() * 0.9)

    data = CheckData(CANDLES)
    signals = evaluate_strategy(Ahead(), CANDLES)
    found = run_sample_check(Ahead, data, signals.signal, levels=signals.level_columns)
    assert found.first is not None
    assert (found.first.kind, found.first.column) == ("look-ahead", "stop")


def trend(df: Any, period: int = 30) -> Entries:
    lowest = df.low.rolling(period).min()
    rises = df.close > df.close.shift(1)
    return Entries(entry=rises, exit=~rises, stop=lowest * 0.99, stop_mode="each_candle")


def test_the_lookback_of_a_function_is_measured_by_its_stop_too():
    strategy = make_function_class(trend)()
    assert strategy.lookback == 30
    signals = evaluate_strategy(strategy, CANDLES)
    assert signals.stop is not None
    assert signals.stop_mode == "each_candle"


def test_a_strategy_file_of_a_user_may_have_levels(tmp_path: Path):
    from onetape.strategies import load_strategy

    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n\nfrom onetape.strategies.functions import Entries\n\n\n"
        "def mine(df, width: float = 0.02):\n"
        "    buys = df.close > df.open\n"
        "    return Entries(entry=buys, exit=~buys, stop=df.close * (1 - width))\n"
    )
    signals = evaluate_strategy(load_strategy(f"{path}:mine"), CANDLES)
    np.testing.assert_allclose(np.asarray(signals.stop), CANDLES.close * 0.98)
