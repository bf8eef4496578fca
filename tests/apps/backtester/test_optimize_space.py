"""Texts of parameter ranges, and the combinations that a search makes of them."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.candles import Candles
from onetape.core.errors import UsageError
from onetape.optimization.space import iterate_grid_points, iterate_random_points, make_ranges
from onetape.strategies import Signals, Strategy, parameter


@dataclass(frozen=True)
class AllParameterTypes(Strategy):
    """One parameter of each kind."""

    name: ClassVar[str] = "every"
    period: int = parameter(14, ge=2, le=500)
    width: float = parameter(2.0, ge=0.1, le=9.0)
    entry: str = parameter("below", choices=("below", "cross_up"))
    strict: bool = parameter(default=False)
    unbounded: float = parameter(1.5)

    @property
    def lookback(self) -> int:
        return 1

    def evaluate(self, candles: Candles, higher: object) -> Signals:
        raise NotImplementedError


def parse_values(name: str, text: str) -> tuple[object, ...]:
    """Return the values that a text gives a parameter in a grid."""
    others = {"period": "2,3"} if name != "period" else {"strict": "yes,no"}
    axes = make_ranges(AllParameterTypes, {name: text, **others}, is_random=False)
    return next(axis.values for axis in axes if axis.name == name)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("period", "5:20:5", (5, 10, 15, 20)),
        ("period", "5:19:5", (5, 10, 15)),
        ("period", "5:7", (5, 6, 7)),
        ("period", "20, 50,100", (20, 50, 100)),
        ("period", "20,20", (20,)),
        ("width", "0.1:0.5:0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("entry", "below,cross_up", ("below", "cross_up")),
        ("strict", "yes,no", (True, False)),
    ],
)
def test_a_text_of_values_and_ranges_is_parsed(
    name: str, text: str, expected: tuple[object, ...]
) -> None:
    assert parse_values(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("period", "5:"), ("period", "5:9:0"), ("period", "1:2:3:4"), ("period", "nan:5"),
        ("period", "5:9.5"), ("period", "1,2"), ("width", "0.5:2"), ("width", "nan"),
        ("entry", "above"), ("strict", "maybe"), ("unbounded", "0:1e9:0.001"),
    ],
)  # fmt: skip
def test_an_invalid_value_text_is_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        parse_values(name, text)


@given(low=st.integers(2, 200), step=st.integers(1, 50), count=st.integers(2, 6))
def test_a_range_includes_its_end(low: int, step: int, count: int) -> None:
    high = low + step * (count - 1)
    if high <= 500:
        assert parse_values("period", f"{low}:{high}:{step}") == tuple(range(low, high + 1, step))


def test_a_grid_has_every_combination_once() -> None:
    axes = make_ranges(AllParameterTypes, {"period": "5:7", "width": "1,2"}, is_random=False)
    points = [(point["period"], point["width"]) for point in iterate_grid_points(axes)]
    assert points == [(5, 1.0), (5, 2.0), (6, 1.0), (6, 2.0), (7, 1.0), (7, 2.0)]


def test_a_grid_that_is_too_large_is_refused() -> None:
    axes = make_ranges(
        AllParameterTypes, {"period": "2:500", "width": "0.1:9:0.01"}, is_random=False
    )
    with pytest.raises(UsageError, match="444,609 combinations"):
        next(iterate_grid_points(axes))


def test_a_random_search_draws_within_the_declared_bounds() -> None:
    axes = make_ranges(AllParameterTypes, {}, is_random=True)
    points = list(iterate_random_points(axes, 200, seed=3))
    assert all(2 <= point["period"] <= 500 and 0.1 <= point["width"] <= 9 for point in points)
    assert {point["entry"] for point in points} == {"below", "cross_up"}
    assert {point["unbounded"] for point in points} == {1.5}


def test_a_random_search_repeats_no_draw_and_exhausts_a_small_space() -> None:
    axes = make_ranges(
        AllParameterTypes,
        {"period": "5:6", "width": "1,2", "entry": "below", "strict": "no"},
        is_random=True,
    )
    points = [tuple(point.values()) for point in iterate_random_points(axes, 50, seed=1)]
    assert len(points) == len(set(points)) == 4


def test_another_seed_draws_other_combinations() -> None:
    axes = make_ranges(AllParameterTypes, {}, is_random=True)
    first, second = (next(iterate_random_points(axes, 1, seed)) for seed in (1, 2))
    assert first != second
