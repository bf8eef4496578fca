"""One search: plan it, share it among processes, keep what comes, rank it, say it."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec import Struct

from backtester.check import Look
from backtester.detail import detail_in_memory, finer_timeframe
from backtester.higher import load_higher
from backtester.load import Tape, load_tape, open_tape, wanted_range
from backtester.market_rules import market_rules
from backtester.run import account_rules, series_has_volume, series_key
from backtester.search.evaluate import Ground, Work
from backtester.search.folder import Results, key_of, opened, tried_elsewhere
from backtester.search.identity import identity_of
from backtester.search.look import look_at_best
from backtester.search.progress import Shown, shown
from backtester.search.ranking import LeastTrades, Tried, ranked
from backtester.search.space import Axis, Point, axes_of, grid_points, random_points, value_text
from backtester.search.workers import shared
from backtester.settings import BacktesterSettings
from backtester.warm_up import pause_notes, run_segments
from onetape.cli.settings import DATA_FOLDER, USER_FOLDER, database_path
from onetape.core.errors import ConfigurationError, DataError, OnetapeError, UsageError
from onetape.core.steps import IDEAL_MARKET
from onetape.core.words import counted
from onetape.engine import Rules
from onetape.strategies import (
    Strategy,
    higher_lookback_of,
    lookback_of,
    strategy_class,
)
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
    """What the command line says of a search, beside what every backtest is told."""

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

    settings: BacktesterSettings
    asked: Asked
    database: Path
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
    check: Look | None
    """What a look at some bars of the best combination found."""
    pauses: tuple[str, ...]
    """The line that says since when the range is traded, where an unexplained hole delays that."""
    seconds: float


def searched(settings: BacktesterSettings, asked: Asked) -> Search:
    """Return the finished search; what is in its folder already is not tried again.

    Raises:
        OnetapeError: as its class says.
    """
    began = time.monotonic()
    key = series_key(settings)
    wanted = wanted_range(settings)
    finer_timeframe(settings)
    with printing_to_stderr():
        cls = strategy_class(settings.strategy.name, USER_FOLDER)
    planned = planned_search(cls, settings.strategy.parameters, asked)
    Rules(**account_rules(settings), steps=IDEAL_MARKET)
    path = database_path(settings.db, settings.exchange)
    with open_tape(path, key, settings) as store:
        strategies = planned.strategies.values()
        tape = load_tape(store, key, settings, wanted, lookback=max(map(lookback_of, strategies)))
        furthest = max(strategies, key=higher_lookback_of)
        higher = load_higher(store, tape, furthest, settings)
        steps, market = market_rules(store, key, settings, tape.candles)
        rules = Rules(**account_rules(settings), steps=steps)
        detail = detail_in_memory(store, tape, settings, rules)
        inside = _searched_candles(tape, asked.held_out)
        holes = Holes(tape.holes, higher.holes)
        closes_before = settings.account.closes_before
        ground = Ground(
            tape,
            inside,
            rules,
            higher.candles,
            detail,
            closes_before,
            holes,
            series_has_volume(store, tape),
        )
        pauses = pause_notes(
            tape, run_segments(tape, higher, furthest), ", the longest of all combinations,"
        )
        identity = identity_of(store, key, furthest, ground)
    with opened(SEARCHES, identity) as results:
        earlier = _try(planned, ground, results, asked.processes)
        found = [results.by_key[key_of(point)] for point in planned.points]
    held_out = len(tape.candles) - tape.warm_up - inside
    least = LeastTrades.of(asked.min_trades, inside, held_out)
    order = ranked([result for result in found if "error" not in result], asked.metric, least)
    return Search(
        settings=settings,
        asked=asked,
        database=path,
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
        check=look_at_best(settings, order, tape, higher),
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


def processors() -> int:
    """Return how many processors this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _searched_candles(tape: Tape, held_out: float) -> int:
    """Return how many candles of the range are searched.

    Raises:
        DataError: the range is too short for two parts.
    """
    candles = len(tape.candles) - tape.warm_up
    inside = round(candles * (1.0 - held_out))
    if inside < 2 or candles - inside < 2:
        raise DataError(
            f"{tape.key} has {candles:,} closed candles in the range, too few for a searched and a "
            "held-out part; choose a longer one"
        )
    return inside


def _try(planned: Planned, ground: Ground, results: Results, processes: int) -> int:
    """Try what is not among the results, or failed; return how many are not tried again."""
    todo = [number for number, point in enumerate(planned.points) if not results.has(point)]
    earlier = len(planned.points) - len(todo)
    work = Work(planned.points, planned.strategies, ground)
    told = 0
    # The processes are forked before the bar starts a thread.
    answers = shared(work, todo, processes, [results.descriptor])
    with contextlib.closing(answers), shown(len(planned.points), earlier) as display:
        for failed in planned.failed[:FAILURES_TOLD]:
            display.note(failure_line(failed))
            told += 1
        for done, (number, line) in enumerate(answers, start=earlier + 1):
            result = results.add(line or _died(planned.points, number))
            display.done(done)
            told += _told(display, result, told)
    return earlier


def _told(display: Shown, result: Tried, told: int) -> int:
    if "error" not in result:
        return 0
    if told < FAILURES_TOLD:
        display.note(failure_line(result))
    elif told == FAILURES_TOLD:
        display.note("backtester: more combinations fail; the result has all of them")
    return 1


def _died(points: Sequence[Point], number: int) -> bytes:
    import msgspec

    text = "the process that tried it was killed; it may need more memory than there is"
    return msgspec.json.encode({"parameters": points[number], "error": text})
