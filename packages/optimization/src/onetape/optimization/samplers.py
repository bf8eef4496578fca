"""Samplers, which propose combinations: the whole grid, seeded draws, or samplers of Optuna."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from onetape.optimization.ranking import TrialResult
from onetape.optimization.search_options import SearchOptions
from onetape.optimization.space import (
    ParameterRange,
    ParameterSet,
    iterate_grid_points,
    iterate_random_points,
)


class Sampler(Protocol):
    """Proposes combinations in batches, and may use the results of earlier batches."""

    def propose(self) -> list[ParameterSet]:
        """Return the next batch, in the order of the trials; empty at the end."""
        ...

    def add_results(self, results: Sequence[TrialResult | None]) -> None:
        """Add the results of the last batch, in its order, for later proposals.

        Args:
            results: Result of each combination; None: the combination was refused.
        """
        ...


def iterate_independent_points(
    ranges: tuple[ParameterRange, ...], options: SearchOptions
) -> Iterator[ParameterSet]:
    """Return the combinations of a grid or of random draws, which depend on no result.

    Raises:
        UsageError: a grid is too large.
    """
    if options.sampler == "random":
        return iterate_random_points(ranges, options.trials or 1, options.seed)
    return iterate_grid_points(ranges)


def make_sampler(ranges: tuple[ParameterRange, ...], options: SearchOptions) -> Sampler:
    """Return a sampler of Optuna.

    Raises:
        ConfigurationError: Optuna is not installed.
    """
    from onetape.optimization.optuna_sampler import OptunaSampler

    return OptunaSampler(ranges, options)
