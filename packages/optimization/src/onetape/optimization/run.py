"""Run an optimization: plan it, evaluate it in several processes, save and rank the results."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.assumptions import pause_notes
from onetape.backtest.config import BacktestConfig
from onetape.backtest.data import load_window, open_run_database, series_has_volume
from onetape.backtest.higher_timeframe import load_higher
from onetape.backtest.intrabar import detail_in_memory
from onetape.backtest.parallel import shared
from onetape.backtest.records import BiasCheck
from onetape.backtest.trading_rules import market_rules
from onetape.backtest.warm_up import run_segments
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.folders import DATA_FOLDER
from onetape.core.words import counted
from onetape.optimization.best_check import check_best
from onetape.optimization.evaluate import SearchContext, Work, in_sample_candles
from onetape.optimization.folder import Results, key_of, opened, tried_elsewhere
from onetape.optimization.identity import identity_of
from onetape.optimization.ranking import LeastTrades, TrialResult, ranked
from onetape.optimization.space import (
    ParameterRange,
    ParameterSet,
    grid_points,
    random_points,
    ranges_of,
    value_text,
)
from onetape.strategies import Strategy, higher_lookback_of, lookback_of, strategy_class
from onetape.strategies.hearing import printing_to_stderr
from onetape.strategies.segments import Holes

OPTIMIZATIONS: Final = DATA_FOLDER / "optimizations"
#: Bounds of the part that is out-of-sample.
LEAST_PART: Final = 0.05
MOST_PART: Final = 0.9
#: Closed trades under which a combination is not ranked, where the flag is not given.
LEAST_TRADES: Final = 20
#: Failures told one by one; the others are counted.
FAILURES_TOLD: Final = 5


class SearchOptions(Struct, frozen=True):
    """Options of an optimization, in addition to the configuration of its backtests."""

    metric: str
    """What ranks."""
    out_of_sample: float
    """Part of the range that the ranking does not see, 0 to 1."""
    random: int | None
    """So many draws; None: the whole grid."""
    seed: int
    """Of the draws."""
    processes: int
    min_trades: int = LEAST_TRADES
    """Closed trades in the in-sample part that a combination needs to be ranked."""


@dataclass(slots=True)
class SearchPlan:
    """The combinations of an optimization that can be tried."""

    ranges: tuple[ParameterRange, ...]
    points: list[ParameterSet] = field(default_factory=list[ParameterSet])
    strategies: dict[int, Strategy] = field(default_factory=dict[int, Strategy])
    """By the number of the point; one whose code failed is not here."""
    failed: list[TrialResult] = field(default_factory=list[TrialResult])
    """Combinations that the strategy's own code could not be made with."""
    invalid: int = 0
    """Combinations that the strategy refuses, such as fast over slow."""


class Optimization(Struct, frozen=True):
    """A finished optimization."""

    config: BacktestConfig
    options: SearchOptions
    plan: SearchPlan
    context: SearchContext
    market: str
    folder: Path
    order: list[TrialResult]
    """Best first; combinations that hardly trade come after all that do."""
    least: LeastTrades
    """Closed trades that a combination needs."""
    failed: list[TrialResult]
    """Combinations that the strategy raised on."""
    earlier: int
    """Combinations of this optimization that an earlier start had tried."""
    tried_here: int
    """Combinations tried on this context, other optimizations' included."""
    tried_elsewhere: int
    """Combinations of the same strategy on the same series with other code, ranges or rules."""
    check: BiasCheck | None
    """What a look at some bars of the best combination found."""
    pauses: tuple[str, ...]
    """The line that says since when the range is traded, where an unexplained hole delays that."""
    seconds: float


class Display(NamedTuple):
    """Display of a running optimization."""

    done: Callable[[int], object]
    """Shows how many combinations are done."""
    note: Callable[[str], object]
    """Shows a line."""


#: Opens the display, given the number of combinations and how many an earlier start had tried.
ShowProgress = Callable[[int, int], contextlib.AbstractContextManager[Display]]


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
        OnetapeError: as its class says.
    """
    began = time.monotonic()
    key = config.key
    with printing_to_stderr():
        cls = strategy_class(config.strategy.name, config.strategy.user_folder)
    plan = plan_search(cls, config.strategy.parameters, options)
    with open_run_database(config) as store:
        strategies = plan.strategies.values()
        window = load_window(store, key, config, lookback=max(map(lookback_of, strategies)))
        furthest = max(strategies, key=higher_lookback_of)
        higher = load_higher(store, window, furthest, config)
        steps, market = market_rules(store, key, config, window.candles)
        detail = detail_in_memory(store, window, config)
        inside = in_sample_candles(window, options.out_of_sample)
        context = SearchContext(
            window,
            inside,
            replace(config.account, steps=steps),
            higher.candles,
            detail,
            config.account.closes_before,
            Holes(window.holes, higher.holes),
            series_has_volume(store, window),
        )
        pauses = pause_notes(
            window, run_segments(window, higher, furthest), ", the longest of all combinations,"
        )
        identity = identity_of(store, key, furthest, context)
    with opened(OPTIMIZATIONS, identity) as results:
        earlier = _try(plan, context, results, options.processes, show_progress)
        found = [results.by_key[key_of(point)] for point in plan.points]
    out_of_sample = len(window.candles) - window.warm_up - inside
    least = LeastTrades.of(options.min_trades, inside, out_of_sample)
    order = ranked([result for result in found if "error" not in result], options.metric, least)
    return Optimization(
        config=config,
        options=options,
        plan=plan,
        context=context,
        market=market,
        folder=results.folder,
        order=order,
        least=least,
        failed=plan.failed + [result for result in found if "error" in result],
        earlier=earlier,
        tried_here=len(results.by_key),
        tried_elsewhere=tried_elsewhere(OPTIMIZATIONS, identity),
        check=check_best(config, order, window, higher),
        pauses=tuple(pauses),
        seconds=round(time.monotonic() - began, 3),
    )


def plan_search(
    cls: type[Strategy], given: Mapping[str, str], options: SearchOptions
) -> SearchPlan:
    """Return the combinations that the strategy takes.

    Raises:
        UsageError: a parameter cannot be used, or the strategy takes none of the combinations.
    """
    is_random = options.random is not None
    plan = SearchPlan(ranges_of(cls, given, is_random=is_random))
    if options.random is None:
        points = grid_points(plan.ranges)
    else:
        points = random_points(plan.ranges, options.random, options.seed)
    refusal = ""
    for point in points:
        try:
            with printing_to_stderr():
                strategy = cls(**point)
            lookback_of(strategy)
        except UsageError as error:
            plan.invalid += 1
            refusal = str(error)
            continue
        except (Exception, SystemExit) as error:
            text = (
                str(error)
                if isinstance(error, OnetapeError)
                else f"{type(error).__name__}: {error}"
            )
            plan.failed.append({"parameters": point, "error": " ".join(text.split())})
            continue
        plan.strategies[len(plan.points)] = strategy
        plan.points.append(point)
        if len(plan.points) == options.random:
            break
    if not plan.points:
        why = refusal or (plan.failed[0]["error"] if plan.failed else "there is none")
        raise UsageError(f"no combination can be tried ({plan.invalid:,} refused); last: {why}")
    return plan


def best_of(optimization: Optimization) -> TrialResult | None:
    """Return the best combination; None where none is ranked."""
    first = optimization.order[0] if optimization.order else None
    return first if first is not None and optimization.least.ranks(first) else None


def checked_out_of_sample(out_of_sample: float) -> float:
    """Return the part of the range to hold out.

    Raises:
        UsageError: it leaves too little of one of both.
    """
    if not LEAST_PART <= out_of_sample <= MOST_PART:
        raise UsageError(
            f"--out-of-sample must be a part from {LEAST_PART:g} to {MOST_PART:g}, "
            f"found {out_of_sample:g}"
        )
    return out_of_sample


def failure_line(result: TrialResult) -> str:
    """Return what a combination failed with, in one line."""
    shown_point = ", ".join(f"{n} {value_text(v)}" for n, v in result["parameters"].items())
    return f"backtester: {shown_point}: {result['error']}"


def nothing_worked(optimization: Optimization) -> ConfigurationError | None:
    """Return the error that an optimization without a single result ends with, or None."""
    if optimization.order:
        return None
    first = failure_line(optimization.failed[0]).partition(": ")[2]
    many = counted(len(optimization.failed), "combination")
    return ConfigurationError(f"no combination gave a result ({many} failed); first: {first}")


def _try(
    plan: SearchPlan,
    context: SearchContext,
    results: Results,
    processes: int,
    show_progress: ShowProgress,
) -> int:
    """Try what is not among the results, or failed; return how many are not tried again."""
    todo = [number for number, point in enumerate(plan.points) if not results.has(point)]
    earlier = len(plan.points) - len(todo)
    work = Work(plan.points, plan.strategies, context)
    told = 0
    # The processes are forked before the bar starts a thread.
    answers = shared(work, todo, processes, [results.descriptor])
    with contextlib.closing(answers), show_progress(len(plan.points), earlier) as display:
        for failed in plan.failed[:FAILURES_TOLD]:
            display.note(failure_line(failed))
            told += 1
        for done, (number, line) in enumerate(answers, start=earlier + 1):
            result = results.add(line or _died(plan.points, number))
            display.done(done)
            told += _told(display, result, told)
    return earlier


def _told(display: Display, result: TrialResult, told: int) -> int:
    if "error" not in result:
        return 0
    if told < FAILURES_TOLD:
        display.note(failure_line(result))
    elif told == FAILURES_TOLD:
        display.note("backtester: more combinations fail; the result has all of them")
    return 1


def _died(points: Sequence[ParameterSet], number: int) -> bytes:
    text = "the process that tried it was killed; it may need more memory than there is"
    return msgspec.json.encode({"parameters": points[number], "error": text})
