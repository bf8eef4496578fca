"""`backtester compare RUN RUN ...`: runs side by side, with their differences."""

from typing import Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError


def compare_runs(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN ...", help="last, ids or their beginnings, or folders."),
    ],
    *,
    json_: options.Json = False,
) -> None:
    """Compare runs: metrics side by side, and differences in settings, data and code."""
    from backtester.rendering.runs import find_run_differences, format_comparison
    from onetape.backtest.storage.runs import load_run
    from onetape.cli.output import print_json, print_line

    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; see: uv run backtester list")
    found = [load_run(name) for name in runs]
    if json_:
        print_json(
            {
                "runs": [run.id for run in found],
                "metrics": {run.id: run.metrics for run in found},
                "differences": {
                    name: dict(zip([run.id for run in found], values, strict=True))
                    for name, values in find_run_differences(found).items()
                },
            }
        )
    else:
        print_line(format_comparison(found))
