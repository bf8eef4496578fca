"""Options of an optimization: sampler, ranking, constraints, processes and seed."""

from typing import Final

from msgspec import Struct

from onetape.core.errors import UsageError
from onetape.optimization.cluster.address import ClusterAddress
from onetape.optimization.constraints import Constraint
from onetape.optimization.user_metrics import UserMetric

#: Bounds of the out-of-sample part, as a fraction of the range.
MIN_PART: Final = 0.05
MAX_PART: Final = 0.9
#: Default number of closed trades that a combination needs to be ranked.
MIN_TRADES: Final = 20
#: Default number of trials that a sampler proposes together.
BATCH: Final = 32
#: Samplers: Onetape's own, and those of Optuna.
BUILT_IN_SAMPLERS: Final = ("grid", "random")
OPTUNA_SAMPLERS: Final = ("tpe", "cmaes", "nsga2", "qmc")
#: Maximum size of a grid; larger spaces need a sampler.
MAX_COMBINATIONS: Final = 100_000
#: Trials beyond which TPE takes longer to propose a combination than to evaluate it.
_MAX_TPE_TRIALS: Final = 5_000


class SearchOptions(Struct, frozen=True, kw_only=True):
    """Options of an optimization."""

    metrics: tuple[str, ...]
    """Metrics to rank by; several make a Pareto front."""
    processes: int
    """Number of worker processes."""
    out_of_sample: float = 0.3
    """Share of the range, at its end, that the ranking does not use."""
    sampler: str = "grid"
    """Sampler that proposes combinations."""
    trials: int | None = None
    """Number of combinations; None: the whole grid."""
    seed: int = 1
    """Random seed of the sampler and of the statistics."""
    batch: int = BATCH
    """Number of combinations that a sampler proposes together."""
    min_trades: int = MIN_TRADES
    """Closed trades in-sample that a combination needs to be ranked."""
    constraints: tuple[Constraint, ...] = ()
    """Conditions that a combination must meet."""
    user_metrics: tuple[UserMetric, ...] = ()
    """Metrics that are functions of the user, among `metrics`."""
    cluster: ClusterAddress | None = None
    """Scheduler whose workers evaluate; None: processes of this computer."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UsageError: an option is invalid.
        """
        check_out_of_sample(self.out_of_sample, "--out-of-sample")
        known = (*BUILT_IN_SAMPLERS, *OPTUNA_SAMPLERS)
        if self.sampler not in known:
            raise UsageError(f"--sampler must be one of {', '.join(known)}, found {self.sampler!r}")
        if self.sampler == "grid" and self.trials is not None:
            raise UsageError(
                "--trials is for a sampler: a grid takes every combination; add --sampler random"
            )
        if self.sampler != "grid" and self.trials is None:
            raise UsageError(f"--sampler {self.sampler} needs a number: --trials 1000")
        self._check_trials(self.trials or 1)

    def _check_trials(self, trials: int) -> None:
        max_trials = _MAX_TPE_TRIALS if self.sampler == "tpe" else MAX_COMBINATIONS
        if trials > max_trials:
            why = (
                "; tpe then takes longer to propose a combination than to evaluate it"
                if self.sampler == "tpe"
                else ""
            )
            raise UsageError(f"--trials {trials:,} is more than {max_trials:,}{why}")
        if len(self.metrics) > 1 and self.sampler == "cmaes":
            raise UsageError("--sampler cmaes takes one --rank; take nsga2 for several")

    @property
    def metric(self) -> str:
        """Return the first metric, by which tables are ordered."""
        return self.metrics[0]

    @property
    def is_random(self) -> bool:
        """Return whether a parameter may take any value between its bounds."""
        return self.sampler != "grid"


def check_out_of_sample(part: float, name: str) -> None:
    """Refuse a part that leaves too little on one side.

    Raises:
        UsageError: the part is out of bounds.
    """
    if not MIN_PART <= part <= MAX_PART:
        raise UsageError(f"{name} must be from {MIN_PART:g} to {MAX_PART:g}, found {part:g}")
