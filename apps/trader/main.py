"""The trader: run a strategy on live candles, on paper."""

import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from onetape.cli.program import run_app

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def trade(
    *,
    symbol: Annotated[
        str | None, typer.Option("--symbol", "-p", metavar="BASE/QUOTE", help="Spot symbol.")
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(metavar="ID", help="CCXT exchange id, or simulator for the offline one."),
    ] = None,
    timeframe: Annotated[
        str | None,
        typer.Option("--timeframe", "-t", "-i", metavar="NAME", help="Such as 1m, 1h or 1d."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", "-s", metavar="NAME", help="rsi, macd, sma_cross, or FILE.py:Class."
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A strategy parameter; repeat for several."),
    ] = None,
    cash: Annotated[
        float | None, typer.Option(metavar="AMOUNT", help="Start, in quote currency.")
    ] = None,
    fee: Annotated[
        float | None, typer.Option(metavar="RATIO", help="Per trade; 0.001 is 0.1 %.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Trade on paper, which is all this version does.")
    ] = False,
    db: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Database file.  [default: data/onetape.db]"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/trader.yaml]"
        ),
    ] = None,
    simulator_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a simulator listens.")
    ] = None,
) -> None:
    """Run a strategy on live candles, on paper, until Ctrl-C or SIGTERM."""
    from onetape.cli.parameters import parse_parameters
    from onetape.cli.settings import load_settings, settings_file
    from trader.run import run_trader
    from trader.settings import TraderSettings

    flags = {
        "mode": "paper" if dry_run else None,
        "symbol": symbol,
        "exchange": exchange,
        "timeframe": timeframe,
        "strategy": {"name": strategy, "parameters": parse_parameters(param)},
        "account": {"cash": cash, "fee_rate": fee},
        "db": db,
        "simulator_url": simulator_url,
    }
    settings: TraderSettings = load_settings(
        TraderSettings, "trader", settings_file("trader", config), flags
    )
    run_trader(settings)


def run() -> NoReturn:
    """Run the program; until it trades, a signal ends it cleanly at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_before_trading)
    run_app(app, "trader")


def _stop_before_trading(number: int, frame: object) -> None:
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before trading began\n")
    sys.exit(0)


if __name__ == "__main__":
    run()
