"""The plan of an optimization: combinations to evaluate, refused ones, and the longest lookback."""

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

from onetape.core.defaults import DEFAULT_TIMEFRAME
from onetape.core.errors import OnetapeError, UsageError
from onetape.engine import AccountConfig
from onetape.optimization.account_parameters import (
    apply_account_parameters,
    select_strategy_parameters,
)
from onetape.optimization.constraints import Constraint
from onetape.optimization.folder import make_result_key
from onetape.optimization.ranking import TrialResult
from onetape.optimization.space import ParameterRange, ParameterSet, iterate_random_points
from onetape.strategies import Strategy, get_higher_lookback, get_lookback
from onetape.strategies.output_capture import stdout_to_stderr

#: Numbers of random combinations and of corners of the space from which the longest lookback is
#: found, if a sampler proposes combinations later.
_PROBES: Final = 200
_MAX_CORNERS: Final = 256
#: Number of refusals whose text is stored.
_MAX_REFUSALS: Final = 1_000


@dataclass(slots=True)
class SearchPlan:
    """Combinations that can be evaluated, in the order of the trials."""

    strategy: type[Strategy]
    """Class of the strategy."""
    ranges: tuple[ParameterRange, ...]
    """Values or bounds of each parameter."""
    constraints: tuple[Constraint, ...] = ()
    """Conditions that each combination must meet."""
    account: AccountConfig = field(default_factory=AccountConfig)
    """Rules of the account, for everything that a combination does not name."""
    timeframe: str = DEFAULT_TIMEFRAME
    """Timeframe of the traded candles, of which settings of a combination have whole numbers."""
    points: list[ParameterSet] = field(default_factory=list[ParameterSet])
    """Combinations to evaluate."""
    failed: list[TrialResult] = field(default_factory=list[TrialResult])
    """Combinations for which the strategy's own code raised an error when it was made."""
    invalid: int = 0
    """Number of combinations that a constraint or the strategy refuses, such as fast over slow."""
    repeated: int = 0
    """Number of proposals of a sampler that repeat an earlier one."""
    refusals: list[str] = field(default_factory=list[str])
    """Texts of the first refusals."""
    longest: Strategy | None = None
    """Strategy with the longest lookback."""
    longest_higher: Strategy | None = None
    """Strategy with the longest lookback over higher timeframes."""
    longest_sizing: AccountConfig | None = None
    """Rules whose sizing depends on the largest number of closes before an entry."""
    is_prepared: bool = False
    """Whether candles are loaded; combinations with a longer lookback are then refused."""
    _seen: set[str] = field(default_factory=set[str])
    """Keys of all proposals."""
    _keys: set[str] = field(default_factory=set[str])
    """Keys of the combinations in `points`."""

    def add(self, point: ParameterSet) -> bool:
        """Add a combination; return whether it can be evaluated and is new."""
        key = make_result_key(point)
        if key in self._seen:
            self.repeated += 1
            return False
        self._seen.add(key)
        broken = next((one for one in self.constraints if not one.is_met(point)), None)
        if broken is not None:
            self._refuse(f"{broken.text} is not met")
            return False
        try:
            with stdout_to_stderr():
                strategy = self.make_strategy(point)
            rules = apply_account_parameters(self.account, point, self.timeframe)
            lookback, higher = get_lookback(strategy), get_higher_lookback(strategy)
        except UsageError as error:
            self._refuse(str(error))
            return False
        except (Exception, SystemExit) as error:
            text = str(error) if isinstance(error, OnetapeError) else _format_error_with_type(error)
            self.failed.append({"parameters": point, "error": " ".join(text.split())})
            return False
        if not self._accept_lookback(strategy, rules, lookback, higher):
            return False
        self.points.append(point)
        self._keys.add(key)
        return True

    @property
    def longest_strategy(self) -> Strategy:
        """Return the strategy with the longest lookback; the plan must have a combination."""
        assert self.longest is not None  # noqa: S101 - a plan without a combination is refused
        return self.longest

    @property
    def closes_for_size(self) -> int:
        """Return the largest number of closes before an entry from which a size is computed."""
        rules = self.account if self.longest_sizing is None else self.longest_sizing
        return rules.closes_for_size

    def make_strategy(self, point: ParameterSet) -> Strategy:
        """Return the strategy with the parameters of a combination.

        Raises:
            UsageError: the strategy refuses them.
        """
        return self.strategy(**select_strategy_parameters(point))

    def has(self, point: ParameterSet) -> bool:
        """Return whether a combination can be evaluated and was added."""
        return make_result_key(point) in self._keys

    def probe_lookbacks(self, seed: int) -> None:
        """Find the longest lookback that a sampler's proposals may have, by corners and draws."""
        ends = [
            (each.values[0], each.values[-1]) if each.values else (each.lowest, each.highest)
            for each in self.ranges
        ]
        names = [each.name for each in self.ranges]
        corners = itertools.islice(itertools.product(*ends), _MAX_CORNERS)
        probes: list[dict[str, Any]] = [dict(zip(names, corner, strict=True)) for corner in corners]
        probes += itertools.islice(iterate_random_points(self.ranges, _PROBES, seed), _PROBES)
        inner = SearchPlan(
            self.strategy, self.ranges, self.constraints, self.account, self.timeframe
        )
        for point in probes:
            inner.add(point)
        self.longest, self.longest_higher = inner.longest, inner.longest_higher
        self.longest_sizing = inner.longest_sizing
        if not inner.points:
            inner.check_not_empty()

    def check_not_empty(self) -> None:
        """Refuse a plan without a combination.

        Raises:
            UsageError: no combination can be evaluated.
        """
        if not self.points:
            texts = self.refusals[-1:] + [one["error"] for one in self.failed[:1]]
            why = texts[0] if texts else "there is none"
            raise UsageError(f"no combination can be tried ({self.invalid:,} refused); last: {why}")

    def _accept_lookback(
        self, strategy: Strategy, rules: AccountConfig, lookback: int, higher: int
    ) -> bool:
        """Return whether enough candles are loaded for a combination; record the longest."""
        longest = -1 if self.longest is None else get_lookback(self.longest)
        longest_higher = (
            -1 if self.longest_higher is None else get_higher_lookback(self.longest_higher)
        )
        is_longer = lookback > longest or higher > longest_higher
        if self.is_prepared and (is_longer or rules.closes_for_size > self.closes_for_size):
            lookback = max(lookback, rules.closes_for_size)
            self._refuse(f"its lookback is {lookback:,} candles, more than were loaded")
            return False
        if lookback > longest:
            self.longest = strategy
        if higher > longest_higher:
            self.longest_higher = strategy
        if self.longest_sizing is None or rules.closes_for_size > self.closes_for_size:
            self.longest_sizing = rules
        return True

    def _refuse(self, why: str) -> None:
        self.invalid += 1
        if len(self.refusals) < _MAX_REFUSALS:
            self.refusals.append(why)


def _format_error_with_type(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
