"""The backtester: replay a strategy over stored candles."""

import gc
from collections.abc import Sequence
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
from backtester.settings import BacktesterSettings
from onetape.cli import options
from onetape.cli.flags import takes_settings
from onetape.cli.program import refuse_flags_before, run_app

if TYPE_CHECKING:
    from backtester.configuration import Chosen
    from onetape.backtest.config import BacktestConfig

app = typer.Typer(add_completion=False, rich_markup_mode=None)


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
@takes_settings(BacktesterSettings, after={"timerange": "--to"})
def backtest(
    context: typer.Context,
    *,
    timerange: options.Timerange = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    keep: _Keep = None,
    watch: _Watch = False,
    config: _Config = None,
    json_: options.Json = False,
    **flags: Any,
) -> None:
    """Replay a strategy over stored candles: signal on the close, fill on the next open."""
    del timerange, config, flags  # which are in the context, as commands have them
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
        from backtester.configuration import chosen_backtest

        chosen = chosen_backtest(context.params)
        report = None if no_report else chosen.report
        with chosen.places.naming_places():
            _run(chosen.config, as_json=json_, report=report, with_report=not no_report, keep=keep)
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


def parsed_flags(arguments: Sequence[str], command: str) -> dict[str, Any]:
    """Return the flags of a backtest by parameter name, for a command that takes them all.

    Args:
        arguments: What the command did not know.
        command: What the user typed, for the error.

    Raises:
        TyperException: one of them is no flag of a backtest.
    """
    # The program itself would take what is no flag for the name of another command.
    alone = typer.Typer(add_completion=False)
    alone.command()(backtest)
    return typer.main.get_command(alone).make_context(f"backtester {command}", [*arguments]).params


def chosen_by(arguments: Sequence[str], command: str) -> "Chosen":
    """Return the backtest that the flags describe, for a command that takes them all.

    Args:
        arguments: What the command did not know.
        command: What the user typed.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the file or the environment cannot be used.
    """
    from backtester.configuration import chosen_backtest

    return chosen_backtest(parsed_flags(arguments, command), command)


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
