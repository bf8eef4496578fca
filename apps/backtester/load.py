"""Read the candles of a run from the tables, and refuse a range that cannot be trusted."""

from dataclasses import dataclass

from backtester.settings import BacktesterSettings
from onetape.cli.dates import check_range, day_text, parse_moment
from onetape.core.candles import Candles, SeriesKey
from onetape.core.clock import utc_text
from onetape.core.errors import CandleGapError, DataError
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted, did_you_mean
from onetape.store.candles import (
    closed_between,
    closed_range,
    last_closed,
    missing_between,
    stored_series,
)
from onetape.store.database import Store
from onetape.store.gaps import unexplained

#: The trader never evaluates fewer candles than this.
LEAST_WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Tape:
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
    """Candles of the range that the exchange itself does not have."""
    unexplained: int
    """Candles of the range that are missing for no known reason; 0 unless gaps are allowed."""


def load_tape(store: Store, key: SeriesKey, settings: BacktesterSettings, *, lookback: int) -> Tape:
    """Return the candles of the range and enough before it to warm the strategy up.

    Raises:
        UsageError: the range ends before it starts.
        DataError: nothing is stored of the series, or nothing of the range.
        CandleGapError: candles are missing in the range and nobody can say why.
    """
    first, last = _stored_range(store, key)
    timeframe = Timeframe.parse(key.timeframe)
    after = timeframe.next(last)
    start = first if settings.from_ is None else parse_moment(settings.from_, "--from")
    end = after if settings.to is None else parse_moment(settings.to, "--to")
    check_range(start, end)
    if end <= first or start >= after:
        raise DataError(
            f"nothing is stored of {key} from {day_text(start)} to {day_text(end)} (stored: "
            f"{utc_text(first)} to {utc_text(after)} UTC); run: {_repair(key, start, end)}"
        )
    holes = missing_between(store, key, start, end)
    bad = unexplained(store, key, holes)
    if bad and not settings.allow_gaps:
        stored = f"{utc_text(first)} to {utc_text(after)} UTC"
        raise CandleGapError(_gap_text(key, timeframe, bad, (start, end), stored))
    wanted = max(LEAST_WARM_UP, lookback)
    before = last_closed(store, key, wanted, up_to=start - 1)
    inside = closed_between(store, key, start, end)
    missing = sum(timeframe.count_between(*hole) for hole in holes)
    unknown = sum(timeframe.count_between(*hole) for hole in bad)
    return Tape(
        key=key,
        candles=before.joined(inside),
        warm_up=len(before),
        wanted_warm_up=wanted,
        start=start,
        end=end,
        known_outages=missing - unknown,
        unexplained=unknown,
    )


def _stored_range(store: Store, key: SeriesKey) -> tuple[int, int]:
    stored = closed_range(store, key)
    if stored is not None:
        return stored
    hint = did_you_mean(str(key), [str(summary.key) for summary in stored_series(store)])
    raise DataError(
        f"{store.path} holds no candles of {key}{hint}; run: uv run backfiller "
        f"--exchange {key.exchange} --symbol {key.symbol} --timeframe {key.timeframe}"
    )


def _gap_text(
    key: SeriesKey,
    timeframe: Timeframe,
    bad: list[tuple[int, int]],
    wanted: tuple[int, int],
    stored: str,
) -> str:
    missing = sum(timeframe.count_between(*hole) for hole in bad)
    many = f" in {len(bad)} places, first" if len(bad) > 1 else ""
    return (
        f"{key} has {counted(missing, 'candle')} missing{many} from {utc_text(bad[0][0])} UTC "
        f"(stored: {stored}); run: {_repair(key, *wanted)} (or go on without them: --allow-gaps)"
    )


def _repair(key: SeriesKey, start: int, end: int) -> str:
    return (
        f"uv run backfiller --exchange {key.exchange} --symbol {key.symbol} "
        f"--timeframe {key.timeframe} --from {day_text(start).replace(' ', 'T')} "
        f"--to {day_text(end).replace(' ', 'T')}"
    )
