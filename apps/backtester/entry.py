"""Entry point of the backtester: a plain command line runs without Typer, any other with Typer.

The import of Typer takes 18 of the 140 ms of a short backtest.
"""

import sys
from functools import partial
from typing import Final, NoReturn

from backtester.backtest_command import run_command
from backtester.settings import BacktesterSettings
from onetape.cli.plain_flags import PlainFlag, collect_plain_flags, read_plain
from onetape.cli.program import run_function

#: Flags that are not settings, as `backtester.flags` declares them, except `--watch`, which needs
#: Typer.
OWN_FLAGS: Final = {
    "--timerange": PlainFlag("timerange"),
    "--params-from": PlainFlag("params_from"),
    "--no-report": PlainFlag("no_report", bool),
    "--save": PlainFlag("save", bool),
    "--no-save": PlainFlag("save", bool, is_on=False),
    "--config": PlainFlag("config"),
    "-c": PlainFlag("config"),
    "--json": PlainFlag("json_", bool),
}


def run() -> NoReturn:
    """Run the program."""
    given = read_plain(sys.argv[1:], collect_plain_flags(BacktesterSettings, OWN_FLAGS))
    if given is not None:
        run_function(partial(run_command, given), "backtester")
    from backtester.main import run as run_with_typer

    run_with_typer()


if __name__ == "__main__":
    run()
