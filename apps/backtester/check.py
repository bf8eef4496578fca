"""The check of a run: with every backtest, and of every bar of a long one on its own."""

import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backtester.settings import BacktesterSettings
from onetape.cli.settings import USER_FOLDER
from onetape.strategies import Higher, Signals, Strategy, load_strategy
from onetape.strategies.hearing import silenced
from onetape.strategies.segments import Segment

if TYPE_CHECKING:
    from backtester.load import Tape
    from onetape.core.errors import CheckFailed
    from onetape.strategies.check_data import CheckData
    from onetape.strategies.check_result import CheckResult
    from onetape.strategies.smallest import Smallest


def fresh_maker(settings: BacktesterSettings) -> Callable[[], Strategy]:
    """Return what makes the strategy of these settings anew, a user's file run anew each time."""

    def make() -> Strategy:
        chosen = settings.strategy
        # The backtest itself has let it say what it says when it is loaded.
        with silenced():
            return load_strategy(chosen.name, chosen.parameters, user_folder=USER_FOLDER)

    return make


class Look(Struct, frozen=True):
    """What the check that comes with a backtest found."""

    text: str
    """In one sentence; with the command that checks every bar, where not all were."""
    clean: bool | None = None
    """None: it was not taken."""
    bars_checked: int = 0
    bars: int = 0
    """Of the range."""
    differing: int = 0
    """Checked bars on which the last candles decide otherwise than all, or fail."""
    first_bad_bar: int | None = None
    """Open of the first that is wrong in the way of `kind`, epoch seconds."""
    kind: str | None = None
    """What is wrong with it, such as look-ahead."""


def joined_looks(looks: Mapping[str, Look]) -> Look:
    """Return what the looks at several symbols found together; of look-ahead, that."""
    bad = [look for look in looks.values() if look.first_bad_bar is not None]
    first = min(
        bad, key=lambda look: (look.kind != "look-ahead", look.first_bad_bar or 0), default=None
    )
    ran = [look.clean for look in looks.values() if look.clean is not None]
    return Look(
        text="; ".join(f"{symbol}: {look.text}" for symbol, look in looks.items()),
        clean=all(ran) if ran else None,
        bars_checked=sum(look.bars_checked for look in looks.values()),
        bars=sum(look.bars for look in looks.values()),
        differing=sum(look.differing for look in looks.values()),
        first_bad_bar=first and first.first_bad_bar,
        kind=first and first.kind,
    )


def look_at_run(
    settings: BacktesterSettings,
    tape: "Tape",
    higher: Higher,
    segments: Sequence[Segment],
    signals: Signals,
    seconds: float = 0.0,
) -> Look:
    """Return what the check that comes with a backtest finds, or that none was wanted.

    Args:
        settings: Of the run.
        tape: The candles of the run.
        higher: The larger candles beside them.
        segments: The segments of the candles.
        signals: Of all candles.
        seconds: How long their evaluation took; 0 where it is not known.
    """
    if not settings.check:
        return Look(f"not run; run: {check_command(settings)}")
    from onetape.strategies.check_data import CheckData
    from onetape.strategies.sample import quick_check, quick_text

    data = CheckData(tape.candles, higher, tape.warm_up, tuple(segments))
    if not len(data):
        return Look("not run: no bar is decided on, because no warm-up behind a hole is full")
    result = quick_check(fresh_maker(settings), data, signals.signal, seconds)
    first = result.worst
    return Look(
        text=quick_text(result, check_command(settings)),
        clean=result.is_clean,
        bars_checked=result.checked,
        bars=result.bars,
        differing=len({*result.differing, *result.failing}),
        first_bad_bar=None if first is None else first.timestamp,
        kind=None if first is None else first.kind,
    )


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


def load_check_data(settings: BacktesterSettings) -> "tuple[Strategy, CheckData, list[str]]":
    """Return the strategy of these settings, the candles that a backtest would read, and notes.

    The notes say since when these candles are decided on, where a hole delays that.

    Raises:
        OnetapeError: as for a backtest.
    """
    from backtester.higher import load_higher
    from backtester.load import load_tape, open_tape, wanted_range
    from backtester.run import series_key
    from backtester.warm_up import pause_notes, run_segments
    from onetape.cli.settings import database_path
    from onetape.core.errors import DataError
    from onetape.strategies import lookback_of
    from onetape.strategies.check_data import CheckData

    key, wanted = series_key(settings), wanted_range(settings)
    strategy = fresh_maker(settings)()
    with open_tape(database_path(settings.db, settings.exchange), key, settings) as store:
        tape = load_tape(store, key, settings, wanted, lookback=lookback_of(strategy))
        if len(tape.candles) == tape.warm_up:
            raise DataError(f"{key} has no closed candle in the range; choose a longer one")
        higher = load_higher(store, tape, strategy, settings)
    segments = run_segments(tape, higher, strategy)
    data = CheckData(tape.candles, higher.candles, tape.warm_up, segments)
    notes = pause_notes(tape, segments)
    if not len(data):
        raise DataError(f"{key}: no bar can be checked: {notes[0]}; choose a longer range")
    return strategy, data, notes


class Checked(Struct, frozen=True):
    """The check of one series."""

    series: str
    strategy: str
    result: "CheckResult"
    smallest: "Smallest | None"
    """Where the lookback is too short: the one that is enough, if the candles can show it."""
    part: tuple[int, int] | None
    """First and last bar, epoch seconds, where only a part of the range was checked."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the candles."""


def checked_series(settings: BacktesterSettings, *, whole: bool) -> Checked:
    """Check the strategy of these settings on every bar of one series.

    Args:
        settings: Of one symbol.
        whole: Every bar, also of a very long range.

    Raises:
        OnetapeError: as for a backtest.
    """
    import numpy as np

    from backtester.check_workers import windows_shared
    from backtester.search.run import processors
    from onetape.strategies.check import check_strategy, part_to_check
    from onetape.strategies.smallest import smallest_lookback

    strategy, data, notes = load_check_data(settings)
    make, bars = fresh_maker(settings), part_to_check(data, whole=whole)
    with progress_bar(f"check {strategy.name}", len(bars)) as report:
        result = check_strategy(make, data, bars, report, windows_shared(processors()))
    smallest = None
    if result.difference is not None and result.difference.kind == "warm-up":
        decided = np.setdiff1d(bars, result.failing)
        smallest = smallest_lookback(make, data, decided, result.differing, result.windows)
    part = (result.start, result.end) if len(bars) < len(data) else None
    series = f"{settings.exchange} {settings.symbol} {settings.timeframe}"
    return Checked(series, strategy.name, result, smallest, part, tuple(notes))


def checked_lines(checked: Checked) -> list[str]:
    """Return what the terminal shows of a check."""
    from onetape.core.clock import utc_text
    from onetape.strategies.check_words import check_line, lookback_text

    result, lines = checked.result, [check_line(checked.result)]
    if checked.part is not None:
        first, last = (utc_text(moment) for moment in checked.part)
        lines.insert(0, f"range: {first} to {last} UTC, chosen by the candles; all: --all")
    if result.difference is not None and result.difference.kind == "warm-up":
        lines.append(lookback_text(result, checked.smallest))
    ahead = result.look_ahead
    if ahead is not None and ahead != result.difference:
        lines.append(f"look-ahead besides, first seen at {utc_text(ahead.timestamp)} UTC")
    return [*lines, *(f"note: {note}" for note in checked.notes)]


def checked_document(checked: Checked) -> dict[str, Any]:
    """Return a check for --json."""
    from onetape.strategies.check_words import check_document

    named = {"strategy": checked.strategy, "series": checked.series}
    return {**named, **check_document(checked.result, checked.smallest), "notes": checked.notes}


def check_failure(checked: Checked) -> "CheckFailed | None":
    """Return the error that a check ends with, or None where it is clean."""
    from onetape.core.clock import utc_text
    from onetape.core.errors import CheckFailed
    from onetape.core.words import counted
    from onetape.strategies.check_words import remedy

    result, found = checked.result, checked.result.first
    if found is None:
        return None
    parts = [
        f"{each.kind} on {counted(len(bars), 'bar')}, first {utc_text(each.timestamp)} UTC"
        for bars, each in (
            (result.failing, result.failure),
            (result.differing, result.difference or (None if result.failing else found)),
        )
        if each is not None
    ]
    if result.look_ahead not in (None, result.difference):
        parts.append(f"look-ahead first seen {utc_text(result.look_ahead.timestamp)} UTC")
    remedies = dict.fromkeys(remedy(each) for each in (result.worst, result.failure) if each)
    return CheckFailed(
        f"strategy {checked.strategy} on {checked.series}: {', and '.join(parts)}; "
        f"{'; '.join(remedies)}"
    )


@contextmanager
def progress_bar(title: str, total: int) -> Generator[Callable[[int], None]]:
    """Give a function to report progress to; the bar is on stderr, where that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bars = Progress(console=Console(stderr=True), transient=True)
    task = bars.add_task(title, total=total)

    def report(done: int) -> None:
        # Begun by the first report: a bar has a thread, and processes are forked before it.
        bars.start()
        bars.update(task, completed=done)

    try:
        yield report
    finally:
        bars.stop()
