"""The trader: run a strategy on live candles, on paper."""

import signal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from onetape.cli.flags import flag_values, takes_settings
from onetape.cli.program import run_app
from trader.settings import TraderSettings
from trader.start import stop_before_trading

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@takes_settings(TraderSettings, after={"dry_run": "--reentry", "config": "--db"})
def trade(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Trade on paper, which is all this version does.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/trader.yaml]"
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Run a strategy on live candles, on paper, until Ctrl-C or SIGTERM."""
    from onetape.cli.loading import load_settings, settings_file
    from trader.run import check_settings, run_trader

    given = {"mode": "paper" if dry_run else None, **flag_values(TraderSettings, flags)}
    file = settings_file("trader", config)
    loaded = load_settings(TraderSettings, "trader", file, given)
    with loaded.places.naming_places():
        check_settings(loaded.settings)
        run_trader(loaded.settings)


def run() -> NoReturn:
    """Run the program; until it trades, a signal ends it cleanly at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_before_trading)
    run_app(app, "trader")


if __name__ == "__main__":
    run()
