"""`backtester show RUN`: a saved run, as it was printed."""

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

    from backtester.rendering.result import run_document
    from backtester.rendering.runs import shown_text
    from onetape.backtest.storage.runs import load_run
    from onetape.cli.output import get_terminal_width, print_json, print_line

    found = load_run(run)
    if json_:
        print_json({**asdict(found.manifest), "result": run_document(found)})
    else:
        print_line(shown_text(found, width=get_terminal_width()))
