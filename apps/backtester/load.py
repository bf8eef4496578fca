"""Read the candles of a run from the tables, and refuse a range that cannot be trusted."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct, field

from backtester.settings import BacktesterSettings
from onetape.cli.dates import check_range, day_text, parse_moment
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import utc_text
from onetape.core.errors import CandleGapError, DataError
from onetape.core.holes import holes_between
from onetape.core.simulated import Origin
from onetape.core.timeframes import Timeframe
from onetape.core.words import did_you_mean
from onetape.store.candles import closed_range, first_row_after, last_closed, stored_series
from onetape.store.database import Store, open_if_exists
from onetape.store.gaps import accepted_in, unexplained
from onetape.store.reading import closed_between
from onetape.store.simulated_source import read_origin
from onetape.strategies.segments import Hole

#: The trader never evaluates fewer candles than this.
LEAST_WARM_UP = 100


class Tape(Struct, frozen=True):
    """The candles of a run: warm-up first, then the range that is traded."""

    key: SeriesKey
    candles: Candles
    warm_up: int
    """How many candles come before the range."""
    wanted_warm_up: int
    """How many the strategy asks for."""
    start: int
    """Epoch seconds, inclusive."""
    end: int
    """Epoch seconds, exclusive."""
    known_outages: int
    """Candles of the range that are missing for a known reason."""
    unexplained: int
    """Candles of the range that are missing for no known reason; 0 unless gaps are allowed."""
    left_out: int | None
    """Open (epoch seconds) of the newest row, where nothing proves that it is closed."""
    holes: tuple[Hole, ...] = ()
    """Unexplained holes: before the first candle, in the warm-up and in the range."""
    accepted: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many of the known outages a person accepted, by reason."""
    origin: Origin | None = None
    """Where candles of the simulator come from; None for those of a real exchange."""


#: First and last moment (epoch seconds, exclusive) that were asked for; None: as far as it goes.
Wanted = tuple[int | None, int | None]


def wanted_range(settings: BacktesterSettings) -> Wanted:
    """Return the range that the settings name.

    Raises:
        UsageError: an end that cannot be read, or the range ends before it starts.
    """
    start = None if settings.from_ is None else parse_moment(settings.from_, "--from")
    end = None if settings.to is None else parse_moment(settings.to, "--to")
    if start is not None and end is not None:
        check_range(start, end)
    return start, end


def open_tape(path: Path, key: SeriesKey, settings: BacktesterSettings) -> Store:
    """Return the open database.

    Raises:
        DataError: there is none; the text has the command that fills it.
        StoreError: what is there cannot be used.
    """
    store = open_if_exists(path)
    if store is None:
        raise DataError(f"{path} does not exist; fill it first: {repair_command(key, settings)}")
    return store


def load_tape(
    store: Store, key: SeriesKey, settings: BacktesterSettings, wanted: Wanted, *, lookback: int
) -> Tape:
    """Return the candles of the range and enough before it to warm strategy and sizing up.

    Raises:
        UsageError: the range ends before the tape starts, or starts after it ends.
        DataError: nothing is stored of the series, or nothing of the range.
        CandleGapError: candles are missing in the range and nobody can say why.
    """
    first, last = stored_range(store, key, settings)
    timeframe = Timeframe.parse(key.timeframe)
    after = timeframe.next(last)
    start = first if wanted[0] is None else wanted[0]
    end = after if wanted[1] is None else wanted[1]
    if end <= first or start >= after:
        asked = " ".join(
            f"{word} {day_text(moment)}"
            for word, moment in zip(("from", "to"), wanted, strict=True)
            if moment is not None
        )
        raise DataError(
            f"nothing is stored of {key} {asked} (stored: {utc_text(first)} to "
            f"{utc_text(after)} UTC); run: {repair_command(key, settings, *wanted)}"
        )
    inside = closed_between(store, key, start, end)
    holes = holes_between(inside.timestamp, timeframe, start, end)
    bad = unexplained(store, key, holes)
    if bad and not settings.allow_gaps:
        # Only where a run ends here.
        from backtester.gap_words import gap_text

        repair = repair_command(key, settings, start, end, first=bad[0][0])
        raise CandleGapError(gap_text(store, key, settings, bad, (first, after), repair))
    warm_up = max(LEAST_WARM_UP, lookback, settings.account.closes_before)
    before, hole = _warm_up(store, key, timeframe, warm_up, start)
    candles = before.joined(inside)
    missing = sum(timeframe.count_between(*hole) for hole in holes)
    unknown = sum(timeframe.count_between(*hole) for hole in bad)
    return Tape(
        key=key,
        candles=candles,
        warm_up=len(before),
        wanted_warm_up=warm_up,
        start=start,
        end=end,
        known_outages=missing - unknown,
        unexplained=unknown,
        left_out=_unproven(store, key, last, wanted[1]),
        # Before the first stored candle there is no hole: the series begins there.
        holes=_placed(candles, [one for one in (*hole, *bad) if one[0] > first]),
        accepted={
            reason: sum(timeframe.count_between(*part) for part in parts)
            for reason, parts in accepted_in(store, key, holes).items()
        },
        origin=read_origin(store, key),
    )


def _warm_up(
    store: Store, key: SeriesKey, timeframe: Timeframe, count: int, start: int
) -> tuple[Candles, list[tuple[int, int]]]:
    """Return the candles before the range, and the unexplained hole before them, if there is one.

    Args:
        store: The open database.
        key: The series.
        timeframe: Timeframe of the series.
        count: How many candles at most.
        start: Start of the range, epoch seconds.
    """
    before = last_closed(store, key, count, up_to=start - 1)
    if not len(before):
        return before, []
    holes = holes_between(before.timestamp, timeframe, int(before.timestamp[0]), start)
    found = unexplained(store, key, holes)[-1:]
    if not found:
        return before, []
    return before[int(np.searchsorted(before.timestamp, found[0][0])) :], found


def _placed(candles: Candles, holes: Sequence[tuple[int, int]]) -> tuple[Hole, ...]:
    """Return unexplained holes by the candle after them; a hole in several parts counts once."""
    found: dict[int, Hole] = {}
    for start, end in holes:
        at = int(np.searchsorted(candles.timestamp, start))
        before = found.get(at)
        found[at] = Hole(start if before is None else before.start, end, at)
    return tuple(hole for hole in found.values() if hole.at < len(candles))


def _unproven(store: Store, key: SeriesKey, last: int, end: int | None) -> int | None:
    """Return the row after the last closed candle, where the range would have room for it."""
    row = first_row_after(store, key, last)
    if row is None or (end is not None and row.timestamp >= end):
        return None
    return row.timestamp


def stored_range(store: Store, key: SeriesKey, settings: BacktesterSettings) -> tuple[int, int]:
    """Return the opens of the first and the last closed candle, epoch seconds.

    Raises:
        DataError: there is none; the text has the command that fetches some.
    """
    stored = closed_range(store, key)
    if stored is not None:
        return stored
    # Only where a run ends here.
    from backtester.resample_words import resample_words

    hint = did_you_mean(str(key), [str(summary.key) for summary in stored_series(store)])
    raise DataError(
        f"{store.path} holds no closed candle of {key}; run: {repair_command(key, settings)}"
        f"{resample_words(store, key, settings)}{hint}"
    )


def repair_command(
    key: SeriesKey,
    settings: BacktesterSettings,
    start: int | None = None,
    end: int | None = None,
    *,
    others: Sequence[str] = (),
    first: int | None = None,
) -> str:
    """Return the command that gets what is missing into the same file.

    Of an exchange that serves its newest candles only, older ones must come from a file.

    Args:
        key: The series.
        settings: The settings of the run.
        start: First moment of the candles, epoch seconds; None: the backfiller's own.
        end: Last moment of the candles, epoch seconds, exclusive; None: the newest.
        others: Other symbols that lack the candles, too.
        first: Open of the first missing candle, epoch seconds; None: `start`.
    """
    moment = start if first is None else first
    if moment is not None and _is_out_of_reach(key, moment):
        command = (
            f"uv run backfiller import FILE --exchange {key.exchange} --symbol "
            f"{shlex.quote(key.symbol)} --timeframe {key.timeframe}"
        )
        if settings.db is not None:
            command += f" --db {shlex.quote(str(settings.db))}"
        return f"{command}, with a FILE that has them: {key.exchange} serves its newest ones only"
    symbols = " ".join(f"--symbol {shlex.quote(symbol)}" for symbol in (key.symbol, *others))
    command = f"uv run backfiller --exchange {key.exchange} {symbols} --timeframe {key.timeframe}"
    for flag, moment in (("--from", start), ("--to", end)):
        if moment is not None:
            command += f" {flag} {day_text(moment).replace(' ', 'T')}"
    return command if settings.db is None else f"{command} --db {shlex.quote(str(settings.db))}"


def _is_out_of_reach(key: SeriesKey, start: int) -> bool:
    """Return whether the exchange cannot serve a candle any more."""
    from onetape.core.clock import SystemClock
    from onetape.core.quirks import is_out_of_reach

    now = SystemClock().now_ms() // 1_000
    return is_out_of_reach(key.exchange, Timeframe.parse(key.timeframe), start, now)
