"""Neighbours of a combination, conditions between parameters, and the Pareto front."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.core.errors import UsageError
from onetape.optimization.constraints import parse_constraint
from onetape.optimization.neighbourhood import compute_neighbour_medians
from onetape.optimization.ranking import MinTrades, find_pareto_front, is_on_front
from onetape.optimization.verdict import Rung, Verdict


def make_result(fast: int, slow: int, sharpe: float | None) -> dict[str, object]:
    return {"parameters": {"fast": fast, "slow": slow}, "in_sample": {"sharpe": sharpe}}


def test_neighbours_are_one_step_away_in_one_parameter() -> None:
    grid = {(5, 20): 1.0, (5, 50): 2.0, (9, 20): 3.0, (9, 50): 4.0, (12, 20): None, (12, 50): 9.0}
    order = [make_result(*key, value) for key, value in grid.items()]
    assert compute_neighbour_medians(order, "sharpe") == [2.5, 2.5, 2.5, 3.0, 6.0, None]


def test_combinations_without_a_grid_have_no_neighbours() -> None:
    order = [make_result(1, 7, 1.0), make_result(2, 9, 2.0), make_result(3, 8, 3.0)]
    assert compute_neighbour_medians(order, "sharpe") == [None] * 3
    assert compute_neighbour_medians([], "sharpe") == []


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("fast < slow", True),
        ("fast * 4 < slow", False),
        ("1 < fast <= 5 < slow", True),
        ("slow / fast == 4", True),
        ("slow / (fast - 5) > 0", False),
        ("-fast > -slow", True),
        ("entry != 'below'", True),
    ],
)
def test_a_condition_compares_parameters(text: str, is_met: bool) -> None:
    values = {"fast": 5, "slow": 20, "entry": "cross_up"}
    constraint = parse_constraint(text)
    constraint.check_names(values)
    assert constraint.is_met(values) is is_met


@pytest.mark.parametrize("text", ["fast", "fast <", "fast() < 3", "fast < slow or 1", "[] < fast"])
def test_an_unsupported_expression_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must compare parameters and numbers"):
        parse_constraint(text)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_no_row_of_the_pareto_front_is_dominated_and_every_other_row_is(
    rows: list[tuple[int, int, int]],
) -> None:
    keys = np.array(rows, dtype=np.float64).reshape(-1, 3)
    front = is_on_front(keys, np.ones(len(keys), dtype=np.bool_))
    for number, row in enumerate(keys):
        dominated = bool(((keys <= row).all(axis=1) & (keys < row).any(axis=1)).any())
        assert front[number] == (not dominated)


def test_a_pareto_front_uses_combinations_with_enough_trades_and_both_metrics() -> None:
    rows = ((1.0, 50.0, 30), (2.0, 90.0, 30), (3.0, 10.0, 5), (None, 1.0, 30), (2.0, 95.0, 30))
    order = [
        {"in_sample": {"sharpe": sharpe, "fees": fees, "trades": trades}}
        for sharpe, fees, trades in rows
    ]
    # Lower fees are better.
    assert find_pareto_front(order, ("sharpe", "fees"), MinTrades(20)) == [0, 1]
    assert find_pareto_front(order, ("sharpe", "sharpe"), MinTrades(20)) == [1, 4]
    assert find_pareto_front(order, ("sharpe", "fees")) == [2]
    assert find_pareto_front([], ("sharpe", "fees")) == []


def make_rung(name: str, passed: bool | None) -> Rung:
    return Rung(name, passed, f"{name} fails", f"{name} number")


def test_a_verdict_names_the_first_rung_that_fails() -> None:
    verdict = Verdict(
        (make_rung("a", passed=True), make_rung("b", passed=None), make_rung("c", passed=False))
    )
    assert (verdict.passed, verdict.reached) == (False, 1)
    assert verdict.summary == "b fails (b number); 1 of 3 rungs"
    assert Verdict((make_rung("a", passed=True),)).summary.startswith("not rejected (a number)")
