"""Samplers of Optuna (TPE, CMA-ES, NSGA-II, quasi-random), by its `ask` and `tell`.

The study is in memory, because writing a trial to Optuna's storage takes longer than evaluating it.
A killed optimization resumes by proposing the same batches again: proposals depend only on the
seed, the number of the batch and the results of earlier batches.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from onetape.core.errors import ConfigurationError
from onetape.optimization.ranking import LOWER_IS_BETTER, TrialResult, get_metric_value
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.space import ParameterRange, ParameterSet, round_drawn_value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

#: Number of batches without a new combination after which the space counts as exhausted.
_MAX_EMPTY_BATCHES: Final = 8
#: Factor that separates the seeds of batches of two different seeds.
_BATCHES_PER_SEED: Final = 1_000_003


class OptunaSampler:
    """Proposes combinations by a sampler of Optuna."""

    def __init__(self, ranges: tuple[ParameterRange, ...], options: SearchOptions) -> None:
        """Create the study.

        Raises:
            ConfigurationError: Optuna is not installed.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import optuna
        except ImportError as error:
            raise ConfigurationError(
                f"--sampler {options.sampler} needs Optuna ({error}); install it: "
                "uv sync --extra optuna"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._options = options
        self._fixed = {one.name: one.values[0] for one in ranges if one.is_fixed}
        self._ranges = {one.name: one for one in ranges}
        self._distributions = {
            one.name: _make_distribution(one) for one in ranges if not one.is_fixed
        }
        directions = [
            "minimize" if metric in LOWER_IS_BETTER else "maximize" for metric in options.metrics
        ]
        self._study: Study = optuna.create_study(directions=directions)  # pyright: ignore[reportArgumentType] - texts are directions
        self._batch = 0
        self._empty = 0
        self._open_trials: list[Trial] = []
        self._seen: set[tuple[Any, ...]] = set()

    def propose(self) -> list[ParameterSet]:
        """Return the next batch; empty: several batches had no new combination."""
        if self._empty >= _MAX_EMPTY_BATCHES:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental features, and time without trials
            self._study.sampler = _make_batch_sampler(self._options, self._batch)
            self._open_trials = [
                self._study.ask(self._distributions) for _ in range(self._options.batch)
            ]
        self._batch += 1
        points = [self._make_parameter_set(trial) for trial in self._open_trials]
        values = {tuple(point.values()) for point in points}
        self._empty = 0 if values - self._seen else self._empty + 1
        self._seen |= values
        return points

    def add_results(self, results: Sequence[TrialResult | None]) -> None:
        """Add the metrics of the last batch to the study, in the order of the trials."""
        from optuna.trial import TrialState

        for trial, result in zip(self._open_trials, results, strict=True):
            values = self._collect_metric_values(result)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if values is None:
                    self._study.tell(trial, state=TrialState.FAIL)
                else:
                    self._study.tell(trial, values)

    def _make_parameter_set(self, trial: "Trial") -> ParameterSet:
        """Return the combination of a trial, in the order of the parameters."""
        drawn = {**self._fixed, **trial.params}
        return {name: round_drawn_value(one, drawn[name]) for name, one in self._ranges.items()}

    def _collect_metric_values(self, result: TrialResult | None) -> list[float] | None:
        """Return the metrics of a result; None where one is missing or trades are too few."""
        if result is None or "error" in result:
            return None
        if result["in_sample"]["trades"] < self._options.min_trades:
            return None
        found = [get_metric_value(result, "in_sample", metric) for metric in self._options.metrics]
        values = [one for one in found if one is not None]
        return values if len(values) == len(found) else None


def _make_batch_sampler(options: SearchOptions, batch: int) -> "BaseSampler":
    """Return the sampler of a batch, seeded by the seed and the number of the batch."""
    from optuna import samplers

    seed = (options.seed * _BATCHES_PER_SEED + batch) % (1 << 32)
    match options.sampler:
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=max(2, options.batch))
        case "qmc":
            # All batches share one sequence; the study stores the position in it.
            return samplers.QMCSampler(seed=options.seed % (1 << 32), scramble=True)
        case _:
            return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _make_distribution(one: ParameterRange) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not one.values:
        if one.is_whole:
            return IntDistribution(one.lowest, one.highest)
        return FloatDistribution(one.lowest, one.highest)
    steps = {
        later - earlier
        for earlier, later in zip(one.values, one.values[1:], strict=False)
        if type(earlier) is int and type(later) is int
    }
    if all(type(value) is int for value in one.values) and len(steps) == 1 and min(steps) > 0:
        return IntDistribution(one.values[0], one.values[-1], step=steps.pop())
    return CategoricalDistribution(one.values)
