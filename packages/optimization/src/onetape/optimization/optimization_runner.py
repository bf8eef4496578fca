"""An optimization from its options to the result: plan, evaluate in processes, rank, judge."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.assumptions import describe_pauses
from onetape.backtest.candle_windows import has_stored_volume, load_window, open_run_database
from onetape.backtest.config import BacktestConfig
from onetape.backtest.higher_timeframe import load_higher
from onetape.backtest.intrabar_candles import load_intrabar_into_memory
from onetape.backtest.models import CandleWindow, HigherTimeframes
from onetape.backtest.parallel import WorkerPool
from onetape.backtest.records import BiasCheck
from onetape.backtest.storage.choices import OPTIMIZATIONS
from onetape.backtest.trading_rules import load_trading_rules
from onetape.backtest.warm_up import find_run_segments, skip_startup_candles
from onetape.core.errors import ConfigurationError, OnetapeError
from onetape.core.folders import DATA_FOLDER
from onetape.core.message_text import format_count
from onetape.engine import AccountConfig
from onetape.optimization.account_parameters import (
    apply_account_parameters,
    make_account_ranges,
    select_strategy_parameters,
)
from onetape.optimization.best_check import check_best
from onetape.optimization.evaluate import Evaluator, Job, SearchContext, count_in_sample_candles
from onetape.optimization.folder import FolderResults, open_results
from onetape.optimization.identity import RISK_FREE_RATE, make_identity
from onetape.optimization.judge import Judgement, judge
from onetape.optimization.ranking import MinTrades, TrialResult, rank_results
from onetape.optimization.samplers import iterate_independent_points, make_sampler
from onetape.optimization.saved_choice import save_best
from onetape.optimization.search_options import BUILT_IN_SAMPLERS, SearchOptions
from onetape.optimization.search_plan import SearchPlan
from onetape.optimization.space import ParameterRange, ParameterSet, make_ranges
from onetape.optimization.trial_loop import OptimizationDisplay, TrialLoop, format_failure_line
from onetape.optimization.trials_ledger import TrialCounts, TrialsLedger, compute_trial_digest
from onetape.optimization.user_metrics import USER_METRICS, make_metrics_identity
from onetape.optimization.windows import WalkForwardWindow
from onetape.strategies import Strategy, collect_parameters, get_lookback, load_strategy_class
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.segments import UnexplainedGaps

if TYPE_CHECKING:
    from onetape.optimization.cluster.work_file import ClusterWork

TRIALS: Final = DATA_FOLDER / "trials"


class Optimization(Struct, frozen=True):
    """A finished optimization."""

    config: BacktestConfig
    """Configuration of the backtests."""
    options: SearchOptions
    """Options of the optimization."""
    plan: SearchPlan
    """The combinations and the longest lookback among them."""
    context: SearchContext
    """Candles and rules that all combinations were evaluated with."""
    trading_rules_text: str
    """Description of the trading rules of the market, for output."""
    folder: Path
    """Folder of the results."""
    order: list[TrialResult]
    """Results of the combinations, best first; those with too few trades come last."""
    min_trades: MinTrades
    """Numbers of closed trades that a combination needs to be ranked and compared."""
    failed: list[TrialResult]
    """Combinations for which the strategy raised an error."""
    earlier: int
    """Number of combinations that an earlier start had evaluated."""
    counts: TrialCounts
    """Trials on this market, and evaluations of this out-of-sample part."""
    judgement: Judgement | None
    """Statistics and verdict of the best combination; None where none is ranked."""
    check: BiasCheck | None
    """Bias check of a sample of bars of the best combination; None: none is ranked."""
    pauses: tuple[str, ...]
    """Lines with the time since which the range is traded, where unexplained gaps delay that."""
    seconds: float
    """Duration, seconds."""


#: Opens the display, given the numbers of combinations and of those evaluated by earlier starts.
ShowProgress = Callable[[int, int], contextlib.AbstractContextManager[OptimizationDisplay]]


class SearchData(Struct, frozen=True):
    """Everything that was loaded for an optimization, before any combination is evaluated."""

    window: CandleWindow
    """Candles of the whole range, with the warm-up of the longest lookback."""
    higher: HigherTimeframes
    """Higher-timeframe candles of the range."""
    context: SearchContext
    """Candles and rules that all combinations are evaluated with."""
    trading_rules_text: str
    """Description of the trading rules of the market, for output."""
    pauses: tuple[str, ...]
    """Lines with the time since which the range is traded, where unexplained gaps delay that."""
    identity: dict[str, object]
    """All inputs of the results except the parameters (identity.py)."""


def run_optimization(
    config: BacktestConfig, options: SearchOptions, show_progress: ShowProgress
) -> Optimization:
    """Return the finished optimization; results in the folder are used again.

    Args:
        config: Configuration of the backtests; the strategy's parameters are texts such as
            `5:50:5`.
        options: Options of the optimization.
        show_progress: Opens the display of the progress.

    Raises:
        OnetapeError: see the class of the error.
    """
    began = time.monotonic()
    plan = plan_search(config, options)
    data = load_search_data(config, plan, options)
    plan.is_prepared = True
    window, context = data.window, data.context
    ledger = TrialsLedger(TRIALS, window.key.exchange, window.key.symbol)
    work = Evaluator(plan.strategy, context, options.user_metrics)
    with open_results(OPTIMIZATIONS, data.identity) as results:
        earlier = evaluate_all(
            plan,
            options,
            data,
            results,
            ledger,
            show_progress,
            work,
            partial(make_cluster_work, config, plan, context, options),
        )
        found = [results.get_result(point) for point in plan.points]
    plan.check_not_empty()
    outside = len(window.candles) - window.warm_up - context.in_sample
    min_trades = MinTrades.from_parts(options.min_trades, context.in_sample, outside)
    good = [result for result in found if "error" not in result]
    order = rank_results(good, options.metrics, min_trades)
    best = order[0] if order and min_trades.is_ranked(order[0]) else None
    save_best(results.folder, config, options, context, best)
    if good:
        ledger.record_look(
            plan.strategy.name,
            window.key.timeframe,
            compute_choice_digest(data, options, plan.points),
            context.split,
            window.end,
        )
    counts = ledger.count_trials(plan.strategy.name, context.split, window.end)
    return Optimization(
        config=config,
        options=options,
        plan=plan,
        context=context,
        trading_rules_text=data.trading_rules_text,
        folder=results.folder,
        order=order,
        min_trades=min_trades,
        failed=plan.failed + [result for result in found if "error" in result],
        earlier=earlier,
        counts=counts,
        judgement=_judge_best(plan, order, min_trades, good, context, counts, options),
        check=check_best(config, order, window, data.higher),
        pauses=data.pauses,
        seconds=round(time.monotonic() - began, 3),
    )


def plan_search(config: BacktestConfig, options: SearchOptions) -> SearchPlan:
    """Return a plan with the longest lookback of the combinations.

    Raises:
        UsageError: a parameter is invalid, or the strategy takes none of the combinations.
    """
    with stdout_to_stderr():
        cls = load_strategy_class(config.strategy.name, config.strategy.user_folder)
    given, is_random = config.strategy.parameters, options.is_random
    timeframe = config.key.timeframe
    settings = make_account_ranges(given, config.account, timeframe, is_random=is_random)
    ranges = make_ranges(cls, select_strategy_parameters(given), settings, is_random=is_random)
    for constraint in options.constraints:
        constraint.check_names(parameter.name for parameter in ranges)
    return prepare_plan(cls, ranges, options, config.account, timeframe)


def prepare_plan(
    cls: type[Strategy],
    ranges: tuple[ParameterRange, ...],
    options: SearchOptions,
    account: AccountConfig,
    timeframe: str,
) -> SearchPlan:
    """Return the plan of an optimization, with the lookback of its combinations.

    The plan has all combinations of a grid and of random draws, and none yet of Optuna's samplers.

    Raises:
        UsageError: the strategy takes none of the combinations.
    """
    plan = SearchPlan(cls, ranges, options.constraints, account, timeframe)
    if options.sampler not in BUILT_IN_SAMPLERS:
        plan.probe_lookbacks(options.seed)
        return plan
    for point in iterate_independent_points(ranges, options):
        plan.add(point)
        if len(plan.points) == options.trials:
            break
    plan.check_not_empty()
    return plan


def load_search_data(
    config: BacktestConfig, plan: SearchPlan, options: SearchOptions
) -> SearchData:
    """Return candles and rules of an optimization.

    Raises:
        OnetapeError: as for a backtest.
    """
    key = config.key
    higher_strategy = plan.longest_higher or plan.longest_strategy
    with open_run_database(config) as store:
        longest = replace(config, account=plan.longest_sizing or config.account)
        window = load_window(store, key, longest, lookback=get_lookback(plan.longest_strategy))
        window = skip_startup_candles(window, plan.longest_strategy)
        higher = load_higher(store, window, higher_strategy, config)
        rules, trading_rules_text = load_trading_rules(store, key, config, window.candles)
        context = SearchContext(
            window,
            count_in_sample_candles(window, options.out_of_sample),
            replace(config.account, trading_rules=rules),
            higher.candles,
            load_intrabar_into_memory(store, window, config),
            plan.closes_for_size,
            UnexplainedGaps(window.gaps, higher.gaps),
            has_stored_volume(store, window),
            config.risk_free_rate,
        )
        pauses = describe_pauses(
            window,
            find_run_segments(window, higher, higher_strategy),
            ", the longest of all combinations,",
        )
        identity = make_identity(store, key, higher_strategy, context)
        identity |= make_metrics_identity(options.user_metrics)
    return SearchData(window, higher, context, trading_rules_text, tuple(pauses), identity)


def evaluate_all(
    plan: SearchPlan,
    options: SearchOptions,
    data: SearchData,
    results: FolderResults,
    ledger: TrialsLedger,
    show_progress: ShowProgress,
    work: Callable[[Job], bytes],
    make_cluster_work: Callable[[], "ClusterWork"],
) -> int:
    """Evaluate all combinations without a result; return the number with an earlier result.

    Args:
        plan: The combinations.
        options: Options of the optimization.
        data: Candles and rules, with the identity of the optimization.
        results: Results of earlier optimizations; new results are added.
        ledger: Ledger to which each trial is added before it is evaluated.
        show_progress: Opens the display of the progress.
        work: Evaluates a combination in a process of this computer.
        make_cluster_work: Returns what the workers of a cluster evaluate on.
    """
    name, timeframe = plan.strategy.name, data.window.key.timeframe

    # A combination that is ranked by another metric, or with another risk-free rate, does not count
    # as another trial.
    of_results = (USER_METRICS, RISK_FREE_RATE)
    of_trial = {key: one for key, one in data.identity.items() if key not in of_results}

    def record(points: Sequence[ParameterSet]) -> None:
        digests = (compute_trial_digest(of_trial, point) for point in points)
        ledger.record_trials(name, timeframe, digests)

    is_built_in = options.sampler in BUILT_IN_SAMPLERS
    sampler = None if is_built_in else make_sampler(plan.ranges, options)
    trials = TrialLoop(plan, sampler, results, record, options.trials)
    missing = trials.prepare()
    total = len(plan.points) if is_built_in else options.trials or 0
    done = len(plan.points) - missing
    if options.cluster is not None and missing:
        # Few optimizations need Dask, which takes half a second to import.
        from onetape.optimization.cluster.pool import ClusterPool

        with (
            show_progress(total, done) as display,
            ClusterPool(options.cluster, make_cluster_work(), display.note) as cluster,
        ):
            trials.run(cluster, display)
        return trials.earlier
    # Later batches are as large as the first one, where there are any.
    processes = max(1, min(options.processes, missing)) if is_built_in else options.processes
    pool = WorkerPool(work, processes, [results.descriptor])
    # The processes are forked before the bar starts a thread.
    with pool, show_progress(total, done) as display:
        trials.run(pool, display)
    return trials.earlier


def _judge_best(
    plan: SearchPlan,
    order: Sequence[TrialResult],
    min_trades: MinTrades,
    found: Sequence[TrialResult],
    context: SearchContext,
    counts: TrialCounts,
    options: SearchOptions,
) -> Judgement | None:
    if not order or not min_trades.is_ranked(order[0]):
        return None
    try:
        with stdout_to_stderr():
            point = order[0]["parameters"]
            rules = apply_account_parameters(context.rules, point, context.window.key.timeframe)
            return judge(
                plan.make_strategy(point),
                found,
                replace(context, rules=rules),
                counts.market,
                options.seed,
                is_by_sharpe=options.metrics == ("sharpe",),
            )
    except OnetapeError:
        return None  # the bias check of the best reports the same error


def make_cluster_work(
    config: BacktestConfig,
    plan: SearchPlan,
    context: SearchContext,
    options: SearchOptions,
    windows: Sequence[WalkForwardWindow] = (),
) -> "ClusterWork":
    """Return what the workers of a cluster evaluate on.

    Args:
        config: Configuration of the backtests.
        plan: The combinations; the code of the strategy is compared with parameters of one.
        context: Candles and rules.
        options: Options of the optimization.
        windows: Windows of a walk-forward; empty: an optimization.
    """
    from onetape.optimization.cluster.work_file import ClusterWork
    from onetape.optimization.cluster.worker_tasks import collect_code

    strategy = plan.longest_strategy
    metrics = tuple(f"{one.file}:{one.name}" for one in options.user_metrics)
    return ClusterWork(
        config.strategy.name,
        {one.name: getattr(strategy, one.name) for one in collect_parameters(plan.strategy)},
        context,
        tuple(windows),
        metrics,
        collect_code(strategy, metrics),
    )


def compute_choice_digest(
    data: SearchData, options: SearchOptions, points: Sequence[ParameterSet]
) -> bytes:
    """Return the digest of the combinations that a choice was made from, and of its criteria."""
    content = msgspec.json.encode(
        [data.identity, list(options.metrics), options.min_trades, list(points)], order="sorted"
    )
    return hashlib.blake2b(content, digest_size=8).digest()


def find_best(optimization: Optimization) -> TrialResult | None:
    """Return the best combination; None where none is ranked."""
    first = optimization.order[0] if optimization.order else None
    return first if first is not None and optimization.min_trades.is_ranked(first) else None


def find_no_result_error(optimization: Optimization) -> ConfigurationError | None:
    """Return the error that an optimization without a single result ends with, or None."""
    if optimization.order:
        return None
    first = format_failure_line(optimization.failed[0]).partition(": ")[2]
    many = format_count(len(optimization.failed), "combination")
    return ConfigurationError(f"no combination gave a result ({many} failed); first: {first}")
