"""The backfiller: fetch candle history over REST into SQLite."""

from typing import Annotated, NoReturn

import typer

from backfiller.commands.backup import back_up, put_back
from backfiller.commands.common import CONFIG
from backfiller.commands.exchanges import list_exchanges
from backfiller.commands.export import export_series
from backfiller.commands.gaps import list_gaps
from backfiller.commands.import_ import import_files
from backfiller.commands.list import list_series
from backfiller.commands.markets import list_markets
from backfiller.commands.quarantine import list_quarantine
from backfiller.commands.repair import repair_store
from backfiller.commands.resample import resample_stored
from backfiller.commands.revisions import list_revisions
from backfiller.commands.verify import verify_store
from onetape.cli import options
from onetape.cli.program import refuse_flags_before, run_app
from onetape.core.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


_From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day, UTC.")]
_To = Annotated[
    str | None,
    typer.Option(
        metavar="YYYY-MM-DD",
        help="Stop before this day, UTC (exclusive).  [default: the newest closed candle]",
    ),
]
_Days = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="The last N days and today, instead of --from and --to."),
]
_Plan = Annotated[
    bool, typer.Option("--plan", help="Print what would be fetched, and fetch nothing.")
]
_Every = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Stay, and run again at each start of this interval, UTC: 15m, 1h, 1d.",
    ),
]
_Patience = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long an exchange that has answered may fail before its series are given up."
        "  [default: 600]",
    ),
]


@app.callback(invoke_without_command=True)
def backfill(
    context: typer.Context,
    *,
    symbol: options.Symbols = None,
    exchange: options.Exchanges = None,
    timeframe: options.Timeframes = None,
    from_: _From = None,
    to: _To = None,
    days: _Days = None,
    timerange: options.Timerange = None,
    plan: _Plan = False,
    every: _Every = None,
    patience: _Patience = None,
    db: options.Database = None,
    config: CONFIG = None,
    simulator_url: options.SimulatorUrl = None,
    json_: options.Json = False,
) -> None:
    """Fetch candle history over REST into SQLite. Run again, it fetches only what is missing."""
    if context.invoked_subcommand is not None:
        refuse_flags_before(context, "backfiller")
        return
    from backfiller.planning import print_plan
    from backfiller.run import backfill_all
    from backfiller.settings import BackfillerSettings
    from onetape.cli.dates import range_flags
    from onetape.cli.settings import load_settings, settings_file

    from_, to = range_flags(from_, to, timerange)
    if days is not None and (from_ is not None or to is not None):
        raise UsageError("--days counts back from now; leave out --from, --to and --timerange")
    flags = {
        "symbol": symbol,
        "exchange": exchange,
        "timeframe": timeframe,
        "from": from_,
        "to": to,
        "db": db,
        "simulator_url": simulator_url,
        "every": every,
        "patience_seconds": patience,
    }
    settings: BackfillerSettings = load_settings(
        BackfillerSettings, "backfiller", settings_file("backfiller", config), flags
    )
    if plan:
        print_plan(settings, days=days, as_json=json_)
    else:
        backfill_all(settings, days=days, as_json=json_)


app.command("list")(list_series)
app.command("gaps")(list_gaps)
app.command("verify")(verify_store)
app.command("repair")(repair_store)
app.command("revisions")(list_revisions)
app.command("quarantine")(list_quarantine)
app.command("import")(import_files)
app.command("export")(export_series)
app.command("resample")(resample_stored)
app.command("backup")(back_up)
app.command("restore")(put_back)
app.command("markets")(list_markets)
app.command("exchanges")(list_exchanges)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backfiller")


if __name__ == "__main__":
    run()
