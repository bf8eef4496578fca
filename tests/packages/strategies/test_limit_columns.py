"""The limit column of a strategy: what is refused, and what the bias check proves."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.core.candles import Candles
from onetape.core.errors import ConfigurationError
from onetape.strategies import Signals, Strategy, evaluate_strategy, indicators
from onetape.strategies.check_data import CheckData
from onetape.strategies.check_result import CheckResult
from onetape.strategies.functions import Entries, make_function_class, strategy_function
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.segments import (
    IndexedGap,
    Segment,
    UnexplainedGaps,
    end_limits_at_gaps,
    evaluate_by_segment,
)
from onetape.strategies.testing import candles_of_closes, random_candles

CANDLES = random_candles(400, seed=7)


@dataclass(frozen=True)
class Limits(Strategy):
    """Buys each candle at a limit that a subclass computes."""

    name: ClassVar[str] = "limits"

    @property
    def lookback(self) -> int:
        return 20

    @property
    def limit_expiry_candles(self) -> Any:
        return 3

    def compute_limit(self, candles: Candles) -> Any:
        return indicators.lowest(candles.low, 20) * 0.99

    def evaluate(self, candles: Candles, higher: Any) -> Signals:
        return Signals(np.ones(len(candles), np.int8), limit=self.compute_limit(candles))


def test_the_column_is_returned_with_the_expiry_of_the_strategy():
    columns = evaluate_strategy(Limits(), CANDLES).level_columns
    assert columns is not None
    assert not columns.has_exits
    row = columns.get_row(-1)
    assert (row.limit, row.expiry_candles) == (pytest.approx(CANDLES.low[-20:].min() * 0.99), 3)
    assert columns.get_row(0).limit is None


def test_the_line_of_the_trader_has_the_limit():
    strategy = Limits()
    signals = evaluate_strategy(strategy, candles_of_closes([100.0] * 25))
    assert strategy.describe(signals, -1, holding=False) == "limit 99.0000"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (np.ones(3), "returned limit of type float64 and shape (3,) for 25 candles"),
        (np.full(25, 0.0), "gave the limit 0 on the candle 2024-01-01 00:00 UTC"),
        (np.full(25, np.inf), "gave the limit inf on the candle 2024-01-01 00:00 UTC"),
    ],
)
def test_a_limit_that_is_none_is_refused_in_one_line(limit: Any, text: str):
    class Wrong(Limits):
        def compute_limit(self, candles: Candles) -> Any:
            return limit

    with pytest.raises(ConfigurationError) as raised:
        evaluate_strategy(Wrong(), candles_of_closes([100.0] * 25))
    assert str(raised.value).startswith(f"strategy limits {text}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("expiry", [None, 0, 2.5, True, "3"])
def test_a_limit_without_an_expiry_in_candles_is_refused(expiry: Any):
    class Wrong(Limits):
        @property
        def limit_expiry_candles(self) -> Any:
            return expiry

    with pytest.raises(ConfigurationError, match="its limit_expiry_candles is ") as raised:
        evaluate_strategy(Wrong(), CANDLES)
    assert "let limit_expiry_candles return the number of candles" in str(raised.value)


@pytest.mark.parametrize(("stop", "target"), [(98.0, None), (None, 98.0)])
def test_stop_and_target_of_a_buy_are_compared_with_its_limit(
    stop: float | None, target: float | None
):
    class Both(Limits):
        def compute_limit(self, candles: Candles) -> Any:
            return np.full(len(candles), 97.0 if stop else 99.0)

        def evaluate(self, candles: Candles, higher: Any) -> Signals:
            count = len(candles)
            return replace(
                super().evaluate(candles, higher),
                stop=None if stop is None else np.full(count, stop),
                target=None if target is None else np.full(count, target),
            )

    with pytest.raises(ConfigurationError, match=r"whose limit is 9[79]; give BUY only where"):
        evaluate_strategy(Both(), candles_of_closes([100.0] * 25))


def test_an_indicator_may_not_have_the_name_that_a_limit_is_stored_by():
    class Wrong(Limits):
        def evaluate(self, candles: Candles, higher: Any) -> Signals:
            found = super().evaluate(candles, higher)
            return replace(found, indicators={"limit 3_candles": candles.close})

    with pytest.raises(ConfigurationError, match="use another name"):
        evaluate_strategy(Wrong(), CANDLES)


def test_a_warm_up_after_a_gap_has_no_limits():
    segments = (Segment(), Segment(200, 260, (1, 2), "1h"))
    signals = evaluate_by_segment(Limits(), CANDLES, {}, segments)
    assert signals.limit is not None
    assert np.isnan(signals.limit[200:260]).all()
    assert np.isfinite(signals.limit[260:]).all()
    assert signals.limit_expiry_candles == 3


def test_an_open_order_ends_before_an_unexplained_gap():
    columns = evaluate_strategy(Limits(), CANDLES).level_columns
    gaps = UnexplainedGaps((IndexedGap(0, 1, 200), IndexedGap(2, 3, 300)))
    found = end_limits_at_gaps(columns, gaps)
    assert found is not None
    assert found.after_gaps == (200, 300)


def check_of(made: type[Strategy]) -> CheckResult:
    data = CheckData(CANDLES)
    return check_strategy(made, data, choose_bars_to_check(data, whole=True))


def test_a_limit_that_depends_on_the_lookback_alone_passes():
    assert check_of(Limits).is_clean


def test_the_check_finds_a_limit_that_looks_ahead():
    class Ahead(Limits):
        def compute_limit(self, candles: Candles) -> Any:
            return np.append(candles.low[1:], np.nan) * 0.99

    result = check_of(Ahead)
    assert result.first is not None
    assert (result.first.kind, result.first.column) == ("look-ahead", "limit")


def test_the_check_finds_a_limit_whose_window_is_too_short():
    class Short(Limits):
        def compute_limit(self, candles: Candles) -> Any:
            return candles.close + np.cumsum(candles.volume)

    result = check_of(Short)
    assert result.first is not None
    assert (result.first.kind, result.first.column) == ("warm-up", "limit")


@strategy_function(limit_expiry_candles=2)
def bid(df: Any, period: int = 30) -> Entries:
    falls = df.close < df.close.shift(1)
    return Entries(entry=falls, exit=~falls, limit=df.low.rolling(period).min())


def test_a_function_declares_its_expiry_and_is_measured_by_its_limit_too():
    strategy = make_function_class(bid)()
    assert strategy.lookback == 30
    signals = evaluate_strategy(strategy, CANDLES)
    assert signals.limit is not None
    assert signals.limit_expiry_candles == 2
