"""`backtester show RUN`: the printed output of a saved run."""

from typing import Annotated

import typer

from onetape.cli import options

RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="last, an id or its beginning, or a folder."),
]


def show_run(run: RunName = "last", *, json_: options.Json = False) -> None:
    """Print the output of a saved run."""
    from msgspec.structs import asdict

    from backtester.rendering.result import make_run_document
    from backtester.rendering.runs import format_saved_run
    from onetape.backtest.storage.runs import load_run
    from onetape.cli.output import get_terminal_width, print_json, print_line

    found = load_run(run)
    if json_:
        print_json({**asdict(found.manifest), "result": make_run_document(found)})
    else:
        print_line(format_saved_run(found, width=get_terminal_width()))
