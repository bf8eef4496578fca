"""`backtester search`: try many combinations of parameters, and hold a part of the range out."""

from pathlib import Path
from typing import Annotated

import typer

from onetape.cli import options


def search(
    *,
    strategy: options.StrategyName = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values to try: 5:50:5 (from, to, step) or 20,50,100; repeat for several.",
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Try N combinations at random; what is not given is drawn too."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random draws.")] = 1,
    rank: Annotated[
        str, typer.Option(metavar="METRIC", help="What the best is best at; see docs/metrics.md.")
    ] = "sharpe",
    held_out: Annotated[
        float, typer.Option(metavar="PART", help="Of the range, at its end: never used to rank.")
    ] = 0.3,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes.  [default: all cores]"),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day, UTC.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Stop before this day, UTC (exclusive)."),
    ] = None,
    timerange: options.Timerange = None,
    symbol: options.Symbol = None,
    exchange: options.Exchange = None,
    timeframe: options.OneTimeframe = None,
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
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="YAML file.  [default: config/backtester.yaml]"
        ),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Try combinations of parameters on all cores; killed and started again, it goes on."""
    from backtester.search.flags import backtest_flags
    from backtester.search.ranking import checked_metric
    from backtester.search.run import Asked, processors, searched
    from backtester.search.say import say
    from backtester.settings import BacktesterSettings
    from onetape.cli.dates import range_flags
    from onetape.cli.parameters import parse_parameters, parse_sizing
    from onetape.cli.settings import load_settings, settings_file
    from onetape.core.errors import UsageError

    if not 0.05 <= held_out <= 0.9:
        raise UsageError(f"--held-out must be a part from 0.05 to 0.9, found {held_out:g}")
    asked = Asked(checked_metric(rank), held_out, random, seed, jobs or processors())
    from_, to = range_flags(from_, to, timerange)
    settings: BacktesterSettings = load_settings(
        BacktesterSettings,
        "backtester",
        settings_file("backtester", config),
        {
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
        },
    )
    given = backtest_flags(
        {
            "exchange": exchange,
            "symbol": symbol,
            "timeframe": timeframe,
            "from": from_,
            "to": to,
            "cash": cash,
            "fee": fee,
            "slippage": slippage,
            "sizing": sizing,
            "stop-loss": stop_loss,
            "take-profit": take_profit,
            "trailing-stop": trailing_stop,
            "time-stop": time_stop,
            "cool-down": cool_down,
            "market": market,
            "allow-gaps": allow_gaps,
            "db": db,
            "config": config,
        }
    )
    say(searched(settings, asked), given, as_json=json_)
