"""The order of combinations, and how stable it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.optimization.ranking import (
    MinTrades,
    compute_rank_stability,
    compute_spearman,
    list_rank_metrics,
    parse_metric_name,
    rank_results,
)


def make_combination(in_sample: float | None, out_of_sample: float | None) -> dict[str, object]:
    """Return a combination with these values of the metrics."""
    return {
        "in_sample": {"sharpe": in_sample, "fees": in_sample},
        "out_of_sample": {"sharpe": out_of_sample, "fees": out_of_sample},
    }


def test_combinations_without_the_metric_rank_last_and_ties_keep_their_order() -> None:
    results = [
        make_combination(None, 1.0),
        make_combination(2.0, 1.0),
        make_combination(3.0, 0.0),
        make_combination(2.0, 5.0),
    ]
    assert rank_results(results, "sharpe") == [results[2], results[1], results[3], results[0]]


def make_traded_combination(
    sharpe: float, trades: int, out_of_sample: int = 50
) -> dict[str, object]:
    """Return a combination with these numbers of closed trades in-sample and out-of-sample."""
    return {
        "in_sample": {"sharpe": sharpe, "trades": trades},
        "out_of_sample": {"sharpe": sharpe / 2, "trades": out_of_sample},
    }


def test_combinations_with_few_trades_rank_after_all_others_best_first() -> None:
    results = [
        make_traded_combination(9.0, 7),
        make_traded_combination(1.0, 20),
        make_traded_combination(12.0, 19),
        make_traded_combination(2.0, 300),
    ]
    order = rank_results(results, "sharpe", MinTrades(20, 9))
    assert order == [results[3], results[1], results[2], results[0]]


def test_without_a_minimum_number_of_trades_every_combination_is_ranked() -> None:
    results = [make_traded_combination(9.0, 0), make_traded_combination(1.0, 20)]
    assert rank_results(results, "sharpe", MinTrades.from_parts(0, 700, 300)) == results


def test_the_rank_correlation_leaves_out_combinations_with_few_trades_in_either_part() -> None:
    least = MinTrades.from_parts(20, 700, 300)
    assert least == MinTrades(20, 9)
    enough = [
        make_traded_combination(float(number), 20 + number, 9 + number) for number in range(4)
    ]
    wild = [make_traded_combination(99.0, 40, 8), make_traded_combination(-99.0, 19, 40)]
    stability = compute_rank_stability(
        rank_results([*enough, *wild], "sharpe", least), "sharpe", least
    )
    assert (stability.ranked, stability.compared, stability.rank_correlation) == (
        5,
        4,
        pytest.approx(1.0),
    )


def test_two_combinations_with_enough_trades_have_no_rank_correlation() -> None:
    least = MinTrades(20, 9)
    results = [
        make_traded_combination(3.0, 20),
        make_traded_combination(2.0, 20),
        *(make_traded_combination(float(one), 7) for one in range(30)),
    ]
    stability = compute_rank_stability(rank_results(results, "sharpe", least), "sharpe", least)
    assert (stability.compared, stability.rank_correlation) == (2, None)


def test_a_combination_with_few_trades_is_never_the_best() -> None:
    stability = compute_rank_stability(
        [make_traded_combination(9.0, 7)], "sharpe", MinTrades(20, 9)
    )
    assert (stability.ranked, stability.best_in_sample, stability.median_out_of_sample) == (
        0,
        None,
        None,
    )


def test_lower_fees_rank_better() -> None:
    results = [make_combination(3.0, 1.0), make_combination(2.0, 1.0)]
    assert rank_results(results, "fees") == [results[1], results[0]]


def test_rank_stability_has_the_out_of_sample_rank_of_the_best() -> None:
    order = rank_results(
        [make_combination(3.0, 1.0), make_combination(2.0, 4.0), make_combination(1.0, 2.0)],
        "sharpe",
    )
    stability = compute_rank_stability(order, "sharpe")
    assert (stability.best_in_sample, stability.best_out_of_sample) == (3.0, 1.0)
    assert (stability.best_out_of_sample_rank, stability.median_out_of_sample) == (3, 2.0)


def test_the_best_combination_may_have_no_out_of_sample_metric() -> None:
    stability = compute_rank_stability([make_combination(3.0, None)], "sharpe")
    assert (
        stability.best_out_of_sample,
        stability.best_out_of_sample_rank,
        stability.rank_correlation,
    ) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # Ties, by hand: ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
        ([1, 5, 5, 9], [2, 3, 4, 5], 4.5 / np.sqrt(4.5 * 5.0)),
    ],
)
def test_rank_correlation_is_spearmans(
    first: list[float], second: list[float], expected: float
) -> None:
    found = compute_spearman(np.array(first, float), np.array(second, float))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 1.0]])
def test_too_few_or_equal_values_have_no_rank_correlation(values: list[float]) -> None:
    assert compute_spearman(np.array(values), np.array(values)) is None


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=20))
def test_rank_correlation_does_not_depend_on_the_scale(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column, float) for column in zip(*pairs, strict=True))
    plain, stretched = compute_spearman(first, second), compute_spearman(first**3, second * 2 + 1)
    assert plain == (None if stretched is None else pytest.approx(stretched, abs=1e-9))


def test_every_numeric_metric_can_rank() -> None:
    assert {"sharpe", "total_return", "max_drawdown", "trades"} <= set(list_rank_metrics())
    assert "buy_and_hold" not in list_rank_metrics()


@pytest.mark.parametrize("name", ["total_return", "return", "Return", "total-return"])
def test_a_metric_may_be_named_by_its_field_or_its_label(name: str) -> None:
    assert parse_metric_name(name) == "total_return"
