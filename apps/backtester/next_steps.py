"""The commands that a new strategy goes on with, which run as they are printed."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backtester.run import symbols_of
from backtester.settings import BacktesterSettings
from onetape.cli.settings import database_path
from onetape.core.candles import SeriesKey
from onetape.core.symbols import SIMULATOR_ID, spot_symbol
from onetape.core.timeframes import Timeframe
from onetape.store.candles import closed_range, stored_series
from onetape.store.database import open_if_exists

#: What the offline exchange is asked for where nothing is stored.
_SYMBOL: Final = "BTC/USDT"
_RANGE: Final = ("--from", "2024-01-01", "--to", "2024-07-01")


def next_commands(name: str, tests: Path, settings: BacktesterSettings) -> dict[str, str]:
    """Return what to run next, by what it is for.

    Args:
        name: Of the strategy.
        tests: The folder of its test.
        settings: What a run without flags would take. Where its series is not stored, the commands
            name one that is; where none is, they begin with one that stores some.

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
    flags = ["--strategy", name, *_flags(key, wanted)]
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


def _flags(key: SeriesKey, wanted: SeriesKey) -> list[str]:
    """Return the flags that name a series where the settings name another."""
    names = zip(("--exchange", "--symbol", "--timeframe"), key.names, wanted.names, strict=True)
    return [word for flag, name, said in names if name != said for word in (flag, name)]


def _command(*words: str) -> str:
    return " ".join(["uv run", *(shlex.quote(word) for word in words)])
