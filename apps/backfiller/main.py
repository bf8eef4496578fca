"""The command line of the backfiller: it fetches candle history over REST into SQLite.

Without a subcommand it fetches (or prints a plan); the subcommands are in `commands`.
"""

from typing import Annotated, Any, NoReturn

import typer

from backfiller.commands.backup import back_up, restore_backup
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
from backfiller.commands.series_selection import CONFIG
from backfiller.commands.verify import verify_store
from backfiller.settings import BackfillerSettings
from onetape.cli import options
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.flags import takes_settings
from onetape.cli.program import refuse_flags_before, run_app
from onetape.core.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


# The flags of `backfill` that are no settings.
_Days = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="The last N days and today, instead of --from and --to."),
]
_Plan = Annotated[
    bool, typer.Option("--plan", help="Print what would be fetched, and fetch nothing.")
]


@app.callback(invoke_without_command=True)
@takes_settings(
    BackfillerSettings,
    after={"days": "--to", "timerange": "--to", "plan": "--to", "config": "--db"},
)
def backfill(
    context: typer.Context,
    *,
    days: _Days = None,
    timerange: options.Timerange = None,
    plan: _Plan = False,
    config: CONFIG = None,
    json_: options.Json = False,
    **flags: Any,
) -> None:
    """Fetch candle history over REST into SQLite; a later run fetches only missing candles."""
    if context.invoked_subcommand is not None:
        refuse_flags_before(context, "backfiller")
        return
    from backfiller.backfiller_runs import backfill_all
    from backfiller.planning import print_plan
    from onetape.cli.dates import parse_range_flags
    from onetape.cli.loading import find_settings_file, load_settings

    flags["from_"], flags["to"] = parse_range_flags(flags["from_"], flags["to"], timerange)
    if days is not None and (flags["from_"] is not None or flags["to"] is not None):
        raise UsageError("--days counts back from now; leave out --from, --to and --timerange")
    loaded = load_settings(
        BackfillerSettings,
        "backfiller",
        find_settings_file("backfiller", config),
        collect_flag_values(BackfillerSettings, flags),
    )
    with loaded.places.add_places_to_errors():
        if plan:
            print_plan(loaded.settings, days=days, as_json=json_)
        else:
            backfill_all(loaded.settings, days=days, as_json=json_)


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
app.command("restore")(restore_backup)
app.command("markets")(list_markets)
app.command("exchanges")(list_exchanges)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backfiller")


if __name__ == "__main__":
    run()
