"""`backtester explain --at TIME`: the signal and orders of one candle, with their reasons."""

from typing import Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError


def explain_moment(
    context: typer.Context,
    *,
    at: Annotated[
        str,
        typer.Option(metavar="TIME", help="Time within the candle, UTC: 2024-01-31T14:00."),
    ],
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Saved run: last, an id or its beginning, or a folder."),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Show indicators and signal of one candle, and the order and fill that followed.

    Give --run, or the flags of a backtest, which is then run again.
    """
    from backtester.flags import load_backtest_from_flags
    from backtester.rendering.explain import render_explanation
    from backtester.rendering.result import convert_to_builtins
    from onetape.backtest.backtest_runner import run_backtest
    from onetape.backtest.explain import explain
    from onetape.backtest.storage.rerun import rerun
    from onetape.backtest.storage.runs import load_run
    from onetape.cli.output import print_json, print_line
    from onetape.cli.stdout import claim_stdout
    from onetape.core.dates import parse_moment

    moment = parse_moment(at, "--at")
    if run is None:
        chosen = load_backtest_from_flags(context.args, "explain")
        config = chosen.config
        with chosen.places.add_places_to_errors():
            backtest, changes = run_backtest(config), list[str]()
    elif context.args:
        raise UsageError(f"--run has its own settings; leave out {context.args[0]}")
    else:
        found = load_run(run)
        claim_stdout()
        backtest, changes = rerun(found)
    parts = explain(backtest, moment)
    if json_:
        others = [convert_to_builtins(part) for part in parts[1:]]
        print_json(
            {**convert_to_builtins(parts[0]), "other_symbols": others, "changed_since": changes}
        )
        return
    print_line("\n\n".join(render_explanation(part) for part in parts))
    for text in changes:
        print_line(f"note: {text}")
