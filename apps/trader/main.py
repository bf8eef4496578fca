"""The trader: run a strategy on live candles, on paper."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from onetape.cli import options
from onetape.cli.program import run_app
from onetape.core.errors import UsageError
from trader.start import stop_before_trading

if TYPE_CHECKING:
    from onetape.cli.parameter_errors import Check

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def trade(
    context: typer.Context,
    *,
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", "-p", metavar="BASE/QUOTE", help="Spot symbol."),
    ] = None,
    exchange: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="CCXT exchange id, or simulator for the offline one."),
    ] = None,
    timeframe: Annotated[
        list[str] | None,
        typer.Option("--timeframe", "-t", "-i", metavar="NAME", help="Such as 1m, 1h or 1d."),
    ] = None,
    strategy: options.StrategyName = None,
    param: options.Parameters = None,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Paper account; each has its own start balance, position and strategy.  "
            "[default: one for each exchange, symbol and timeframe]",
        ),
    ] = None,
    cash: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Start balance of a new account, in quote currency.  [default: 10000]",
        ),
    ] = None,
    fee: options.Fee = None,
    maker_fee: options.MakerFee = None,
    fee_coin: options.FeeCoin = None,
    slippage: options.Slippage = None,
    spread_bps: options.SpreadBps = None,
    volume_impact: options.VolumeImpact = None,
    sizing: options.Sizing = None,
    stop_loss: options.StopLoss = None,
    take_profit: options.TakeProfit = None,
    target: options.Target = None,
    trailing_stop: options.TrailingStop = None,
    time_stop: options.TimeStop = None,
    cool_down: options.CoolDown = None,
    reentry: options.Reentry = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Trade on paper, which is all this version does.")
    ] = False,
    db: options.Database = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/trader.yaml]"
        ),
    ] = None,
    simulator_url: options.SimulatorUrl = None,
) -> None:
    """Run a strategy on live candles, on paper, until Ctrl-C or SIGTERM."""
    from onetape.cli.parameters import trading_flags
    from onetape.cli.settings import load_settings, settings_file
    from trader.run import check_settings, run_trader
    from trader.settings import TraderSettings

    flags = {
        "mode": "paper" if dry_run else None,
        "symbol": _only("--symbol", symbol),
        "exchange": _only("--exchange", exchange),
        "timeframe": _only("--timeframe", timeframe),
        "account_name": account,
        **trading_flags(context.params),
        "db": db,
        "simulator_url": simulator_url,
    }
    file = settings_file("trader", config)
    settings: TraderSettings = load_settings(
        TraderSettings, "trader", file, flags, check=check_settings
    )

    def load_again(check: "Check") -> TraderSettings:
        return load_settings(
            TraderSettings, "trader", file, flags, check=lambda found: check(found.strategy)
        )

    try:
        run_trader(settings)
    except UsageError as error:
        from onetape.cli.parameter_errors import placed

        raise placed(error, settings.strategy.parameters, load_again) from error


def _only(flag: str, given: list[str] | None) -> str | None:
    """Return the value of a flag.

    Raises:
        UsageError: the flag is given several times.
    """
    if given and len(given) > 1:
        raise UsageError(
            f"{flag} is given {len(given)} times ({', '.join(given)}), and a trader trades one "
            "symbol on one exchange and timeframe; start one trader for each"
        )
    return given[0] if given else None


def run() -> NoReturn:
    """Run the program; until it trades, a signal ends it cleanly at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_before_trading)
    run_app(app, "trader")


if __name__ == "__main__":
    run()
