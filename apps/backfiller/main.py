"""The backfiller: fetch candle history over REST into SQLite."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from onetape.cli import options
from onetape.cli.program import run_app
from onetape.core.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def backfill(
    *,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol", "-p", metavar="BASE/QUOTE", help="Spot symbol; repeat for several."
        ),
    ] = None,
    exchange: options.Exchange = None,
    timeframe: Annotated[
        list[str] | None,
        typer.Option(
            "--timeframe", "-t", metavar="NAME", help="Such as 1m, 1h or 1d; repeat for several."
        ),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day, UTC.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Stop before this day, UTC (exclusive).  [default: the newest closed candle]",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="The last N days and today, instead of --from and --to."
        ),
    ] = None,
    timerange: options.Timerange = None,
    db: options.Database = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/backfiller.yaml]"
        ),
    ] = None,
    simulator_url: options.SimulatorUrl = None,
    json_: options.Json = False,
) -> None:
    """Fetch candle history over REST into SQLite. Run again, it fetches only what is missing."""
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
    }
    settings: BackfillerSettings = load_settings(
        BackfillerSettings, "backfiller", settings_file("backfiller", config), flags
    )
    backfill_all(settings, days=days, as_json=json_)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backfiller")


if __name__ == "__main__":
    run()
