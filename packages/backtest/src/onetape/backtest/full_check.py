"""`backtester check`: the bias check of every bar of a series, in several processes."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from msgspec import Struct

from onetape.backtest.assumptions import describe_pauses
from onetape.backtest.bias_check import make_strategy_factory
from onetape.backtest.bias_check_workers import evaluate_windows_parallel
from onetape.backtest.candle_windows import open_run_database
from onetape.backtest.config import BacktestConfig
from onetape.backtest.parallel import count_processors
from onetape.backtest.symbol_inputs import read_candles
from onetape.core.errors import DataError
from onetape.strategies import Strategy
from onetape.strategies.check_data import CheckData
from onetape.strategies.check_result import CheckResult
from onetape.strategies.lookahead_check import check_strategy, choose_bars_to_check
from onetape.strategies.min_lookback import MinLookback, find_min_lookback


def load_check_data(config: BacktestConfig) -> tuple[Strategy, CheckData, list[str]]:
    """Return the strategy of one symbol, the candles that its backtest would read, and notes.

    A note has the time since which the candles are traded, where a gap delays that.

    Raises:
        OnetapeError: as for a backtest.
    """
    key, strategy = config.key, make_strategy_factory(config)()
    with open_run_database(config) as store:
        window, higher, segments = read_candles(store, key, config, strategy)
    data = CheckData(window.candles, higher.candles, window.warm_up, segments)
    notes = describe_pauses(window, segments)
    if not len(data):
        raise DataError(f"{key}: no bar can be checked: {notes[0]}; choose a longer range")
    return strategy, data, notes


class CheckedSeries(Struct, frozen=True):
    """Result of the bias check of every bar of one series."""

    series: str
    """Exchange, symbol and timeframe of the checked candles."""
    strategy: str
    """Name of the strategy."""
    result: CheckResult
    """Result of the check."""
    smallest: MinLookback | None
    """Smallest sufficient lookback, if the declared one is too short and one was found."""
    part: tuple[int, int] | None
    """First and last bar, epoch seconds, where only a part of the range was checked."""
    notes: tuple[str, ...] = ()
    """Notes on the candles, in sentences."""


def check_series(
    config: BacktestConfig,
    *,
    whole: bool,
    show_progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> CheckedSeries:
    """Check the strategy on every bar of one series.

    Args:
        config: Configuration of one symbol.
        whole: Whether every bar of a very long range is checked too.
        show_progress: Opens the display of the progress; takes a title and the number of bars, and
            yields a function that takes the number of bars done.

    Raises:
        OnetapeError: as for a backtest.
    """
    strategy, data, notes = load_check_data(config)
    make, bars = make_strategy_factory(config), choose_bars_to_check(data, whole=whole)
    with show_progress(f"check {strategy.name}", len(bars)) as report:
        result = check_strategy(
            make, data, bars, report, evaluate_windows_parallel(count_processors())
        )
    smallest = None
    found = result.difference
    if found is not None and found.kind == "warm-up" and found.column == "signal":
        decided = np.setdiff1d(bars, result.failing)
        smallest = find_min_lookback(make, data, decided, result.differing, result.windows)
    part = (result.start, result.end) if len(bars) < len(data) else None
    return CheckedSeries(str(config.key), strategy.name, result, smallest, part, tuple(notes))
