"""`backtester compare RUN RUN ...`: runs side by side, with their differences."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.cli import options
from onetape.core.errors import UsageError

if TYPE_CHECKING:
    from onetape.backtest.storage.runs import SavedRun


def compare_runs(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN ...", help="last, ids or their beginnings, or folders."),
    ],
    *,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML page to write: equity and drawdown of two to five runs in one chart, "
            "metrics, exit reasons and differences.",
        ),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Compare runs: metrics side by side, and differences in settings, data and code."""
    from backtester.rendering.runs import format_comparison
    from onetape.backtest.storage.runs import load_run
    from onetape.cli.output import print_json, print_line

    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; see: uv run backtester list")
    found = [load_run(name) for name in runs]
    written = _write_page(found, report)
    if json_:
        print_json(_make_document(found, written))
        return
    print_line(format_comparison(found))
    if written is not None:
        print_line(f"\nreport: {written}")


def _write_page(found: "Sequence[SavedRun]", path: Path | None) -> Path | None:
    """Return the file of the page that was written; None: no page was requested."""
    if path is None:
        return None
    from backtester.rendering.comparison_page import write_comparison_page

    return write_comparison_page(found, path)


def _make_document(found: "Sequence[SavedRun]", report: Path | None) -> dict[str, Any]:
    """Return the document for --json."""
    from backtester.rendering.runs import find_run_differences

    ids = [run.id for run in found]
    return {
        "runs": ids,
        "metrics": {run.id: run.metrics for run in found},
        "differences": {
            name: dict(zip(ids, values, strict=True))
            for name, values in find_run_differences(found).items()
        },
        "report": report,
    }
