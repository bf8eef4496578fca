"""Planning and evaluation for `ot.optimize` and `ot.walk_forward`.

Combinations are given as Python values, candles as DataFrames or stored candles.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.arguments import make_strategy_choice
from onetape.backtest.inputs import make_config, read_inputs
from onetape.backtest.parallel import WorkerPool
from onetape.core.errors import ConfigurationError, UsageError
from onetape.engine import AccountConfig
from onetape.engine.account_config import TradingRulesSource
from onetape.optimization.evaluate import Job, SearchContext
from onetape.optimization.folder import ResultsInMemory
from onetape.optimization.ranking import TrialResult
from onetape.optimization.samplers import make_sampler
from onetape.optimization.search_options import BUILT_IN_SAMPLERS, MAX_COMBINATIONS, SearchOptions
from onetape.optimization.search_plan import SearchPlan
from onetape.optimization.space import ParameterRange, iterate_random_points
from onetape.optimization.trial_loop import OptimizationDisplay, TrialLoop
from onetape.strategies import Strategy
from onetape.strategies.parameters import convert_parameters
from onetape.strategies.segments import UnexplainedGaps

if TYPE_CHECKING:
    from onetape.backtest.inputs import CandlesLike


class FrameOptions(Struct, frozen=True):
    """Range, account and market of the backtests."""

    start: Any
    """Start of the range, as the user gave it; None: the first candle."""
    end: Any
    """End of the range, exclusive, as the user gave it; None: the last candle."""
    account: AccountConfig
    """Settings of the account."""
    trading_rules: TradingRulesSource
    """Source of price steps, amount steps and minimums."""
    allow_gaps: bool
    """Whether a range with unexplained gaps is allowed."""
    risk_free_rate: float = 0.0
    """Risk-free rate per year in the Sharpe and Sortino ratios, as a ratio."""


def load_context(candles: "CandlesLike", plan: SearchPlan, given: FrameOptions) -> SearchContext:
    """Return candles and rules of the combinations; the whole range is in-sample.

    Raises:
        UsageError: an argument is invalid, or there are several symbols.
        OnetapeError: as for a backtest.
    """
    longest_strategy = plan.longest_strategy
    config, frames = make_config(
        candles,
        make_strategy_choice(longest_strategy, None),
        start=given.start,
        end=given.end,
        account=given.account,
        trading_rules=given.trading_rules,
        risk_free_rate=given.risk_free_rate,
        allow_gaps=given.allow_gaps,
        check=False,
    )
    if len(config.symbols) > 1:
        raise UsageError("optimize takes one symbol")
    source = read_inputs(config, frames, longest_strategy)[0]
    window = source.window
    return SearchContext(
        window,
        len(window.candles) - window.warm_up,
        replace(config.account, trading_rules=source.trading_rules),
        source.higher.candles,
        None,
        config.account.closes_for_size,
        UnexplainedGaps(window.gaps, source.higher.gaps),
        source.has_volume,
        config.risk_free_rate,
    )


def plan_values(
    cls: type[Strategy], params: Mapping[str, Iterable[Any]], options: SearchOptions
) -> SearchPlan:
    """Return the combinations, converted to the types of the parameters.

    Raises:
        UsageError: there are no values, too many combinations, or none that can be evaluated.
    """
    values = {
        name: [given] if isinstance(given, str | int | float | bool) else list(given)
        for name, given in params.items()
    }
    empty = next((name for name, given in values.items() if not given), None)
    if empty is not None or not values:
        raise UsageError(f"params needs values to try{f' of {empty}' if empty else ''}")
    count = 1
    for given in values.values():
        count *= len(given)
    if options.sampler == "grid" and count > MAX_COMBINATIONS:
        raise UsageError(f"{count:,} combinations are more than {MAX_COMBINATIONS:,}")
    converted = {
        name: tuple(dict.fromkeys(convert_parameters(cls, {name: one})[name] for one in given))
        for name, given in values.items()
    }
    ranges = tuple(ParameterRange(name, given) for name, given in converted.items())
    plan = SearchPlan(cls, ranges)
    if options.sampler not in BUILT_IN_SAMPLERS:
        plan.probe_lookbacks(options.seed)
        return plan
    if options.sampler == "random":
        points = iterate_random_points(ranges, options.trials or 1, options.seed)
    else:
        products = itertools.product(*converted.values())
        points = (dict(zip(converted, one, strict=True)) for one in products)
    for point in points:
        plan.add(point)
        if len(plan.points) == options.trials:
            break
    plan.check_not_empty()
    return plan


def evaluate_values(
    plan: SearchPlan, options: SearchOptions, work: Callable[[Job], bytes]
) -> list[TrialResult]:
    """Return the results in the order of the trials, at least one of them without an error.

    Raises:
        ConfigurationError: no combination gives a result.
    """
    plan.is_prepared = True
    is_built_in = options.sampler in BUILT_IN_SAMPLERS
    sampler = None if is_built_in else make_sampler(plan.ranges, options)
    results = ResultsInMemory()
    trials = TrialLoop(plan, sampler, results, lambda _: None, options.trials)
    missing = trials.prepare()
    processes = max(1, min(options.processes, missing)) if is_built_in else options.processes
    with WorkerPool(work, processes) as pool:
        trials.run(pool, OptimizationDisplay(_show_nothing, _show_nothing))
    found: list[TrialResult] = [results.get_result(point) for point in plan.points]
    if all("error" in one for one in found):
        raise ConfigurationError(
            f"no combination gave a result; first: {describe_failures(plan, found)[0]}"
        )
    return found


def describe_failures(plan: SearchPlan, found: Sequence[TrialResult]) -> list[str]:
    """Return the reasons why combinations have no result, one sentence each."""
    failed = [one["error"] for one in [*plan.failed, *found] if "error" in one]
    return plan.refusals + failed


def _show_nothing(value: object) -> None:
    """Show no progress."""
