"""`backfiller import`: store the candles of files, one summary line for each table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backfiller.commands.series_selection import (
    CONFIG,
    choose_database_file,
    load_backfiller_settings,
)
from onetape.cli import options

if TYPE_CHECKING:
    from backfiller.formats.table_series import FailedTable, ImportFlags, PlannedTable
    from backfiller.importing import ImportResult

_Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="CSV, CSV.gz, Parquet, Feather, JSON, or a ZIP of Binance or Kraken.",
    ),
]
_TimeUnit = Annotated[
    str | None,
    typer.Option(
        metavar="UNIT",
        help="Unit of the times: s, ms, us, ns, or iso for dates.  [default: recognised]",
    ),
]
_TimeZone = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="Time zone of dates without an offset, such as Europe/Berlin.  [default: UTC]",
    ),
]
_Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Names of the columns, such as timestamp,low,high,open,close,volume; - for "
        "any other column.  [default: recognised]",
    ),
]
_Spot = Annotated[
    bool,
    typer.Option(
        "--spot",
        help="Import files that look like futures, mark or index prices as spot candles.",
    ),
]
_DropLast = Annotated[
    bool,
    typer.Option(
        "--drop-last",
        help="Leave out the last candle of each file: it may not have been complete.",
    ),
]
#: Maximum number of failed tables that the last line names.
_MOST_NAMED = 5


def import_files(
    files: _Files,
    *,
    exchange: options.Exchange = None,
    symbol: options.Symbol = None,
    timeframe: options.OneTimeframe = None,
    time_unit: _TimeUnit = None,
    timezone: _TimeZone = None,
    columns: _Columns = None,
    spot: _Spot = False,
    drop_last: _DropLast = False,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Import candle files, checked like fetched candles. File names may replace flags.

    A table that cannot be imported does not stop the others; the exit code is the highest of all.
    """
    from contextlib import ExitStack

    from backfiller.formats.table_series import plan_import
    from onetape.cli.output import print_json, print_line

    flags = _parse_flags(
        exchange, symbol, timeframe,
        time_unit=time_unit, timezone=timezone, columns=columns, spot=spot, drop_last=drop_last,
    )  # fmt: skip
    settings = load_backfiller_settings(db, config, None)
    done: list[ImportResult] = []
    with ExitStack() as archives:
        planned, failed = plan_import(files, flags, archives)
        total = len(planned) + len(failed)
        if total > 1:
            for failure in failed:
                _note_failure(failure)
        exchanges = sorted({table.exchange for table in planned})
        path = choose_database_file(settings.db, exchanges) if planned else None
        if path is not None:
            done = _import_all(
                planned, flags, path, failed, prints_lines=not json_, is_single=total == 1
            )
    if total == 1 and failed and not done:
        raise failed[0].error
    if json_:
        print_json(
            {
                "database": path,
                "files": [result.make_document() for result in done],
                "failed": [failure.make_document() for failure in failed],
            }
        )
    elif done:
        print_line(f"database: {path}")
    _raise_worst(failed, total)


def _parse_flags(
    exchange: str | None,
    symbol: str | None,
    timeframe: str | None,
    *,
    time_unit: str | None,
    timezone: str | None,
    columns: str | None,
    spot: bool,
    drop_last: bool,
) -> "ImportFlags":
    """Return the flags of an import, parsed.

    Raises:
        UsageError: a flag cannot be used.
    """
    from backfiller.formats.column_roles import parse_columns
    from backfiller.formats.table_reader import ReadOptions
    from backfiller.formats.table_series import ImportFlags
    from backfiller.formats.time_formats import ISO, UNITS, parse_time_zone
    from onetape.core.errors import UsageError
    from onetape.core.symbols import parse_spot_symbol
    from onetape.core.timeframes import Timeframe

    if time_unit is not None and time_unit not in (*UNITS, ISO):
        raise UsageError(f"--time-unit {time_unit!r} is not one of s, ms, us, ns and iso")
    return ImportFlags(
        exchange,
        None if symbol is None else parse_spot_symbol(symbol),
        None if timeframe is None else Timeframe.parse(timeframe).name,
        ReadOptions(
            time_unit,
            None if timezone is None else parse_time_zone(timezone),
            None if columns is None else parse_columns(columns),
            spot,
        ),
        drop_last,
    )


def _import_all(
    planned: "list[PlannedTable]",
    flags: "ImportFlags",
    path: Path,
    failed: "list[FailedTable]",
    *,
    prints_lines: bool,
    is_single: bool,
) -> "list[ImportResult]":
    """Read and store each table, and print its summary and notes.

    Args:
        planned: The tables.
        flags: Flags of the import.
        path: The database; it is created with the first table that can be read.
        failed: Tables that cannot be imported are added to it.
        prints_lines: Whether to print a summary line for each table.
        is_single: Whether there is one table only, whose error is not printed here.

    Raises:
        StoreError: the database cannot be used.
    """
    from contextlib import ExitStack, closing

    from backfiller.formats.table_series import FailedTable
    from backfiller.importing import store_table
    from backfiller.table_check import read_planned
    from onetape.cli.output import note, print_line, print_progress
    from onetape.core.clock import SystemClock
    from onetape.core.errors import ConfigurationError, DataError, UsageError
    from onetape.store.candles import ensure_store_kind
    from onetape.store.database import Store, open_store

    done: list[ImportResult] = []
    with ExitStack() as stack:
        store: Store | None = None
        for planned_table in planned:
            source = planned_table.table_file.source
            print_progress(f"reading {source}")
            now_ms = SystemClock().now_ms()
            try:
                table = read_planned(planned_table, flags, now_ms=now_ms)
            except (DataError, UsageError, ConfigurationError) as error:
                failed.append(FailedTable(source, error))
                if not is_single:
                    _note_failure(failed[-1])
                continue
            with closing(table):
                if store is None:  # only now, so that an unreadable file creates no database
                    store = stack.enter_context(open_store(path, create=True))
                ensure_store_kind(store, table.key.exchange)
                done.append(store_table(store, table, now_ms=now_ms))
            for line in done[-1].notes:
                note(f"{source}: {line}")
            if prints_lines:
                print_line(done[-1].format_line())
            contradiction = done[-1].find_contradiction()
            if contradiction is not None:
                failed.append(FailedTable(source, contradiction))
                if not is_single:
                    _note_failure(failed[-1])
    _note_guesses(done)
    return done


def _note_guesses(done: "list[ImportResult]") -> None:
    """Print a note for each exchange that is a guess from the style of a file's name."""
    from collections import Counter

    from onetape.cli.output import note
    from onetape.core.message_text import format_count

    guesses = [result for result in done if result.is_exchange_guessed]
    for exchange, count in Counter(result.exchange for result in guesses).items():
        first = next(result for result in guesses if result.exchange == exchange)
        more = f" and {format_count(count - 1, 'other table')}" if count > 1 else ""
        note(
            f"{Path(first.source).name}{more}: exchange {exchange} is a guess from the style of "
            "the name; if it is another, name it with --exchange, and another --db"
        )


def _note_failure(failure: "FailedTable") -> None:
    from onetape.cli.output import note

    note(f"backfiller: {failure.error}")


def _raise_worst(failed: "list[FailedTable]", total: int) -> None:
    """Raise one error for all failures; without any, return.

    Args:
        failed: The failed tables.
        total: Number of all tables.

    Raises:
        OnetapeError: error of the only table; of several tables, an error that names the failed
            ones, of the class with the highest exit code.
    """
    from onetape.core.message_text import format_count

    if not failed:
        return
    worst = max((failure.error for failure in failed), key=lambda error: error.exit_code)
    if total == 1:
        raise worst
    names = ", ".join(Path(failure.source).name for failure in failed[:_MOST_NAMED])
    more = f" and {len(failed) - _MOST_NAMED:,} more" if len(failed) > _MOST_NAMED else ""
    count = f"{len(failed):,} of {format_count(total, 'table')}"
    raise type(worst)(f"{count} could not be imported or need a look: {names}{more}")
