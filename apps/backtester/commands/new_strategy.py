"""`backtester new-strategy`: a commented strategy of one's own, with a test that passes."""

from typing import Annotated

import typer

from onetape.cli import options


def new_strategy(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Lower case, digits and _, such as my_trend."),
    ],
    *,
    json_: options.Json = False,
) -> None:
    """Write user/strategies/NAME.py, a commented strategy, and test_NAME.py beside it."""
    from backtester.new_strategy import write_new_strategy
    from onetape.cli.output import print_json, print_line
    from onetape.cli.settings import USER_FOLDER

    written = write_new_strategy(name, USER_FOLDER)
    if json_:
        print_json({"strategy": name, "file": written.file, "test": written.test})
        return
    print_line(f"strategy: {written.file}")
    print_line(f"test:     {written.test}")
    print_line(f"test it:  uv run pytest {written.file.parent}")
    print_line(f"check it: uv run backtester check --strategy {name}")
    print_line(f"run it:   uv run backtester --strategy {name}")
