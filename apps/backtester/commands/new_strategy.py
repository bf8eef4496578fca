"""`backtester new-strategy`: writes a commented strategy for the user, with a test that passes."""

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
    """Write a commented strategy, user/strategies/NAME.py, and its test."""
    from backtester.new_strategy import list_next_commands, write_new_strategy
    from onetape.cli.output import print_json, print_line
    from onetape.core.folders import USER_FOLDER

    written = write_new_strategy(name, USER_FOLDER)
    if json_:
        files = {"file": written.file, "test": written.test}
        print_json({"strategy": name, **files, "next": list(list_next_commands(name).values())})
        return
    lines = {"strategy": str(written.file), "test": str(written.test), **list_next_commands(name)}
    for label, text in lines.items():
        print_line(f"{label + ':':10}{text}")
