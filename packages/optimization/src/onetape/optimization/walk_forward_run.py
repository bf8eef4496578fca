"""A walk-forward over stored candles: plan, evaluate the training parts, choose, stitch, save."""

import time
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict, replace

from onetape.backtest.config import BacktestConfig
from onetape.backtest.storage.choices import WALK_FORWARDS
from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import format_count
from onetape.optimization.account_parameters import is_account_parameter
from onetape.optimization.evaluate import SearchContext
from onetape.optimization.folder import open_results
from onetape.optimization.optimization_runner import (
    TRIALS,
    ShowProgress,
    compute_choice_digest,
    evaluate_all,
    load_search_data,
    make_cluster_work,
    plan_search,
)
from onetape.optimization.ranking import TrialResult
from onetape.optimization.saved_choice import save_newest
from onetape.optimization.search_options import BUILT_IN_SAMPLERS, SearchOptions
from onetape.optimization.search_plan import SearchPlan
from onetape.optimization.trial_loop import format_failure_line
from onetape.optimization.trials_ledger import TrialCounts, TrialsLedger
from onetape.optimization.walk_forward import WalkForward, WindowEvaluator, walk_forward
from onetape.optimization.windows import WindowScheme, make_windows
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.parameters import make_setting_key


class WalkForwardRun(Struct, frozen=True):
    """A finished walk-forward over stored candles."""

    config: BacktestConfig
    """Configuration of the backtests."""
    options: SearchOptions
    """Options of the optimization of each window."""
    plan: SearchPlan
    """The combinations and the longest lookback among them."""
    context: SearchContext
    """Candles and rules that all combinations were evaluated with."""
    trading_rules_text: str
    """Description of the trading rules of the market, for output."""
    folder: Path
    """Folder of the results."""
    walk_forward: WalkForward
    """Choices, stitched equity and verdict."""
    failed: list[TrialResult]
    """Combinations for which the strategy raised an error."""
    earlier: int
    """Number of combinations that an earlier start had evaluated."""
    counts: TrialCounts
    """Trials on this market, and evaluations of these test parts."""
    seconds: float
    """Duration, seconds."""


def run_walk_forward(
    config: BacktestConfig,
    options: SearchOptions,
    scheme: WindowScheme,
    show_progress: ShowProgress,
) -> WalkForwardRun:
    """Return the finished walk-forward; results in the folder are used again.

    Args:
        config: See `run_optimization`.
        options: See `run_optimization`; the out-of-sample part is that of the windows.
        scheme: Lengths of the windows.
        show_progress: Opens the display of the progress.

    Raises:
        OnetapeError: see the class of the error.
    """
    began = time.monotonic()
    if options.sampler not in BUILT_IN_SAMPLERS:
        raise UsageError(
            "--walk-forward takes --sampler grid or random: a window has its own choice"
        )
    _refuse_account_parameters(config)
    plan = plan_search(config, options)
    data = load_search_data(config, plan, options)
    window = data.window
    windows = make_windows(window, scheme)
    data = replace(data, identity={**data.identity, "walk_forward": asdict(scheme)})
    context = data.context
    ledger = TrialsLedger(TRIALS, window.key.exchange, window.key.symbol)
    work = WindowEvaluator(plan.strategy, context, windows, options.user_metrics)
    with open_results(WALK_FORWARDS, data.identity) as results:
        earlier = evaluate_all(
            plan,
            options,
            data,
            results,
            ledger,
            show_progress,
            work,
            partial(make_cluster_work, config, plan, context, options, windows),
        )
        found = [results.get_result(point) for point in plan.points]
    good = [one for one in found if "error" not in one]
    failed = plan.failed + [one for one in found if "error" in one]
    if not good:
        first = format_failure_line(failed[0]).partition(": ")[2]
        many = format_count(len(failed), "combination")
        raise ConfigurationError(f"no combination gave a result ({many} failed); first: {first}")
    times = window.candles.timestamp
    start, end = int(times[windows[0].test_start]), window.end
    name = plan.strategy.name
    choice = compute_choice_digest(data, options, plan.points)
    ledger.record_look(name, window.key.timeframe, choice, start, end)
    counts = ledger.count_trials(name, start, end)
    with stdout_to_stderr():
        result = walk_forward(
            plan.strategy,
            good,
            context,
            windows,
            scheme,
            options.metrics,
            options.min_trades,
            counts.looks,
        )
    save_newest(results.folder, config, options, result.windows)
    return WalkForwardRun(
        config=config,
        options=options,
        plan=plan,
        context=context,
        trading_rules_text=data.trading_rules_text,
        folder=results.folder,
        walk_forward=result,
        failed=failed,
        earlier=earlier,
        counts=counts,
        seconds=round(time.monotonic() - began, 3),
    )


def _refuse_account_parameters(config: BacktestConfig) -> None:
    """Refuse settings of the account among the parameters.

    The test parts are traded by one account, whose exits cannot change while a position is open.

    Raises:
        UsageError: a setting is among the parameters.
    """
    for name in config.strategy.parameters:
        if is_account_parameter(name):
            raise UsageError(
                f"--walk-forward chooses parameters of the strategy, and {name} is a setting of "
                "the account; give it one value by its flag",
                setting=make_setting_key(name),
            )
