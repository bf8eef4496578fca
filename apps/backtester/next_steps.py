"""The commands that a new strategy goes on with, which run as they are printed."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backtester.load import wanted_range
from backtester.run import symbols_of
from backtester.settings import BacktesterSettings
from onetape.cli.dates import day_text
from onetape.cli.settings import database_path
from onetape.core.candles import SeriesKey
from onetape.core.symbols import SIMULATOR_ID, spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.store.candles import closed_range, missing_between, stored_series
from onetape.store.database import open_if_exists
from onetape.store.gaps import unexplained

#: What the offline exchange is asked for where nothing is stored.
_SYMBOL: Final = "BTC/USDT"
_RANGE: Final = ("--from", "2024-01-01", "--to", "2024-07-01")
#: Candles of a whole stretch from which on the newest one is taken rather than the longest.
_LONG_ENOUGH: Final = 500


def next_commands(name: str, tests: Path, settings: BacktesterSettings) -> dict[str, str]:
    """Return what to run next, by what it is for.

    Args:
        name: Of the strategy.
        tests: The folder of its test.
        settings: What a run without flags would take. Where its series is not stored, the commands
            name one that is; where none is, they begin with one that stores some. Where candles are
            missing unexplained, which a run refuses, they name a stretch without such holes.

    Raises:
        OnetapeError: the settings or a database cannot be used.
    """
    wanted = SeriesKey(
        settings.exchange,
        spot_symbol(next(iter(symbols_of(settings)), "")),
        Timeframe.parse(settings.timeframe).name,
    )
    key = _stored_key(settings, wanted)
    commands: dict[str, str] = {}
    if key is None:
        key = SeriesKey(SIMULATOR_ID, _SYMBOL, wanted.timeframe)
        db = [] if settings.db is None else ["--db", str(settings.db)]
        series = ["--exchange", key.exchange, "--symbol", key.symbol, "--timeframe", key.timeframe]
        commands["candles"] = _command("backfiller", *series, *_RANGE, *db)
        part = [] if wanted_range(settings) == (None, None) else [*_RANGE]
    else:
        part = _whole_part(key, settings)
    flags = ["--strategy", name, *_flags(key, wanted), *part]
    return {
        **commands,
        "test it": _command("pytest", str(tests)),
        "check it": _command("backtester", "check", *flags),
        "run it": _command("backtester", *flags),
    }


def _stored_key(settings: BacktesterSettings, wanted: SeriesKey) -> SeriesKey | None:
    """Return the stored series that is nearest to the wanted one."""
    if _is_closed(database_path(settings.db, wanted.exchange), wanted):
        return wanted
    files = {database_path(settings.db, exchange) for exchange in (wanted.exchange, SIMULATOR_ID)}
    files.add(database_path(settings.db, BacktesterSettings().exchange))
    found = [key for file in sorted(files) for key in _keys(file)]

    def distance(key: SeriesKey) -> tuple[bool, ...]:
        return (
            key.exchange != wanted.exchange,
            key.exchange == SIMULATOR_ID,
            key.symbol != wanted.symbol,
            key.timeframe != wanted.timeframe,
        )

    return min(found, key=distance, default=None)


def _is_closed(file: Path, key: SeriesKey) -> bool:
    store = open_if_exists(file)
    if store is None:
        return False
    with store:
        return closed_range(store, key) is not None


def _keys(file: Path) -> Sequence[SeriesKey]:
    """Return the series of a file that have a closed candle."""
    store = open_if_exists(file)
    if store is None:
        return ()
    with store:
        keys = [summary.key for summary in stored_series(store)]
        return [key for key in keys if closed_range(store, key) is not None]


def _whole_part(key: SeriesKey, settings: BacktesterSettings) -> list[str]:
    """Return the flags of a stretch that no run refuses; none where it takes the range as it is."""
    timeframe = Timeframe.parse(key.timeframe)
    store = open_if_exists(database_path(settings.db, key.exchange))
    if store is None or settings.allow_gaps:
        return []
    with store:
        first, last = closed_range(store, key) or (0, 0)
        after = timeframe.next(last)
        start, end = (
            stored if asked is None else asked
            for asked, stored in zip(wanted_range(settings), (first, after), strict=True)
        )
        if not unexplained(store, key, missing_between(store, key, start, end)):
            return []
        low, high = max(start, first), min(end, after)
        if low >= high:
            low, high = first, after
        bad = unexplained(store, key, missing_between(store, key, low, high))
    edges = [low, *(edge for hole in bad for edge in hole), high]
    stretches = [pair for pair in zip(edges[::2], edges[1::2], strict=True) if pair[0] < pair[1]]
    lengths = [timeframe.count_between(*pair) for pair in stretches]
    long = [pair for pair, count in zip(stretches, lengths, strict=True) if count >= _LONG_ENOUGH]
    found = long[-1] if long else stretches[lengths.index(max(lengths))]
    moments = [day_text(moment).replace(" ", "T") for moment in found]
    return ["--from", moments[0], "--to", moments[1]]


def _flags(key: SeriesKey, wanted: SeriesKey) -> list[str]:
    """Return the flags that name a series where the settings name another."""
    names = zip(("--exchange", "--symbol", "--timeframe"), key.names, wanted.names, strict=True)
    return [word for flag, name, said in names if name != said for word in (flag, name)]


def _command(*words: str) -> str:
    return " ".join(["uv run", *(shlex.quote(word) for word in words)])
