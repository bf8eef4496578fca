"""Commands that fetch, build or accept the candles that a run misses, for errors and notes."""

import shlex
from collections.abc import Sequence

from onetape.backtest.config import BacktestConfig
from onetape.core.candles import SeriesKey
from onetape.core.clock import SystemClock, format_day, format_utc
from onetape.core.errors import DataError, UsageError
from onetape.core.message_text import format_count, suggest_name
from onetape.core.quirks import get_quirks, is_out_of_reach
from onetape.core.resample import check_multiple
from onetape.core.timeframes import Timeframe
from onetape.store.candles import read_closed_range, read_series_summaries
from onetape.store.database import Store
from onetape.store.gaps import UNPROVEN, read_gap_ledger

Range = tuple[int, int]


def format_repair_command(
    key: SeriesKey,
    config: BacktestConfig,
    start: int | None = None,
    end: int | None = None,
    *,
    others: Sequence[str] = (),
    first: int | None = None,
) -> str:
    """Return the command that stores missing candles in the database of the run.

    The command imports a file where the exchange serves only candles newer than the missing ones.

    Args:
        key: The series.
        config: Configuration of the run.
        start: First moment of the candles, epoch seconds; None: the default of the backfiller.
        end: Last moment of the candles, epoch seconds, exclusive; None: the newest.
        others: Other symbols whose candles are missing too.
        first: Open of the first missing candle, epoch seconds; None: `start`.
    """
    moment = start if first is None else first
    timeframe, now = Timeframe.parse(key.timeframe), SystemClock().now_ms() // 1_000
    if moment is not None and is_out_of_reach(key.exchange, timeframe, moment, now):
        command = (
            f"uv run backfiller import FILE --exchange {key.exchange} --symbol "
            f"{shlex.quote(key.symbol)} --timeframe {key.timeframe}"
        )
        return (
            f"{command}{config.db_argument}, with a FILE that has them: {key.exchange} serves its "
            "newest ones only"
        )
    symbols = " ".join(f"--symbol {shlex.quote(symbol)}" for symbol in (key.symbol, *others))
    command = f"uv run backfiller --exchange {key.exchange} {symbols} --timeframe {key.timeframe}"
    for flag, moment in (("--from", start), ("--to", end)):
        if moment is not None:
            command += f" {flag} {format_day(moment).replace(' ', 'T')}"
    return command + config.db_argument


def read_stored_range(store: Store, key: SeriesKey, config: BacktestConfig) -> tuple[int, int]:
    """Return the opens of the first and the last closed candle, epoch seconds.

    Raises:
        DataError: no closed candle is stored; the text has the command that fetches some.
    """
    stored = read_closed_range(store, key)
    if stored is not None:
        return stored
    raise DataError(describe_nothing_stored(store, key, config))


def describe_nothing_stored(
    store: Store,
    key: SeriesKey,
    config: BacktestConfig,
    start: int | None = None,
    end: int | None = None,
) -> str:
    """Return the text that no closed candle of a series is stored, with the fetch command.

    Args:
        store: The open database.
        key: The series.
        config: Configuration of the run.
        start: First moment of the candles, epoch seconds; None: the default of the backfiller.
        end: Last moment of the candles, epoch seconds, exclusive; None: the newest.
    """
    hint = suggest_name(str(key), [str(summary.key) for summary in read_series_summaries(store)])
    command = format_repair_command(key, config, start, end)
    return (
        f"{store.path} holds no closed candle of {key}; run: {command}"
        f"{_format_resample_command(store, key, config)}{hint}"
    )


def describe_gaps(
    store: Store,
    key: SeriesKey,
    config: BacktestConfig,
    bad: Sequence[Range],
    stored: Range,
    repair: str,
) -> str:
    """Return the number of missing candles, the first one, and the remedies that can work.

    Args:
        store: The open database.
        key: The series.
        config: Configuration of the run.
        bad: Unexplained gaps of the range, sorted; at least one.
        stored: Open of the first stored candle and the close of the last one, epoch seconds.
        repair: The command that fetches the missing candles.
    """
    timeframe = Timeframe.parse(key.timeframe)
    missing = sum(timeframe.count_between(*gap) for gap in bad)
    many = f" in {len(bad)} places, first" if len(bad) > 1 else ""
    ends = f"{format_utc(stored[0])} to {format_utc(stored[1])} UTC"
    return (
        f"{key} has {format_count(missing, 'candle')} missing{many} from {format_utc(bad[0][0])} "
        f"UTC (stored: {ends}); run: {repair}{_describe_when_to_repeat(store, key, bad)} "
        f"({_format_accept_command(key, config)}or go on without them: --allow-gaps)"
    )


def _describe_when_to_repeat(store: Store, key: SeriesKey, bad: Sequence[Range]) -> str:
    """Return when to run the command, if an earlier response has left the candles out."""
    known = read_gap_ledger(store, key, bad[0][0], bad[-1][1])
    if get_quirks(key.exchange).newest_only or all(each.state != UNPROVEN for each in known):
        return ""
    return ", 2 minutes after the last run: a second response fetches or proves the gap"


def _format_accept_command(key: SeriesKey, config: BacktestConfig) -> str:
    """Return the command that accepts a gap, for exchanges that cannot prove old gaps."""
    if not get_quirks(key.exchange).newest_only:
        return ""
    return (
        "or accept the gap: uv run backfiller gaps --accept FROM..TO --because "
        f"REASON{config.db_argument}; "
    )


def _format_resample_command(store: Store, key: SeriesKey, config: BacktestConfig) -> str:
    """Return the remedy by `resample`, in brackets; empty where no lower timeframe is stored.

    Args:
        store: The open database.
        key: A series without a closed candle.
        config: Configuration of the run.
    """
    lower = _find_resample_source(store, key)
    if lower is None:
        return ""
    command = (
        f"uv run backfiller resample --exchange {key.exchange} --symbol {key.symbol} "
        f"--timeframe {lower} --into {key.timeframe}"
    )
    return f" (or build them from the stored {lower} candles: {command}{config.db_argument})"


def _find_resample_source(store: Store, key: SeriesKey) -> str | None:
    """Return the highest stored timeframe that divides the requested one."""
    missing_timeframe, found = Timeframe.parse(key.timeframe), list[Timeframe]()
    for summary in read_series_summaries(store):
        each = summary.key
        if (each.exchange, each.symbol) != (key.exchange, key.symbol):
            continue
        try:
            timeframe = Timeframe.parse(each.timeframe)
            check_multiple(timeframe, missing_timeframe)
        except UsageError:  # a gap of another series of the file
            continue
        if read_closed_range(store, each) is not None:
            found.append(timeframe)
    return max(found, key=lambda one: one.average_seconds).name if found else None
