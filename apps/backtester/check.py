"""The check of a run: a few bars with every backtest, all of them with `backtester check`."""

import shlex
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backtester.settings import BacktesterSettings
from onetape.cli.settings import USER_FOLDER
from onetape.core.candles import Candles
from onetape.strategies import Higher, Signals, Strategy, load_strategy
from onetape.strategies.hearing import silenced

if TYPE_CHECKING:
    from onetape.strategies.check import CheckData


def fresh_maker(settings: BacktesterSettings) -> Callable[[], Strategy]:
    """Return what makes the strategy of these settings anew, a user's file run anew each time."""

    def make() -> Strategy:
        chosen = settings.strategy
        # The backtest itself has let it say what it says when it is loaded.
        with silenced():
            return load_strategy(chosen.name, chosen.parameters, user_folder=USER_FOLDER)

    return make


def sampled_text(
    settings: BacktesterSettings, candles: Candles, higher: Higher, warm_up: int, signals: Signals
) -> str:
    """Return what a look at a few bars of a backtest says.

    Args:
        settings: Of the run.
        candles: Of its tape, warm-up first.
        higher: The larger candles beside them.
        warm_up: How many come before the range.
        signals: Of all candles.
    """
    from onetape.strategies.check import CheckData
    from onetape.strategies.sample import sample_check, sample_text

    data = CheckData(candles, higher, warm_up)
    result = sample_check(fresh_maker(settings), data, signals.signal)
    return sample_text(result, check_command(settings))


def check_command(settings: BacktesterSettings) -> str:
    """Return the command that checks every bar of these settings."""
    default = BacktesterSettings()
    parts = ["uv run backtester check"]
    for flag, name in (
        ("--exchange", "exchange"),
        ("--symbol", "symbol"),
        ("--timeframe", "timeframe"),
        ("--from", "from_"),
        ("--to", "to"),
        ("--db", "db"),
    ):
        value = getattr(settings, name)
        if value != getattr(default, name):
            parts += [flag, shlex.quote(str(value))]
    parts += ["--strategy", shlex.quote(settings.strategy.name)]
    for name, value in settings.strategy.parameters.items():
        parts += ["--param", shlex.quote(f"{name}={value}")]
    if settings.allow_gaps:
        parts.append("--allow-gaps")
    return " ".join(parts)


def load_check_data(settings: BacktesterSettings) -> "tuple[Strategy, CheckData]":
    """Return the strategy of these settings and the candles that a backtest would read.

    Raises:
        OnetapeError: as for a backtest.
    """
    from backtester.higher import load_higher
    from backtester.load import load_tape, open_tape, wanted_range
    from backtester.run import series_key
    from onetape.cli.settings import database_path
    from onetape.core.errors import DataError
    from onetape.strategies import lookback_of
    from onetape.strategies.check import CheckData

    key, wanted = series_key(settings), wanted_range(settings)
    strategy = fresh_maker(settings)()
    with open_tape(database_path(settings.db, settings.exchange), key, settings) as store:
        tape = load_tape(store, key, settings, wanted, lookback=lookback_of(strategy))
        higher = load_higher(store, tape, strategy, settings)
    if len(tape.candles) == tape.warm_up:
        raise DataError(f"{key} has no closed candle in the range; choose a longer one")
    return strategy, CheckData(tape.candles, higher.candles, tape.warm_up)


@contextmanager
def progress_bar(title: str, total: int) -> Generator[Callable[[int], None]]:
    """Give a function to report progress to; the bar is on stderr, where that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield lambda done: bars.update(task, completed=done)
