"""`backtester explain --at TIME`: what happened on one candle, and why."""

from functools import partial
from typing import Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError


def explain_moment(
    context: typer.Context,
    *,
    at: Annotated[
        str,
        typer.Option(metavar="TIME", help="Within the candle: 2024-01-31T14:00, UTC."),
    ],
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="A run that was kept; else flags of a backtest."),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Say what a strategy saw on one candle, and which order and fill followed.

    Takes --run, or all the flags of a backtest, which is then run again.
    """
    from backtester.explain import explained_symbols, explained_text
    from backtester.main import backtest_settings, placing
    from backtester.rerun import made, rerun
    from backtester.runs import load_run
    from onetape.cli.dates import parse_moment
    from onetape.cli.output import print_json, print_line

    moment = parse_moment(at, "--at")
    if run is None:
        load = partial(backtest_settings, context.args, "explain")
        settings = load()
        with placing(settings, load):
            backtest, changes = made(settings), []
    elif context.args:
        raise UsageError(f"--run has its own settings; leave out {context.args[0]}")
    else:
        backtest, changes = rerun(load_run(run))
    parts = explained_symbols(backtest, moment)
    if json_:
        print_json({**parts[0], "other_symbols": parts[1:], "changed_since": changes})
        return
    print_line("\n\n".join(explained_text(part) for part in parts))
    for text in changes:
        print_line(f"note: {text}")
