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
from onetape.backtest.optimization.best_check import check_best
from onetape.backtest.optimization.evaluate import Ground, Work, searched_candles
from onetape.backtest.optimization.folder import Results, key_of, opened, tried_elsewhere
from onetape.backtest.optimization.identity import identity_of
from onetape.backtest.optimization.ranking import LeastTrades, Tried, ranked
from onetape.backtest.optimization.space import (
    Axis,
    Point,
    axes_of,
    grid_points,
    random_points,
    value_text,
)
from onetape.backtest.parallel import shared
from onetape.backtest.records import BiasCheck
from onetape.backtest.trading_rules import market_rules
from onetape.backtest.warm_up import run_segments
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.folders import DATA_FOLDER
from onetape.core.words import counted
from onetape.strategies import Strategy, higher_lookback_of, lookback_of, strategy_class
from onetape.strategies.hearing import printing_to_stderr
from onetape.strategies.segments import Holes

SEARCHES: Final = DATA_FOLDER / "searches"
#: Bounds of the part that is held out.
LEAST_PART: Final = 0.05
MOST_PART: Final = 0.9
#: Closed trades under which a combination is not ranked, where the flag is not given.
LEAST_TRADES: Final = 20
#: Failures told one by one; the others are counted.
FAILURES_TOLD: Final = 5


class Asked(Struct, frozen=True):
    """Options of a search, in addition to the configuration of its backtests."""

    metric: str
    """What ranks."""
    held_out: float
    """Part of the range that the ranking does not see, 0 to 1."""
    random: int | None
    """So many draws; None: the whole grid."""
    seed: int
    """Of the draws."""
    processes: int
    min_trades: int = LEAST_TRADES
    """Closed trades in the searched part that a combination needs to be ranked."""


@dataclass(slots=True)
class Planned:
    """The combinations of a search that can be tried."""

    axes: tuple[Axis, ...]
    points: list[Point] = field(default_factory=list[Point])
    strategies: dict[int, Strategy] = field(default_factory=dict[int, Strategy])
    """By the number of the point; one whose code failed is not here."""
    failed: list[Tried] = field(default_factory=list[Tried])
    """Combinations that the strategy's own code could not be made with."""
    invalid: int = 0
    """Combinations that the strategy refuses, such as fast over slow."""


class Search(Struct, frozen=True):
    """A finished search."""

    config: BacktestConfig
    asked: Asked
    planned: Planned
    ground: Ground
    market: str
    folder: Path
    order: list[Tried]
    """Best first; combinations that hardly trade come after all that do."""
    least: LeastTrades
    """Closed trades that a combination needs."""
    failed: list[Tried]
    """Combinations that the strategy raised on."""
    earlier: int
    """Combinations of this search that an earlier start had tried."""
    tried_here: int
    """Combinations tried on this ground, other searches' included."""
    tried_elsewhere: int
    """Combinations of the same strategy on the same series with other code, ranges or rules."""
    check: BiasCheck | None
    """What a look at some bars of the best combination found."""
    pauses: tuple[str, ...]
    """The line that says since when the range is traded, where an unexplained hole delays that."""
    seconds: float


class Display(NamedTuple):
    """Display of a running search."""

    done: Callable[[int], object]
    """Shows how many combinations are done."""
    note: Callable[[str], object]
    """Shows a line."""


#: Opens the display, given the number of combinations and how many an earlier start had tried.
ShowProgress = Callable[[int, int], contextlib.AbstractContextManager[Display]]


def run_search(config: BacktestConfig, asked: Asked, show_progress: ShowProgress) -> Search:
    """Return the finished search; a combination with a result in the folder is not tried again.

    Args:
        config: Configuration of the backtests; the strategy's parameters are texts such as
            `5:50:5`.
        asked: Options of the search.
        show_progress: Opens the display of the progress.

    Raises:
        OnetapeError: as its class says.
    """
    began = time.monotonic()
    key = config.key
    with printing_to_stderr():
        cls = strategy_class(config.strategy.name, config.strategy.user_folder)
    planned = planned_search(cls, config.strategy.parameters, asked)
    with open_run_database(config) as store:
        strategies = planned.strategies.values()
        window = load_window(store, key, config, lookback=max(map(lookback_of, strategies)))
        furthest = max(strategies, key=higher_lookback_of)
        higher = load_higher(store, window, furthest, config)
        steps, market = market_rules(store, key, config, window.candles)
        detail = detail_in_memory(store, window, config)
        inside = searched_candles(window, asked.held_out)
        ground = Ground(
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
        identity = identity_of(store, key, furthest, ground)
    with opened(SEARCHES, identity) as results:
        earlier = _try(planned, ground, results, asked.processes, show_progress)
        found = [results.by_key[key_of(point)] for point in planned.points]
    held_out = len(window.candles) - window.warm_up - inside
    least = LeastTrades.of(asked.min_trades, inside, held_out)
    order = ranked([result for result in found if "error" not in result], asked.metric, least)
    return Search(
        config=config,
        asked=asked,
        planned=planned,
        ground=ground,
        market=market,
        folder=results.folder,
        order=order,
        least=least,
        failed=planned.failed + [result for result in found if "error" in result],
        earlier=earlier,
        tried_here=len(results.by_key),
        tried_elsewhere=tried_elsewhere(SEARCHES, identity),
        check=check_best(config, order, window, higher),
        pauses=tuple(pauses),
        seconds=round(time.monotonic() - began, 3),
    )


def planned_search(cls: type[Strategy], given: Mapping[str, str], asked: Asked) -> Planned:
    """Return the combinations that the strategy takes.

    Raises:
        UsageError: a parameter cannot be used, or the strategy takes none of the combinations.
    """
    is_random = asked.random is not None
    planned = Planned(axes_of(cls, given, is_random=is_random))
    if asked.random is None:
        points = grid_points(planned.axes)
    else:
        points = random_points(planned.axes, asked.random, asked.seed)
    refusal = ""
    for point in points:
        try:
            with printing_to_stderr():
                strategy = cls(**point)
            lookback_of(strategy)
        except UsageError as error:
            planned.invalid += 1
            refusal = str(error)
            continue
        except (Exception, SystemExit) as error:
            text = (
                str(error)
                if isinstance(error, OnetapeError)
                else f"{type(error).__name__}: {error}"
            )
            planned.failed.append({"parameters": point, "error": " ".join(text.split())})
            continue
        planned.strategies[len(planned.points)] = strategy
        planned.points.append(point)
        if len(planned.points) == asked.random:
            break
    if not planned.points:
        why = refusal or (planned.failed[0]["error"] if planned.failed else "there is none")
        raise UsageError(f"no combination can be tried ({planned.invalid:,} refused); last: {why}")
    return planned


def best_of(search: Search) -> Tried | None:
    """Return the best combination; None where none is ranked."""
    first = search.order[0] if search.order else None
    return first if first is not None and search.least.ranks(first) else None


def checked_part(held_out: float) -> float:
    """Return the part of the range to hold out.

    Raises:
        UsageError: it leaves too little of one of both.
    """
    if not LEAST_PART <= held_out <= MOST_PART:
        raise UsageError(
            f"--held-out must be a part from {LEAST_PART:g} to {MOST_PART:g}, found {held_out:g}"
        )
    return held_out


def failure_line(result: Tried) -> str:
    """Return what a combination failed with, in one line."""
    shown_point = ", ".join(f"{n} {value_text(v)}" for n, v in result["parameters"].items())
    return f"backtester: {shown_point}: {result['error']}"


def nothing_worked(search: Search) -> ConfigurationError | None:
    """Return the error that a search without a single result ends with, or None."""
    if search.order:
        return None
    first = failure_line(search.failed[0]).partition(": ")[2]
    many = counted(len(search.failed), "combination")
    return ConfigurationError(f"no combination gave a result ({many} failed); first: {first}")


def _try(
    planned: Planned,
    ground: Ground,
    results: Results,
    processes: int,
    show_progress: ShowProgress,
) -> int:
    """Try what is not among the results, or failed; return how many are not tried again."""
    todo = [number for number, point in enumerate(planned.points) if not results.has(point)]
    earlier = len(planned.points) - len(todo)
    work = Work(planned.points, planned.strategies, ground)
    told = 0
    # The processes are forked before the bar starts a thread.
    answers = shared(work, todo, processes, [results.descriptor])
    with contextlib.closing(answers), show_progress(len(planned.points), earlier) as display:
        for failed in planned.failed[:FAILURES_TOLD]:
            display.note(failure_line(failed))
            told += 1
        for done, (number, line) in enumerate(answers, start=earlier + 1):
            result = results.add(line or _died(planned.points, number))
            display.done(done)
            told += _told(display, result, told)
    return earlier


def _told(display: Display, result: Tried, told: int) -> int:
    if "error" not in result:
        return 0
    if told < FAILURES_TOLD:
        display.note(failure_line(result))
    elif told == FAILURES_TOLD:
        display.note("backtester: more combinations fail; the result has all of them")
    return 1


def _died(points: Sequence[Point], number: int) -> bytes:
    text = "the process that tried it was killed; it may need more memory than there is"
    return msgspec.json.encode({"parameters": points[number], "error": text})
