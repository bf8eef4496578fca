"""The flags of a backtest, which every subcommand that runs one takes too."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtester.settings import BacktesterSettings
from onetape.cli import options
from onetape.cli.flags import takes_settings

if TYPE_CHECKING:
    from backtester.configuration import ChosenBacktest

_Save = Annotated[
    bool | None,
    typer.Option(
        "--save/--no-save",
        help="Save the run in data/runs, for list, show and compare.  "
        "[default: yes, with --json no]",
    ),
]
_Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Run again when a file is saved; the report in the browser reloads."
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file.  [default: user/config/backtester.yaml if it exists, otherwise "
        "config/backtester.yaml]",
    ),
]


@takes_settings(BacktesterSettings, after={"timerange": "--to", "params_from": "--param"})
def take_flags(
    context: typer.Context,
    *,
    timerange: options.Timerange = None,
    params_from: options.ParamsFrom = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    save: _Save = None,
    watch: _Watch = False,
    config: _Config = None,
    json_: options.Json = False,
    **flags: Any,
) -> None:
    """Replay a strategy over stored candles: signal on the close, fill on the next open."""
    del context, timerange, params_from, no_report, save, watch, config, json_, flags


def parse_backtest_flags(arguments: Sequence[str], command: str) -> dict[str, Any]:
    """Return the flags of a backtest by parameter name, for a subcommand that takes them all.

    Args:
        arguments: Arguments that the subcommand does not declare.
        command: Subcommand as typed, for the error.

    Raises:
        TyperException: an argument is not a flag of a backtest.
    """
    # Checked here, because Typer would take another argument for the name of a subcommand.
    alone = typer.Typer(add_completion=False)
    alone.command()(take_flags)
    return typer.main.get_command(alone).make_context(f"backtester {command}", [*arguments]).params


def load_backtest_from_flags(arguments: Sequence[str], command: str) -> "ChosenBacktest":
    """Return the backtest that the flags describe, for a subcommand that takes them all.

    Args:
        arguments: Arguments that the subcommand does not declare.
        command: Subcommand as typed, for the error.

    Raises:
        UsageError: a flag cannot be used.
        ConfigurationError: the file or the environment cannot be used.
    """
    from backtester.configuration import load_chosen_backtest

    return load_chosen_backtest(parse_backtest_flags(arguments, command), command)
