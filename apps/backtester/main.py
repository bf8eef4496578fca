"""The backtester: replay a strategy over stored candles."""

import gc
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from backtester.commands.check import check
from backtester.commands.compare import compare_runs
from backtester.commands.explain import explain_moment
from backtester.commands.list import list_runs
from backtester.commands.new_strategy import new_strategy
from backtester.commands.optimize import optimize
from backtester.commands.show import show_run
from backtester.flags import take_flags
from onetape.cli.program import refuse_flags_before, run_app

if TYPE_CHECKING:
    from onetape.backtest.config import BacktestConfig
    from onetape.backtest.models import Backtest

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
@wraps(take_flags)
def backtest(context: typer.Context, *, json_: bool, no_report: bool, **flags: Any) -> None:
    """Replay a strategy over stored candles; the flags are those of `take_flags`."""
    if context.invoked_subcommand is not None:
        refuse_flags_before(context, "backtester")
        return
    if flags["watch"]:
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
            _run(
                chosen.config,
                as_json=json_,
                report=report,
                with_report=not no_report,
                keep=flags["keep"],
            )
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
        summary = replace(summary, report=str(report))
        _write_report(backtest, report)
    if is_saved:
        from onetape.backtest.storage.save import save_run

        in_folder = with_report and report is None
        write = partial(_write_report, backtest) if in_folder else None
        summary = save_run(backtest, summary, trades, write_report=write)
    if as_json:
        print_document(summary, trades)
    else:
        print_line(result_text(summary, trades, width=terminal_width()))


def _write_report(backtest: "Backtest", path: Path) -> None:
    # The report's modules load only where a report is written.
    from onetape.backtest.report_data import write_backtest_report

    write_backtest_report(backtest, path)


app.command("list")(list_runs)
app.command("show")(show_run)
app.command("compare")(compare_runs)
app.command("explain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    explain_moment
)
app.command(
    "optimize", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(optimize)
app.command("check", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    check
)
app.command("new-strategy")(new_strategy)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backtester", at_once=True)


if __name__ == "__main__":
    run()
