"""`backtester optimize`: try many combinations of parameters, and hold a part of the range out."""

from typing import Annotated

import typer

from onetape.cli import options


def optimize(
    context: typer.Context,
    *,
    strategy: options.StrategyName = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values to try: 5:50:5 (from, to, step) or 20,50,100; repeat for several.",
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Try N combinations at random; a parameter that is not given is drawn from its "
            "declared bounds.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random draws.")] = 1,
    rank: Annotated[
        str, typer.Option(metavar="METRIC", help="What the best is best at; see docs/metrics.md.")
    ] = "sharpe",
    out_of_sample: Annotated[
        float, typer.Option(metavar="PART", help="Of the range, its end: never used to rank.")
    ] = 0.3,
    min_trades: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Closed trades that a combination needs in the in-sample part to be ranked.",
        ),
    ] = 20,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes.  [default: all cores]"),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Try combinations of parameters on all cores; takes every flag of a backtest too.

    Stopped or killed, and started again, it goes on where it was.
    Exit 3 where no combination gives a result.
    """
    from backtester.ending import stoppable
    from backtester.flags import chosen_by
    from backtester.rendering.optimization_page import show_optimization
    from backtester.rendering.optimization_progress import show_progress
    from onetape.backtest.parallel import count_processors
    from onetape.optimization.ranking import checked_metric
    from onetape.optimization.run import (
        SearchOptions,
        checked_out_of_sample,
        nothing_worked,
        run_optimization,
    )

    options = SearchOptions(
        checked_metric(rank),
        checked_out_of_sample(out_of_sample),
        random,
        seed,
        jobs or count_processors(),
        min_trades,
    )
    own = [] if strategy is None else ["--strategy", strategy]
    for text in param or ():
        own += ["--param", text]
    chosen = chosen_by([*own, *context.args], "optimize")
    config = chosen.config
    goes_on = stoppable("stopped; it goes on where it was: run the same command again")
    with chosen.places.naming_places(), goes_on:
        found = run_optimization(config, options, show_progress)
    show_optimization(found, context.args, as_json=json_)
    failure = nothing_worked(found)
    if failure is not None:
        raise failure
