"""What the subcommands act on: the database, and the stored series that match the flags."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backfiller.settings import BackfillerSettings
    from onetape.core.candles import SeriesKey
    from onetape.store.candles import SeriesSummary
    from onetape.store.database import Store
    from onetape.store.gaps import Gap

CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file.  [default: user/config/backfiller.yaml if it exists, otherwise "
        "config/backfiller.yaml]",
    ),
]


def load_backfiller_settings(
    db: Path | None, config: Path | None, exchange: list[str] | None
) -> "BackfillerSettings":
    """Return the settings of the backfiller.

    Args:
        db: Value of --db, which overrides the setting.
        config: Value of --config; None: the usual settings file.
        exchange: Values of --exchange, which override the setting.

    Raises:
        ConfigurationError: the settings cannot be read.
    """
    from backfiller.settings import BackfillerSettings
    from onetape.cli.loading import find_settings_file, load_settings

    file = find_settings_file("backfiller", config)
    flags = {"db": db, "exchange": exchange}
    return load_settings(BackfillerSettings, "backfiller", file, flags).settings


def open_database(db: Path | None, config: Path | None, exchange: list[str] | None) -> "Store":
    """Open the database that flags and settings name; it must exist.

    Args:
        db: Value of --db; None takes the settings' file or the usual one.
        config: Value of --config.
        exchange: Value of --exchange; the simulator's candles have a separate file.

    Raises:
        ConfigurationError: the settings cannot be read.
        DataError: file not found.
        StoreError: the database cannot be used.
    """
    from onetape.store.database import open_if_exists

    settings = load_backfiller_settings(db, config, exchange)
    path = choose_database_file(settings.db, settings.exchange)
    store = open_if_exists(path)
    if store is None:
        raise DataError(f"{path} does not exist; fill it first: uv run backfiller --help")
    return store


def read_chosen_series(
    store: "Store",
    exchange: list[str] | None,
    symbol: list[str] | None,
    timeframe: list[str] | None,
) -> list["SeriesKey"]:
    """Return the stored series that match the flags; without flags, all of them.

    Raises:
        UsageError: a symbol or timeframe is invalid.
        DataError: the database has candles, and no series matches.
    """
    return [summary.key for summary in read_chosen_summaries(store, exchange, symbol, timeframe)]


def read_chosen_summaries(
    store: "Store",
    exchange: list[str] | None,
    symbol: list[str] | None,
    timeframe: list[str] | None,
) -> list["SeriesSummary"]:
    """Return summaries of the stored series that match the flags; without flags, of all of them.

    Raises:
        UsageError: a symbol or timeframe is invalid.
        DataError: the database has candles, and no series matches.
    """
    from onetape.core.message_text import suggest_name
    from onetape.core.symbols import parse_spot_symbol
    from onetape.core.timeframes import Timeframe
    from onetape.store.candles import read_series_summaries

    is_chosen = make_series_filter(exchange, symbol, timeframe)
    stored = read_series_summaries(store)
    chosen = [summary for summary in stored if is_chosen(summary.key)]
    if stored and not chosen:
        symbols = {parse_spot_symbol(name) for name in symbol or ()}
        timeframes = {Timeframe.parse(name).name for name in timeframe or ()}
        requested = " ".join([*(exchange or ()), *sorted(symbols), *sorted(timeframes)])
        hint = suggest_name(requested, [str(summary.key) for summary in stored])
        raise DataError(f"{store.path} holds no candles of {requested}{hint}")
    return chosen


def make_series_filter(
    exchange: list[str] | None, symbol: list[str] | None, timeframe: list[str] | None
) -> "Callable[[SeriesKey], bool]":
    """Return a function that returns whether a series matches the flags.

    Args:
        exchange: Values of --exchange; None or empty: every exchange matches.
        symbol: Values of --symbol; None or empty: every symbol matches.
        timeframe: Values of --timeframe; None or empty: every timeframe matches.

    Raises:
        UsageError: a symbol or timeframe is invalid.
    """
    from onetape.core.symbols import parse_spot_symbol
    from onetape.core.timeframes import Timeframe

    symbols = {parse_spot_symbol(name) for name in symbol or ()}
    timeframes = {Timeframe.parse(name).name for name in timeframe or ()}

    def is_chosen(key: "SeriesKey") -> bool:
        return (
            (not exchange or key.exchange in exchange)
            and (not symbols or key.symbol in symbols)
            and (not timeframes or key.timeframe in timeframes)
        )

    return is_chosen


def read_known_gaps(store: "Store", key: "SeriesKey") -> "list[Gap] | None":
    """Return the gaps of a stored series; None, with a note on stderr: its timeframe is invalid.

    Only a user's SQL can write such a series; the other series should be shown anyway.
    """
    from onetape.cli.output import note
    from onetape.core.errors import UsageError
    from onetape.store.gaps import read_gaps

    try:
        return read_gaps(store, key)
    except UsageError as error:
        note(f"{key}: {error}")
        return None


def choose_database_file(db: Path | None, exchanges: list[str]) -> Path:
    """Return the database file of these exchanges.

    Args:
        db: Path from flag or settings; None: the usual file.
        exchanges: Ids of the exchanges, at least one.

    Raises:
        UsageError: the simulator is one of several exchanges; its candles have a separate file.
    """
    from onetape.core.folders import choose_database_path
    from onetape.core.symbols import SIMULATOR_ID

    if SIMULATOR_ID in exchanges and len(exchanges) > 1:
        raise UsageError(
            "--exchange simulator excludes other exchanges: its candles are in a separate file"
        )
    return choose_database_path(db, exchanges[0])
