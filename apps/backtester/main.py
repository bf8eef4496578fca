"""The backtester: replay a strategy over stored candles."""

import gc
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
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
from onetape.cli.program import refuse_flags_before, run_app
from onetape.core.errors import UsageError

if TYPE_CHECKING:
    from backtester.settings import BacktesterSettings
    from onetape.backtest.config import BacktestConfig
    from onetape.cli.parameter_errors import Check

app = typer.Typer(add_completion=False, rich_markup_mode=None)


_From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="YYYY-MM-DD",
        help="First day, UTC.  [default: the first candle that all symbols have]",
    ),
]
_To = Annotated[
    str | None,
    typer.Option(
        metavar="YYYY-MM-DD",
        help="Stop before this day, UTC (exclusive).  [default: the newest that all symbols have]",
    ),
]
_MaxOpenTrades = Annotated[
    int | None,
    typer.Option(metavar="N", help="Positions at a time, of several symbols."),
]
_DetailTimeframe = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Stored candles asked how a stop or target was met, as 1m."),
]
_Market = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="exchange: its steps and minimums; ideal: none."),
]
_AllowGaps = Annotated[
    bool | None, typer.Option("--allow-gaps", help="Go on over candles missing unexplained.")
]
_Check = Annotated[
    bool | None,
    typer.Option("--check/--no-check", help="Look at a few bars for look-ahead.  [default: yes]"),
]
_Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="HTML report.  [default: in the run's folder]"),
]
_Keep = Annotated[
    bool | None,
    typer.Option(
        "--keep/--no-keep",
        help="Keep the run in data/runs, for list, show and compare.  "
        "[default: yes, with --json no]",
    ),
]
_Watch = Annotated[
    bool,
    typer.Option("--watch", help="Run again at each save; the report in the browser reloads."),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="YAML file.  [default: config/backtester.yaml]"
    ),
]


@app.callback(invoke_without_command=True)
def backtest(
    context: typer.Context,
    *,
    from_: _From = None,
    to: _To = None,
    timerange: options.Timerange = None,
    symbol: options.Symbols = None,
    max_open_trades: _MaxOpenTrades = None,
    exchange: options.Exchange = None,
    timeframe: options.OneTimeframe = None,
    strategy: options.StrategyName = None,
    param: options.Parameters = None,
    cash: options.Cash = None,
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
    detail_timeframe: _DetailTimeframe = None,
    market: _Market = None,
    allow_gaps: _AllowGaps = None,
    check_: _Check = None,
    db: options.Database = None,
    report: _Report = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    keep: _Keep = None,
    watch: _Watch = False,
    config: _Config = None,
    json_: options.Json = False,
) -> None:
    """Replay a strategy over stored candles: signal on the close, fill on the next open."""
    if context.invoked_subcommand is not None:
        refuse_flags_before(context, "backtester")
        return
    if watch:
        from backtester.watch.run import watch as watch_backtest

        watch_backtest(context)
        return
    # A run makes few cycles and ends soon: to look for them takes a twentieth of its time.
    gc.disable()
    try:
        from backtester.settings import config_of

        settings = settings_of(context.params)
        chosen = config_of(settings)
        report = None if no_report else settings.report
        with placing(chosen, lambda check: settings_of(context.params, check=check)):
            _run(chosen, as_json=json_, report=report, with_report=not no_report, keep=keep)
    finally:
        gc.enable()


def _run(
    config: "BacktestConfig",
    *,
    as_json: bool,
    report: Path | None,
    with_report: bool,
    keep: bool | None,
) -> None:
    """Run a backtest, save it with its report, and print the result.

    Args:
        config: Configuration of the backtest.
        as_json: Whether to print one document.
        report: File of the report; None: in the run's folder.
        with_report: Whether a report may be written.
        keep: Whether the run gets a folder; None: unless as_json.

    Raises:
        OnetapeError: as its class says; nothing is written then.
    """
    from msgspec.structs import replace

    from backtester.rendering.result import print_document, result_text
    from onetape.backtest.runner import run_backtest
    from onetape.backtest.summary import summarize
    from onetape.backtest.trades import trade_records
    from onetape.cli.output import print_line, terminal_width

    is_saved = not as_json if keep is None else keep
    has_page = report is not None or (is_saved and with_report)
    backtest = run_backtest(config, with_indicators=has_page)
    summary, trades = summarize(backtest), trade_records(backtest)
    if report is not None:
        from onetape.backtest.report_data import write_backtest_report

        summary = replace(summary, report=str(report))
        write_backtest_report(backtest, report)
    if is_saved:
        from onetape.backtest.storage.save import save_run

        in_folder = with_report and report is None
        summary = save_run(backtest, summary, trades, with_report=in_folder)
    if as_json:
        print_document(summary, trades)
    else:
        print_line(result_text(summary, trades, width=terminal_width()))


@contextmanager
def placing(config: "BacktestConfig", load_again: "Callable[[Check], object]") -> Generator[None]:
    """Tell of a wrong parameter that comes up inside where it was given.

    Args:
        config: Configuration of the run.
        load_again: Loads the settings again, with a check of the strategy's parameters.
    """
    try:
        yield
    except UsageError as error:
        from onetape.cli.parameter_errors import placed

        raise placed(error, config.strategy.parameters, load_again) from error


def settings_of(
    given: Mapping[str, Any],
    command: str = "",
    *,
    check: "Check | None" = None,
) -> "BacktesterSettings":
    """Return the settings of a backtest.

    Args:
        given: The parameters of `backtest` by name, as typer read them.
        command: The command; a search has parameters in another form, and a watch may begin with a
            strategy that is not written yet.
        check: Looks at the strategy instead of what looks at all settings.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the file or the environment cannot be used.
    """
    from backtester.settings import BacktesterSettings, check_search_settings, check_settings
    from onetape.cli.dates import range_flags
    from onetape.cli.parameters import trading_flags
    from onetape.cli.settings import load_settings, settings_file
    from onetape.cli.stdout import claim_stdout

    # Every command that runs a strategy's code comes here first; help was printed by then.
    claim_stdout()
    from_, to = range_flags(given["from_"], given["to"], given["timerange"])
    same = (
        "max_open_trades", "exchange", "timeframe", "detail_timeframe", "market", "allow_gaps",
        "db", "report",
    )  # fmt: skip
    flags: dict[str, Any] = {
        **{name: given[name] for name in same},
        "symbol": _joined(given["symbol"] or ()),
        "from": from_,
        "to": to,
        "check": given["check_"],
        **trading_flags(given),
    }
    # Typer makes paths of texts only where it calls the function.
    config = None if given["config"] is None else Path(given["config"])
    file = settings_file("backtester", config)
    others = {"search": check_search_settings, "--watch": None}
    of_all = others.get(command, check_settings)
    settings: BacktesterSettings = load_settings(
        BacktesterSettings,
        "backtester",
        file,
        flags,
        check=of_all if check is None else lambda found: check(found.strategy),
    )
    return settings


def _joined(symbols: Sequence[str]) -> str | None:
    """Return symbols as the setting takes them; an empty one makes all of it empty."""
    is_whole = all(symbol.strip() for symbol in symbols)
    return (",".join(symbols) if is_whole else "") if symbols else None


def backtest_settings(
    arguments: Sequence[str], command: str, check: "Check | None" = None
) -> "BacktesterSettings":
    """Return the settings that the flags of a backtest make, for a command that takes them all.

    Args:
        arguments: What the command did not know.
        command: What the user typed, for the error.
        check: Looks at the strategy instead of what looks at all settings.

    Raises:
        UsageError: one of them is no flag of a backtest.
    """
    # The program itself would take what is no flag for the name of another command.
    alone = typer.Typer(add_completion=False)
    alone.command()(backtest)
    parsed = typer.main.get_command(alone).make_context(f"backtester {command}", [*arguments])
    return settings_of(parsed.params, command, check=check)


def config_of_arguments(
    arguments: Sequence[str], command: str, check: "Check | None" = None
) -> "BacktestConfig":
    """Return the configuration that the flags of a backtest make; as `backtest_settings`."""
    from backtester.settings import config_of

    return config_of(backtest_settings(arguments, command, check))


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


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backtester", at_once=True)


if __name__ == "__main__":
    run()
