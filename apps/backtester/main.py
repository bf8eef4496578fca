"""The backtester: replay a strategy over stored candles."""

from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from backtester.flags import take_flags
from onetape.cli.commands import Command, commands_when_used
from onetape.cli.program import refuse_flags_before, run_app, without_collection

if TYPE_CHECKING:
    from onetape.backtest.config import BacktestConfig
    from onetape.backtest.models import Backtest

_COMMANDS: Final = {
    "list": Command("backtester.commands.list", "list_runs"),
    "show": Command("backtester.commands.show", "show_run"),
    "compare": Command("backtester.commands.compare", "compare_runs"),
    "explain": Command("backtester.commands.explain", "explain_moment", keeps_unknown=True),
    "optimize": Command("backtester.commands.optimize", "optimize", keeps_unknown=True),
    "check": Command("backtester.commands.check", "check", keeps_unknown=True),
    "new-strategy": Command("backtester.commands.new_strategy", "new_strategy"),
}

app = typer.Typer(cls=commands_when_used(_COMMANDS), add_completion=False, rich_markup_mode=None)


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
    with without_collection():
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


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backtester", at_once=True)


if __name__ == "__main__":
    run()
