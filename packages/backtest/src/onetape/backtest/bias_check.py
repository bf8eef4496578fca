"""The bias check: on a sample of bars with every backtest, or on every bar by itself."""

import contextlib
import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from onetape.backtest.config import BacktestConfig
from onetape.backtest.models import CandleWindow
from onetape.backtest.records import BiasCheck
from onetape.core.clock import day_text
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.strategies import Higher, Signals, Strategy
from onetape.strategies.hearing import silenced
from onetape.strategies.segments import Segment

if TYPE_CHECKING:
    from onetape.strategies.check_data import CheckData
    from onetape.strategies.check_result import CheckResult
    from onetape.strategies.smallest import Smallest


def fresh_maker(config: BacktestConfig) -> Callable[[], Strategy]:
    """Return a function that makes a new instance of the strategy, executing a user's file again.

    The backtest has already shown what the file prints when it is loaded, so this mutes it.
    """

    def make() -> Strategy:
        with silenced():
            return config.strategy.load()

    return make


def check_run(
    config: BacktestConfig,
    window: CandleWindow,
    higher: Higher,
    segments: Sequence[Segment],
    signals: Signals,
    seconds: float = 0.0,
) -> BiasCheck:
    """Return the bias check of a finished run, within the time budget of a backtest.

    Args:
        config: Configuration of the run of one symbol.
        window: Candles of the run.
        higher: Higher-timeframe candles of the run.
        segments: Segments of the candles.
        signals: Signals of all candles.
        seconds: Duration of the evaluation of all candles, seconds; 0 where it is not known.
    """
    if not config.check:
        return BiasCheck.not_run(f"not run; run: {check_command(config)}")
    from onetape.strategies.check_data import CheckData
    from onetape.strategies.sample import quick_check, quick_text

    data = CheckData(window.candles, higher, window.warm_up, tuple(segments))
    if not len(data):
        return BiasCheck.not_run(
            "not run: no bar is decided on, because no warm-up behind a hole is full"
        )
    result = quick_check(fresh_maker(config), data, signals.signal, seconds)
    first = result.worst
    return BiasCheck(
        text=quick_text(result, check_command(config)),
        clean=result.is_clean,
        bars_checked=result.checked,
        bars=result.bars,
        differing=len({*result.differing, *result.failing}),
        first_bad_bar=None if first is None else first.timestamp,
        kind=None if first is None else first.kind,
    )


def check_command(config: BacktestConfig) -> str:
    """Return the command that checks every bar of a run of one symbol."""
    start, end = (
        None if moment is None else day_text(moment).replace(" ", "T")
        for moment in (config.start, config.end)
    )
    parts = ["uv run backtester check"]
    for flag, value, default in (
        ("--exchange", config.exchange, DEFAULT_EXCHANGE),
        ("--symbol", config.symbols[0], DEFAULT_SYMBOL),
        ("--timeframe", config.timeframe, DEFAULT_TIMEFRAME),
        ("--from", start, None),
        ("--to", end, None),
        ("--db", config.db_flag, None),
    ):
        if value != default:
            parts += [flag, shlex.quote(str(value))]
    parts += ["--strategy", shlex.quote(config.strategy.name)]
    for name, text in config.strategy.parameters.items():
        parts += ["--param", shlex.quote(f"{name}={text}")]
    if config.allow_gaps:
        parts.append("--allow-gaps")
    return " ".join(parts)


def load_check_data(config: BacktestConfig) -> "tuple[Strategy, CheckData, list[str]]":
    """Return the strategy of one symbol, the candles that its backtest would read, and notes.

    A note says since when the candles are traded, where a hole delays that.

    Raises:
        OnetapeError: as for a backtest.
    """
    from onetape.backtest.data import load_window, open_run_database
    from onetape.backtest.higher_timeframe import load_higher
    from onetape.backtest.warm_up import pause_notes, run_segments
    from onetape.core.errors import DataError
    from onetape.strategies import lookback_of
    from onetape.strategies.check_data import CheckData

    key = config.key
    strategy = fresh_maker(config)()
    with open_run_database(config) as store:
        window = load_window(store, key, config, lookback=lookback_of(strategy))
        if len(window.candles) == window.warm_up:
            raise DataError(f"{key} has no closed candle in the range; choose a longer one")
        higher = load_higher(store, window, strategy, config)
    segments = run_segments(window, higher, strategy)
    data = CheckData(window.candles, higher.candles, window.warm_up, segments)
    notes = pause_notes(window, segments)
    if not len(data):
        raise DataError(f"{key}: no bar can be checked: {notes[0]}; choose a longer range")
    return strategy, data, notes


class CheckedSeries(Struct, frozen=True):
    """Result of the bias check of every bar of one series."""

    series: str
    """Exchange, symbol and timeframe."""
    strategy: str
    """Name of the strategy."""
    result: "CheckResult"
    smallest: "Smallest | None"
    """Smallest sufficient lookback, where the declared one is too short and the candles show it."""
    part: tuple[int, int] | None
    """First and last bar, epoch seconds, where only a part of the range was checked."""
    notes: tuple[str, ...] = ()
    """Notes on the candles, in sentences."""


def check_series(
    config: BacktestConfig,
    *,
    whole: bool,
    show_progress: Callable[[str, int], "contextlib.AbstractContextManager[Callable[[int], None]]"],
) -> CheckedSeries:
    """Check the strategy on every bar of one series.

    Args:
        config: Configuration of one symbol.
        whole: Whether every bar of a very long range is checked too.
        show_progress: Opens the display of the progress, given a title and the number of bars, and
            gives a function that takes the number of bars done.

    Raises:
        OnetapeError: as for a backtest.
    """
    import numpy as np

    from onetape.backtest.bias_check_workers import windows_shared
    from onetape.strategies.check import check_strategy, part_to_check
    from onetape.strategies.smallest import smallest_lookback

    strategy, data, notes = load_check_data(config)
    make, bars = fresh_maker(config), part_to_check(data, whole=whole)
    with show_progress(f"check {strategy.name}", len(bars)) as report:
        result = check_strategy(make, data, bars, report, windows_shared(count_processors()))
    smallest = None
    if result.difference is not None and result.difference.kind == "warm-up":
        decided = np.setdiff1d(bars, result.failing)
        smallest = smallest_lookback(make, data, decided, result.differing, result.windows)
    part = (result.start, result.end) if len(bars) < len(data) else None
    return CheckedSeries(str(config.key), strategy.name, result, smallest, part, tuple(notes))


def count_processors() -> int:
    """Return how many processors this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
