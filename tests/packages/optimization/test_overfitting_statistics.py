"""CSCV, SPA, random timing and bootstraps distinguish skill from chance in simulated returns."""

import numpy as np
import pytest

from onetape.core.candles import FloatArray
from onetape.optimization.statistics.bootstrap import (
    compute_block_length,
    compute_bootstrap_intervals,
    compute_max_drawdowns,
    compute_shuffled_drawdowns,
    draw_stationary_indexes,
)
from onetape.optimization.statistics.cscv import compute_overfitting
from onetape.optimization.statistics.random_timing import TimedPositions, compute_random_timing
from onetape.optimization.statistics.superior_ability import compute_superior_ability


def make_noise(seed: int, periods: int, trials: int) -> FloatArray:
    """Return normal returns of trials without skill."""
    return np.random.default_rng(seed).normal(0.0, 0.01, (periods, trials))


def test_the_cscv_probability_of_trials_without_skill_is_about_one_half() -> None:
    found = [compute_overfitting(make_noise(seed, 256, 20)) for seed in range(12)]
    shares = [one.probability for one in found if one is not None]
    assert found[0] is not None
    assert found[0].splits == 12_870
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)


def test_the_cscv_probability_with_one_skilled_trial_is_close_to_0() -> None:
    returns = make_noise(1, 512, 20)
    returns[:, 7] += 0.004
    found = compute_overfitting(returns)
    assert found is not None
    assert (found.probability, found.probability_of_loss) == (0.0, 0.0)


def test_losing_trials_that_differ_in_costs_have_a_low_cscv_probability() -> None:
    market = make_noise(2, 512, 1)
    costs = np.linspace(0.002, 0.01, 50)
    found = compute_overfitting(market + make_noise(3, 512, 50) * 0.05 - costs)
    assert found is not None
    assert found.probability < 0.05
    assert found.probability_of_loss > 0.95


@pytest.mark.parametrize("shape", [(256, 1), (31, 5)])
def test_cscv_needs_two_trials_and_two_periods_per_block(shape: tuple[int, int]) -> None:
    assert compute_overfitting(make_noise(1, *shape)) is None


def test_equal_trials_have_a_middle_rank() -> None:
    found = compute_overfitting(np.repeat(make_noise(4, 64, 1), 5, axis=1), blocks=8)
    assert found is not None
    assert found.probability == 1.0  # on every processor: equal columns are computed once


def test_p_values_are_uniform_where_all_models_equal_the_benchmark() -> None:
    values: list[float] = []
    for seed in range(120):
        returns = make_noise(1_000 + seed, 400, 8)
        found = compute_superior_ability(returns, np.zeros(400), "cash", seed, resamples=199)
        assert found is not None
        assert found.lower <= found.consistent <= found.upper
        values.append(found.consistent)
    distance = np.abs(np.sort(values) - np.linspace(0.0, 1.0, len(values))).max()
    # 1.63 / sqrt(120): the 1 % point of Kolmogorov's statistic.
    assert distance < 0.149
    assert np.mean(np.array(values) <= 0.05) <= 0.09


@pytest.mark.parametrize(
    ("seed", "lower", "consistent", "upper"),
    # Of the package arch 8, class SPA, stationary bootstrap with blocks of 6 and 2,000 resamples.
    [(1, 0.2335, 0.309, 0.338), (2, 0.111, 0.172, 0.184), (4, 0.0285, 0.0365, 0.041)],
)
def test_p_values_equal_those_of_another_implementation(
    seed: int, lower: float, consistent: float, upper: float
) -> None:
    returns = np.random.default_rng(seed).normal(0.0003 * (seed % 3), 0.01, (300, 8))
    returns[:, 1] -= 0.003
    found = compute_superior_ability(returns, np.zeros(300), "cash", seed, resamples=2_000)
    assert found is not None
    assert (found.lower, found.consistent, found.upper) == pytest.approx(
        (lower, consistent, upper), abs=0.05
    )


def test_a_skilled_model_is_superior_even_among_poor_models() -> None:
    returns = make_noise(5, 500, 30) - 0.002
    returns[:, 3] += 0.004
    found = compute_superior_ability(returns, np.zeros(500), "cash", seed=1, resamples=300)
    assert found is not None
    assert found.consistent < 0.02
    assert (found.benchmark, found.trials) == ("cash", 30)


def test_spa_needs_a_model_that_differs_from_the_benchmark() -> None:
    assert compute_superior_ability(np.zeros((50, 3)), np.zeros(50), "cash", seed=1) is None


def make_positions(generator: np.random.Generator, bars: int, share: float = 0.02) -> FloatArray:
    """Return weights of 0 and 1 that change at random."""
    return (np.cumsum(generator.random(bars) < share) % 2).astype(np.float64)


def compute_costs(weights: FloatArray, rate: float = 0.001) -> FloatArray:
    """Return the cost of each change of a position."""
    return rate * np.abs(np.diff(weights, prepend=0.0))


def test_shifted_sharpe_ratios_equal_those_of_rolled_positions() -> None:
    generator = np.random.default_rng(3)
    market = generator.normal(0.0, 0.01, 200)
    trials = [make_positions(generator, 200, 0.1) for _ in range(3)]
    found = compute_random_timing(
        market, [TimedPositions(one, compute_costs(one)) for one in trials]
    )
    assert found is not None

    def sharpe(weights: FloatArray, shift: int) -> float:
        returns = np.roll(weights, shift) * market - np.roll(compute_costs(weights), shift)
        return float(returns.mean() / returns.std())

    best = [max(sharpe(one, shift) for one in trials) for shift in range(200)]
    others = best[2:199]
    assert found.sharpe == pytest.approx(best[0])
    assert found.shifts == len(others)
    assert found.median_shifted == pytest.approx(sorted(others)[len(others) // 2])
    reached = sum(one >= best[0] for one in others)
    assert found.p_value == pytest.approx((1 + reached) / (1 + len(others)))


def test_random_positions_have_uniform_p_values_and_so_has_the_best_of_many() -> None:
    values: list[float] = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        market = generator.normal(0.0002, 0.01, 600)
        weights = [make_positions(generator, 600) for _ in range(6)]
        found = compute_random_timing(
            market, [TimedPositions(one, compute_costs(one)) for one in weights]
        )
        assert found is not None
        values.append(found.p_value)
    distance = np.abs(np.sort(values) - np.linspace(0.0, 1.0, len(values))).max()
    assert distance < 0.115
    assert np.mean(np.array(values) <= 0.05) <= 0.1


def test_positions_that_avoid_losses_are_better_than_shifted_ones() -> None:
    generator = np.random.default_rng(9)
    market = generator.normal(0.0, 0.01, 1_000)
    skilled = (market > -0.005).astype(np.float64)
    found = compute_random_timing(market, [TimedPositions(skilled, compute_costs(skilled))])
    assert found is not None
    assert found.p_value < 0.01


@pytest.mark.parametrize(("bars", "trials"), [(99, 1), (200, 0)])
def test_random_timing_needs_a_trial_and_100_bars(bars: int, trials: int) -> None:
    one = TimedPositions(np.ones(bars), np.zeros(bars))
    assert compute_random_timing(np.zeros(bars), [one] * trials) is None


def test_bootstrap_blocks_are_consecutive_and_have_the_mean_length() -> None:
    generator = np.random.default_rng(1)
    drawn = draw_stationary_indexes(500, 200, 8.0, generator)
    goes_on = (drawn[:, 1:] == (drawn[:, :-1] + 1) % 500).mean()
    assert goes_on == pytest.approx(1 - 1 / 8, abs=0.01)
    assert (drawn.min(), drawn.max()) == (0, 499)
    assert compute_block_length(1_000) == pytest.approx(10.0)


def compute_drawdown(returns: FloatArray) -> float:
    """Return the maximum drawdown of the equity of returns."""
    equity = np.cumprod(1.0 + returns, dtype=np.float64)
    return float(compute_max_drawdowns(equity[None])[0])


def test_intervals_contain_the_value_of_the_run_and_are_repeatable() -> None:
    returns = make_noise(6, 400, 1)[:, 0] + 0.001
    first, second = (
        compute_bootstrap_intervals(returns, seed=4),
        compute_bootstrap_intervals(returns, seed=4),
    )
    assert first is not None
    assert first == second
    assert first.sharpe.low < returns.mean() / returns.std(ddof=1) < first.sharpe.high
    assert first.total_return.low < np.prod(1 + returns) - 1 < first.total_return.high
    drawdown = compute_drawdown(returns)
    assert first.max_drawdown.low < drawdown < first.max_drawdown.high <= 0.0


def test_shuffled_trades_have_the_same_total_and_another_drawdown() -> None:
    trades = np.array([0.05, -0.04] * 20)
    found = compute_shuffled_drawdowns(trades, seed=2)
    assert found is not None
    in_order = compute_drawdown(trades)
    assert found.high < in_order
    assert found.low >= 0.96**20 - 1.0


@pytest.mark.parametrize("count", [0, 9])
def test_too_few_returns_have_no_interval(count: int) -> None:
    few = np.full(count, 0.01)
    assert compute_bootstrap_intervals(few, seed=1) is None
    assert compute_shuffled_drawdowns(few, seed=1) is None
