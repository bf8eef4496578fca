"""`ot.optimize`: combinations of parameters over candles, with a DataFrame of results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from onetape.backtest.arguments import (
    Account,
    Exits,
    StrategyLike,
    get_strategy_class,
    make_account_config,
)
from onetape.backtest.parallel import count_processors
from onetape.core.errors import DataError
from onetape.core.message_text import format_count
from onetape.engine.account_config import TradingRulesSource
from onetape.optimization.evaluate import Evaluator, count_in_sample_candles
from onetape.optimization.frame_search import (
    FrameOptions,
    describe_failures,
    evaluate_values,
    load_context,
    plan_values,
)
from onetape.optimization.judge import Judgement, judge
from onetape.optimization.ranking import MinTrades, TrialResult, rank_results
from onetape.optimization.search_options import SearchOptions, check_out_of_sample
from onetape.optimization.user_metrics import Rank, parse_python_ranks

if TYPE_CHECKING:
    import pandas as pd

    from onetape.backtest.inputs import CandlesLike

#: Metrics in the representation, after the one that ranks.
_SHOWN_METRICS: Final = ("total_return", "max_drawdown", "trades")


class OptimizationResult:
    """Result of an optimization over one symbol."""

    def __init__(
        self,
        results: "pd.DataFrame",
        rank: str,
        failures: list[str],
        judgement: Judgement | None = None,
    ) -> None:
        """Take the results of an optimization.

        Args:
            results: One row per combination, best first.
            rank: Metric that ranks.
            failures: Reasons why combinations gave no result, one sentence each.
            judgement: Statistics and verdict of the best combination; None: none is ranked.
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
        """Return the first rows, with the warning that the best of many is partly chance."""
        names = self.results.attrs["parameters"]
        columns = [self.rank, *(name for name in _SHOWN_METRICS if name != self.rank)]
        shown = [*names, *(f"{part}_{one}" for one in columns for part in ("in", "out"))]
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        return (
            f"{format_count(len(self.results), 'combination')}{failed}, ranked in-sample by "
            f"{self.rank} "
            f"(the best of many is partly chance)\n{self.results[shown].head(10)}\n"
            f"verdict: {self.verdict}"
        )


def optimize(
    strategy: StrategyLike,
    candles: "CandlesLike",
    params: Mapping[str, Iterable[Any]],
    *,
    rank: Rank | Sequence[Rank] = "sharpe",
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
    trading_rules: TradingRulesSource = "exchange",
    risk_free_rate: float = 0.0,
    allow_gaps: bool = False,
    jobs: int | None = None,
) -> OptimizationResult:
    """Try combinations of parameters, rank them on the first part of the range, judge the best.

    Args:
        strategy: See `backtest`.
        candles: See `backtest`; one symbol.
        params: Values to try by parameter, such as `{"period": range(10, 60, 5)}`.
        rank: Metric to rank by, docs/metrics.md, or a function of one backtest that returns a
            number, the highest first (docs/optimize.md); several make a Pareto front.
        out_of_sample: Part of the range, its end, that the ranking does not use; 0.05 to 0.9.
        min_trades: Closed trades that a combination needs in-sample to be ranked.
        sampler: `grid` tries every combination; `random`, and with the extra `optuna` `tpe`,
            `cmaes`, `nsga2` and `qmc`, propose some of them.
        trials: Combinations that a sampler proposes.
        seed: Random seed of the sampler and of the statistics.
        earlier_trials: Trials that you made on this market before; they count in the verdict.
        start: First day or moment, UTC; None: all candles.
        end: End of the range, exclusive, UTC; None: all candles.
        account: See `backtest`.
        exits: See `backtest`.
        trading_rules: See `backtest`.
        risk_free_rate: See `backtest`.
        allow_gaps: See `backtest`.
        jobs: Processes; None: as many as processors.

    Returns:
        `.results` has one row per combination, best first: the parameters, `ranked`, and each
        metric of the in-sample (`in_sharpe`) and the out-of-sample part (`out_sharpe`).
        `.verdict` is the verdict on the best combination, in one line.

    Raises:
        UsageError: an argument is invalid, or a function of `rank` gives no finite number.
        ConfigurationError: no combination gives a result, or Optuna is not installed.
        OnetapeError: as for a backtest.
    """
    check_out_of_sample(out_of_sample, "out_of_sample")
    metrics, user_metrics = parse_python_ranks(rank)
    options = SearchOptions(
        metrics=metrics,
        user_metrics=user_metrics,
        processes=jobs or count_processors(),
        out_of_sample=out_of_sample,
        sampler=sampler,
        trials=trials,
        seed=seed,
        min_trades=min_trades,
    )
    cls = get_strategy_class(strategy)
    plan = plan_values(cls, params, options)
    given = FrameOptions(
        start,
        end,
        make_account_config(account, exits, strategy),
        trading_rules,
        allow_gaps,
        risk_free_rate,
    )
    context = load_context(candles, plan, given)
    window = context.window
    context = replace(context, in_sample=count_in_sample_candles(window, out_of_sample))
    found = evaluate_values(plan, options, Evaluator(cls, context, user_metrics))
    failures = describe_failures(plan, found)
    good = [line for line in found if "error" not in line]
    outside = len(window.candles) - window.warm_up - context.in_sample
    minimum = MinTrades.from_parts(min_trades, context.in_sample, outside)
    order = rank_results(good, options.metrics, minimum)
    judgement = None
    if minimum.is_ranked(order[0]):
        judgement = judge(
            cls(**order[0]["parameters"]),
            good,
            context,
            len(found) + earlier_trials,
            seed,
            is_by_sharpe=options.metrics == ("sharpe",),
        )
    return OptimizationResult(_make_frame(order, minimum), options.metric, failures, judgement)


def _make_frame(order: list[TrialResult], minimum: MinTrades) -> "pd.DataFrame":
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for trial in order:
        row: dict[str, Any] = {**trial["parameters"], "ranked": minimum.is_ranked(trial)}
        for short, part in (("in", "in_sample"), ("out", "out_of_sample")):
            row |= {f"{short}_{k}": v for k, v in trial[part].items() if k != "buy_and_hold"}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["parameters"] = [*order[0]["parameters"]]
    return frame
