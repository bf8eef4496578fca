"""`backfiller import`: candles from files."""

from pathlib import Path
from typing import Annotated

import typer

from backfiller.commands.common import CONFIG, database_of
from onetape.cli import options

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
        help="What times count: s, ms, us, ns, or iso for dates.  [default: recognised]",
    ),
]
_DropLast = Annotated[
    bool,
    typer.Option(
        "--drop-last",
        help="Leave out each file's last candle: it may not have been over when it was made.",
    ),
]


def import_files(
    files: _Files,
    *,
    exchange: options.Exchange = None,
    symbol: options.Symbol = None,
    timeframe: options.OneTimeframe = None,
    time_unit: _TimeUnit = None,
    drop_last: _DropLast = False,
    db: options.Database = None,
    config: CONFIG = None,
    json_: options.Json = False,
) -> None:
    """Import candle files, checked like fetched candles. Flags say only what names do not."""
    from contextlib import ExitStack

    from backfiller.formats.plan import Wanted, plan_import
    from backfiller.formats.times import ISO, UNITS
    from backfiller.importing import Imported, read_planned, store_table
    from backfiller.settings import BackfillerSettings
    from onetape.cli.output import print_json, print_line, tell
    from onetape.cli.settings import load_settings, settings_file
    from onetape.core.clock import SystemClock
    from onetape.core.errors import UsageError
    from onetape.core.symbols import spot_symbol
    from onetape.core.timeframes import Timeframe
    from onetape.store.candles import check_kind
    from onetape.store.database import Store, open_store

    if time_unit is not None and time_unit not in (*UNITS, ISO):
        raise UsageError(f"--time-unit {time_unit!r} is none of s, ms, us, ns and iso")
    settings: BackfillerSettings = load_settings(
        BackfillerSettings, "backfiller", settings_file("backfiller", config), {"db": db}
    )
    wanted = Wanted(
        exchange,
        None if symbol is None else spot_symbol(symbol),
        None if timeframe is None else Timeframe.parse(timeframe).name,
        time_unit,
        drop_last,
    )
    planned = plan_import(files, wanted)
    path = database_of(settings.db, sorted({one.exchange for one in planned}))
    done: list[Imported] = []
    with ExitStack() as stack:
        store: Store | None = None
        for one in planned:
            tell(f"reading {one.part.source}")
            now_ms = SystemClock().now_ms()
            table = read_planned(one, wanted, now_ms=now_ms)
            if store is None:  # only now: a file that cannot be read makes no database
                store = stack.enter_context(open_store(path, create=True))
            check_kind(store, table.key.exchange)
            done.append(store_table(store, table, now_ms=now_ms))
            if not json_:
                print_line(done[-1].line())
    if json_:
        print_json({"database": path, "files": [one.document() for one in done]})
    else:
        print_line(f"database: {path}")
