"""The backtester: replay a strategy over stored candles."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from backtester.commands.new_strategy import new_strategy
from onetape.cli import options
from onetape.cli.program import run_app
from onetape.core.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def backtest(
    context: typer.Context,
    *,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="YYYY-MM-DD",
            help="First day, UTC.  [default: the first stored candle]",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Stop before this day, UTC (exclusive).  [default: the newest stored candle]",
        ),
    ] = None,
    timerange: options.Timerange = None,
    symbol: options.Symbol = None,
    exchange: options.Exchange = None,
    timeframe: options.OneTimeframe = None,
    strategy: options.StrategyName = None,
    param: options.Parameters = None,
    cash: options.Cash = None,
    fee: options.Fee = None,
    slippage: options.Slippage = None,
    sizing: options.Sizing = None,
    stop_loss: options.StopLoss = None,
    take_profit: options.TakeProfit = None,
    trailing_stop: options.TrailingStop = None,
    time_stop: options.TimeStop = None,
    cool_down: options.CoolDown = None,
    market: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="exchange: its steps and minimums; ideal: none."),
    ] = None,
    allow_gaps: Annotated[
        bool | None, typer.Option("--allow-gaps", help="Go on over candles missing unexplained.")
    ] = None,
    db: options.Database = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML report.  [default: one in data/reports]"),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/backtester.yaml]"
        ),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Replay a strategy over stored candles: signal on the close, fill on the next open."""
    if context.invoked_subcommand is not None:
        _refuse_flags_before(context)
        return
    from backtester.run import run_backtest
    from backtester.settings import BacktesterSettings
    from onetape.cli.dates import range_flags
    from onetape.cli.parameters import parse_parameters, parse_sizing
    from onetape.cli.settings import load_settings, settings_file

    from_, to = range_flags(from_, to, timerange)
    flags = {
        "symbol": symbol,
        "exchange": exchange,
        "timeframe": timeframe,
        "from": from_,
        "to": to,
        "strategy": {"name": strategy, "parameters": parse_parameters(param)},
        "account": {
            "cash": cash,
            "fee_rate": fee,
            "slippage_bps": slippage,
            "cool_down_bars": cool_down,
            **parse_sizing(sizing),
        },
        "exits": {
            "stop_loss": stop_loss,
            "take_profit": take_profit,
            "trailing_stop": trailing_stop,
            "time_stop_bars": time_stop,
        },
        "market": market,
        "allow_gaps": allow_gaps,
        "db": db,
        "report": report,
    }
    settings: BacktesterSettings = load_settings(
        BacktesterSettings, "backtester", settings_file("backtester", config), flags
    )
    run_backtest(settings, as_json=json_, with_report=not no_report)


app.command("new-strategy")(new_strategy)


def _refuse_flags_before(context: typer.Context) -> None:
    """A flag before the command would be taken for the backtest and silently ignored.

    Raises:
        UsageError: there is one.
    """
    given = [name for name, value in context.params.items() if value]
    if given:
        flag = f"--{given[0].strip('_').replace('_', '-')}"
        name = context.invoked_subcommand
        raise UsageError(f"put {flag} behind the command: backtester {name} {flag} ...")


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backtester")


if __name__ == "__main__":
    run()
