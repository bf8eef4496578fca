"""Optimization in Python: combinations of parameters over candles, as a DataFrame of results."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from onetape.backtest.arguments import Account, Exits, StrategyLike, account_of, choice_of, class_of
from onetape.backtest.inputs import config_of, read_inputs
from onetape.backtest.parallel import WorkerPool, count_processors
from onetape.core.errors import ConfigurationError, DataError, UsageError
from onetape.core.words import counted
from onetape.engine.account_config import MarketKind
from onetape.optimization.evaluate import Evaluator, SearchContext, in_sample_candles
from onetape.optimization.folder import MemoryResults
from onetape.optimization.judge import Judgement, judge
from onetape.optimization.loop import Display, Trials
from onetape.optimization.options import (
    MOST_COMBINATIONS,
    OWN_SAMPLERS,
    SearchOptions,
    check_out_of_sample,
)
from onetape.optimization.plan import SearchPlan
from onetape.optimization.ranking import LeastTrades, TrialResult, checked_metric, ranked
from onetape.optimization.samplers import make_sampler
from onetape.optimization.space import ParameterRange, random_points
from onetape.strategies import Strategy
from onetape.strategies.parameters import converted_parameters
from onetape.strategies.segments import Holes

if TYPE_CHECKING:
    import pandas as pd

    from onetape.backtest.inputs import CandlesLike

#: Metrics in the representation, after the one that ranks.
_SHOWN: Final = ("total_return", "max_drawdown", "trades")


class OptimizationResult:
    """Result of an optimization over one symbol."""

    def __init__(
        self,
        results: "pd.DataFrame",
        rank: str,
        failures: list[str],
        judgement: Judgement | None = None,
    ) -> None:
        """Take the results.

        Args:
            results: One row per combination, best first.
            rank: Metric that ranks.
            failures: Why combinations gave no result, one sentence each.
            judgement: Statistics and verdict of the best; None where none is ranked.
        """
        self.results = results
        self.rank = rank
        self.failures = failures
        self.judgement = judgement

    @property
    def verdict(self) -> str:
        """Verdict on the best combination, in one line."""
        if self.judgement is None:
            return "no combination has enough trades to be judged"
        return self.judgement.verdict.summary

    @property
    def best(self) -> dict[str, Any]:
        """Parameters of the best ranked combination.

        Raises:
            DataError: no combination has enough trades to be ranked.
        """
        ranked_rows = self.results[self.results["ranked"]]
        if not len(ranked_rows):
            raise DataError("no combination has enough trades; lower min_trades")
        first: Any = ranked_rows.iloc[:1].to_dict("records")[0]
        return {name: first[name] for name in self.results.attrs["parameters"]}

    def __repr__(self) -> str:
        """Return the first rows, and that the best of many is luck in part."""
        names = self.results.attrs["parameters"]
        columns = [self.rank, *(name for name in _SHOWN if name != self.rank)]
        shown = [*names, *(f"{part}_{one}" for one in columns for part in ("in", "out"))]
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        return (
            f"{counted(len(self.results), 'combination')}{failed}, ranked in-sample by {self.rank} "
            f"(the best of many is luck in part)\n{self.results[shown].head(10)}\n"
            f"verdict: {self.verdict}"
        )


def optimize(
    strategy: StrategyLike,
    candles: "CandlesLike",
    params: Mapping[str, Iterable[Any]],
    *,
    rank: str | Sequence[str] = "sharpe",
    out_of_sample: float = 0.3,
    min_trades: int = 20,
    sampler: str = "grid",
    trials: int | None = None,
    seed: int = 1,
    earlier_trials: int = 0,
    start: Any = None,
    end: Any = None,
    account: Account | None = None,
    exits: Exits | None = None,
    market: MarketKind = "exchange",
    allow_gaps: bool = False,
    jobs: int | None = None,
) -> OptimizationResult:
    """Try combinations of parameters, rank them on the first part of the range, judge the best.

    Args:
        strategy: As for `backtest`.
        candles: As for `backtest`; one symbol.
        params: Values to try by parameter, such as `{"period": range(10, 60, 5)}`.
        rank: Metric to rank by, docs/metrics.md; several make a Pareto front.
        out_of_sample: Part of the range, its end, that the ranking does not use; 0.05 to 0.9.
        min_trades: Closed trades that a combination needs in-sample to be ranked.
        sampler: `grid` tries every combination; `random`, and with the extra `optuna` `tpe`,
            `cmaes`, `nsga2` and `qmc`, propose some of them.
        trials: Combinations that a sampler proposes.
        seed: Random seed of the sampler and of the statistics.
        earlier_trials: Trials that you made on this market before; they count in the verdict.
        start: First day or moment, UTC; None: all candles.
        end: End of the range, exclusive, UTC; None: all candles.
        account: As for `backtest`.
        exits: As for `backtest`.
        market: As for `backtest`.
        allow_gaps: As for `backtest`.
        jobs: Processes; None: as many as processors.

    Returns:
        `.results` has one row per combination, best first: the parameters, `ranked`, and each
        metric of the in-sample (`in_sharpe`) and the out-of-sample part (`out_sharpe`).
        `.verdict` says in one line what is left of the best.

    Raises:
        UsageError: an argument is invalid.
        ConfigurationError: no combination gives a result, or Optuna is not installed.
        OnetapeError: as for a backtest.
    """
    names = (rank,) if isinstance(rank, str) else tuple(rank)
    check_out_of_sample(out_of_sample, "out_of_sample")
    options = SearchOptions(
        metrics=tuple(checked_metric(name) for name in names),
        processes=jobs or count_processors(),
        out_of_sample=out_of_sample,
        sampler=sampler,
        trials=trials,
        seed=seed,
        min_trades=min_trades,
    )
    cls = class_of(strategy)
    plan = _plan(cls, params, options)
    furthest = plan.furthest
    config, frames = config_of(
        candles,
        choice_of(furthest, None),
        start=start,
        end=end,
        account=account_of(account, exits),
        market=market,
        allow_gaps=allow_gaps,
        check=False,
    )
    if len(config.symbols) > 1:
        raise UsageError("optimize takes one symbol")
    source = read_inputs(config, frames, furthest)[0]
    window = source.window
    context = SearchContext(
        window,
        in_sample_candles(window, out_of_sample),
        replace(config.account, steps=source.steps),
        source.higher.candles,
        None,
        config.account.closes_before,
        Holes(window.holes, source.higher.holes),
        source.has_volume,
    )
    found = _evaluate(plan, options, context)
    failures = plan.refusals + [one["error"] for one in [*plan.failed, *found] if "error" in one]
    good = [line for line in found if "error" not in line]
    if not good:
        raise ConfigurationError(f"no combination gave a result; first: {failures[0]}")
    outside = len(window.candles) - window.warm_up - context.in_sample
    least = LeastTrades.of(min_trades, context.in_sample, outside)
    order = ranked(good, options.metrics, least)
    judgement = None
    if least.ranks(order[0]):
        judgement = judge(
            cls(**order[0]["parameters"]),
            good,
            context,
            len(found) + earlier_trials,
            seed,
            is_by_sharpe=options.metrics == ("sharpe",),
        )
    return OptimizationResult(_frame(order, least), options.metric, failures, judgement)


def _plan(
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
    if options.sampler == "grid" and count > MOST_COMBINATIONS:
        raise UsageError(f"{count:,} combinations are more than {MOST_COMBINATIONS:,}")
    converted = {
        name: tuple(dict.fromkeys(converted_parameters(cls, {name: one})[name] for one in given))
        for name, given in values.items()
    }
    ranges = tuple(ParameterRange(name, given) for name, given in converted.items())
    plan = SearchPlan(cls, ranges)
    if options.sampler not in OWN_SAMPLERS:
        plan.probe(options.seed)
        return plan
    if options.sampler == "random":
        points = random_points(ranges, options.trials or 1, options.seed)
    else:
        products = itertools.product(*converted.values())
        points = (dict(zip(converted, one, strict=True)) for one in products)
    for point in points:
        plan.add(point)
        if len(plan.points) == options.trials:
            break
    plan.check_not_empty()
    return plan


def _evaluate(
    plan: SearchPlan, options: SearchOptions, context: SearchContext
) -> list[TrialResult]:
    """Return the results in the order of the trials."""
    plan.is_prepared = True
    is_own = options.sampler in OWN_SAMPLERS
    sampler = None if is_own else make_sampler(plan.ranges, options)
    results = MemoryResults()
    trials = Trials(plan, sampler, results, lambda _: None, options.trials)
    missing = trials.prepare()
    processes = max(1, min(options.processes, missing)) if is_own else options.processes
    with WorkerPool(Evaluator(plan.strategy, context), processes) as pool:
        trials.run(pool, Display(_show_nothing, _show_nothing))
    return [results.result(point) for point in plan.points]


def _show_nothing(value: object) -> None:
    """Show no progress."""


def _frame(order: list[TrialResult], least: LeastTrades) -> "pd.DataFrame":
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for one in order:
        row: dict[str, Any] = {**one["parameters"], "ranked": least.ranks(one)}
        for short, part in (("in", "in_sample"), ("out", "out_of_sample")):
            row |= {f"{short}_{k}": v for k, v in one[part].items() if k != "buy_and_hold"}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["parameters"] = [*order[0]["parameters"]]
    return frame
