"""The backtester: replay a strategy over stored candles."""

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from backtester.commands.check import check
from backtester.commands.compare import compare_runs
from backtester.commands.explain import explain_moment
from backtester.commands.list import list_runs
from backtester.commands.new_strategy import new_strategy
from backtester.commands.search import search
from backtester.commands.show import show_run
from onetape.cli import options
from onetape.cli.program import run_app
from onetape.core.errors import UsageError

if TYPE_CHECKING:
    from backtester.settings import BacktesterSettings

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
    symbol: options.Symbols = None,
    max_open_trades: Annotated[
        int | None,
        typer.Option(metavar="N", help="Positions at a time, of several symbols."),
    ] = None,
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
    detail_timeframe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Stored candles that tell stop from target, as 1m."),
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="exchange: its steps and minimums; ideal: none."),
    ] = None,
    allow_gaps: Annotated[
        bool | None, typer.Option("--allow-gaps", help="Go on over candles missing unexplained.")
    ] = None,
    check_: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check", help="Look at a few bars for look-ahead.  [default: yes]"
        ),
    ] = None,
    db: options.Database = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML report.  [default: in the run's folder]"),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Keep the run in data/runs, for list, show and compare.  "
            "[default: yes, with --json no]",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Run again at each save; the report in the browser reloads."),
    ] = False,
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
    if watch:
        from backtester.watch.run import watch as watch_backtest

        watch_backtest(context)
        return
    # A run makes few cycles and ends soon: to look for them takes a twentieth of its time.
    gc.disable()
    try:
        from backtester.run import run_backtest

        settings = settings_of(context.params)
        run_backtest(settings, as_json=json_, with_report=not no_report, keep=keep)
    finally:
        gc.enable()


def settings_of(given: Mapping[str, Any]) -> "BacktesterSettings":
    """Return the settings of a backtest.

    Args:
        given: The parameters of `backtest` by name, as typer read them.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the file or the environment cannot be used.
    """
    from backtester.settings import BacktesterSettings
    from onetape.cli.dates import range_flags
    from onetape.cli.parameters import parse_parameters, parse_sizing
    from onetape.cli.settings import load_settings, settings_file

    from_, to = range_flags(given["from_"], given["to"], given["timerange"])
    same = (
        "max_open_trades", "exchange", "timeframe", "detail_timeframe", "market", "allow_gaps",
        "db", "report",
    )  # fmt: skip
    flags: dict[str, Any] = {
        **{name: given[name] for name in same},
        "symbol": ",".join(given["symbol"] or ()) or None,
        "from": from_,
        "to": to,
        "check": given["check_"],
        "strategy": {"name": given["strategy"], "parameters": parse_parameters(given["param"])},
        "account": {
            "cash": given["cash"],
            "fee_rate": given["fee"],
            "slippage_bps": given["slippage"],
            "cool_down_bars": given["cool_down"],
            **parse_sizing(given["sizing"]),
        },
        "exits": {
            "stop_loss": given["stop_loss"],
            "take_profit": given["take_profit"],
            "trailing_stop": given["trailing_stop"],
            "time_stop_bars": given["time_stop"],
        },
    }
    # Typer makes paths of texts only where it calls the function.
    config = None if given["config"] is None else Path(given["config"])
    file = settings_file("backtester", config)
    settings: BacktesterSettings = load_settings(BacktesterSettings, "backtester", file, flags)
    return settings


def backtest_settings(arguments: Sequence[str], command: str) -> "BacktesterSettings":
    """Return the settings that the flags of a backtest make, for a command that takes them all.

    Args:
        arguments: What the command did not know.
        command: What the user typed, for the error.

    Raises:
        UsageError: one of them is no flag of a backtest.
    """
    # The program itself would take what is no flag for the name of another command.
    alone = typer.Typer(add_completion=False)
    alone.command()(backtest)
    parsed = typer.main.get_command(alone).make_context(f"backtester {command}", [*arguments])
    return settings_of(parsed.params)


app.command("list")(list_runs)
app.command("show")(show_run)
app.command("compare")(compare_runs)
app.command("explain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    explain_moment
)
app.command("search", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    search
)
app.command("check", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    check
)
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
    run_app(app, "backtester", at_once=True)


if __name__ == "__main__":
    run()
