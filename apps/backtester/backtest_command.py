"""The command `backtester` without a subcommand: run a backtest, save it, print it.

It loads no Typer, because entry.py reads plain flags without it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetape.cli.memory import keep_freed_memory
from onetape.cli.program import disable_garbage_collection
from onetape.cli.stdout import is_own_process

if TYPE_CHECKING:
    from onetape.backtest.config import BacktestConfig
    from onetape.backtest.models import Backtest


def run_command(given: Mapping[str, Any]) -> None:
    """Run the backtest that the flags of a command line describe.

    Args:
        given: Values of the flags by parameter name, as Typer reads them; None: not given.

    Raises:
        OnetapeError: see the class of the error; no run is saved then. A report file that was named
            and written before the error stays.
    """
    # A run makes few reference cycles and ends soon; collecting them would take 5 % of its time.
    with disable_garbage_collection():
        from backtester.configuration import load_chosen_backtest

        if is_own_process():
            keep_freed_memory()
        chosen = load_chosen_backtest(given)
        with_report = not given["no_report"]
        with chosen.places.add_places_to_errors():
            _run(
                chosen.config,
                as_json=bool(given["json_"]),
                report=chosen.report if with_report else None,
                with_report=with_report,
                save=given["save"],
            )


def _run(
    config: "BacktestConfig",
    *,
    as_json: bool,
    report: Path | None,
    with_report: bool,
    save: bool | None,
) -> None:
    """Run a backtest, save it with its report, and print the result.

    Args:
        config: Configuration of the backtest.
        as_json: Whether to print one document.
        report: File of the report; None: in the run's folder.
        with_report: Whether a report may be written.
        save: Whether the run is saved in a separate folder; None: unless as_json.

    Raises:
        OnetapeError: see the class of the error; no run is saved then. A report file that was named
            and written before the error stays.
    """
    from msgspec.structs import replace

    from backtester.rendering.result import format_result, print_document
    from onetape.backtest.backtest_runner import run_backtest
    from onetape.backtest.summary import summarize
    from onetape.backtest.trade_records import make_trade_records
    from onetape.cli.output import get_terminal_width, print_line

    is_saved = not as_json if save is None else save
    has_page = report is not None or (is_saved and with_report)
    backtest = run_backtest(config, with_indicators=has_page)
    summary, trades = summarize(backtest), make_trade_records(backtest)
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
        print_line(format_result(summary, trades, width=get_terminal_width()))


def _write_report(backtest: "Backtest", path: Path) -> None:
    # The report's modules load only where a report is written.
    from onetape.backtest.report_data import write_backtest_report

    write_backtest_report(backtest, path)
