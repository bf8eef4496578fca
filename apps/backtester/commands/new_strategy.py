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
    from backtester.main import backtest_settings
    from backtester.new_strategy import write_new_strategy
    from backtester.next_steps import next_commands
    from onetape.cli.output import print_json, print_line
    from onetape.cli.settings import USER_FOLDER

    # Before anything is written: settings or a database that cannot be used are told first.
    commands = next_commands(
        name, USER_FOLDER / "strategies", backtest_settings([], "new-strategy")
    )
    written = write_new_strategy(name, USER_FOLDER, commands.values())
    if json_:
        files = {"file": written.file, "test": written.test}
        print_json({"strategy": name, **files, "next": list(commands.values())})
        return
    said = {"strategy": str(written.file), "test": str(written.test), **commands}
    for label, text in said.items():
        print_line(f"{label + ':':10}{text}")
