"""`backtester optimize`: try many combinations of parameters, and judge the best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options
from onetape.core.errors import UsageError

if TYPE_CHECKING:
    from onetape.optimization.cluster.address import ClusterAddress


def optimize(
    context: typer.Context,
    *,
    strategy: options.StrategyName = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Values to try: 5:50:5 (from, to, step) or 20,50,100; repeat for several. "
            "Settings too: exits.stop_loss=0.02,0.05.",
        ),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="grid tries every combination; random, tpe, cmaes, nsga2 and qmc propose --trials "
            "of them, and draw a parameter that is not given from its declared bounds.",
        ),
    ] = "grid",
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of combinations that a sampler proposes."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of sampler and statistics.")] = 1,
    batch: Annotated[
        int,
        typer.Option(
            min=2, max=10_000, metavar="N", help="Combinations that a sampler proposes at a time."
        ),
    ] = 32,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Condition on parameters, such as 'fast < slow'; repeat for several.",
        ),
    ] = None,
    rank: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="Metric to rank by (docs/metrics.md), or FILE.py with a function of your own "
            "(docs/optimize.md); repeat for a Pareto front.  [default: sharpe]",
        ),
    ] = None,
    out_of_sample: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Fraction of the range, at its end, that is not used to rank; 0.3 is 30 %.  "
            "[default: 0.3]",
        ),
    ] = None,
    walk_forward: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN/TEST",
            help="Choose on a training part, trade the part after it, and go on: 365d/90d.",
        ),
    ] = None,
    anchored: Annotated[
        bool,
        typer.Option("--anchored", help="Begin every training part at the start of the range."),
    ] = False,
    boundary: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Open position between test parts: close sells it, carry holds it.  "
            "[default: close]",
        ),
    ] = None,
    min_trades: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Closed trades that a combination needs in-sample to be ranked.",
        ),
    ] = 20,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, metavar="N", help="Number of processes.  [default: all cores]"
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of a cluster whose workers evaluate: tls://10.0.0.1:8786.",
        ),
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Certificates of the cluster."),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Try combinations of parameters on all cores; takes the flags of a backtest too.

    Started again after a stop or a kill, it continues. Exit code 3 if no combination gives a
    result.
    """
    from backtester.flags import load_backtest_from_flags
    from backtester.process_signals import exit_on_signal
    from backtester.rendering.optimization_page import show_optimization
    from backtester.rendering.optimization_progress import show_progress
    from onetape.backtest.parallel import count_processors
    from onetape.cli.stdout import claim_stdout
    from onetape.optimization.constraints import parse_constraint
    from onetape.optimization.optimization_runner import find_no_result_error, run_optimization
    from onetape.optimization.search_options import SearchOptions
    from onetape.optimization.user_metrics import parse_ranks

    # Code of the user prints to stderr from here on.
    claim_stdout()
    _refuse_flags_without_effect(walk_forward, anchored, boundary, out_of_sample)
    metrics, user_metrics = parse_ranks(rank or ("sharpe",))
    options = SearchOptions(
        metrics=metrics,
        user_metrics=user_metrics,
        processes=jobs or count_processors(),
        out_of_sample=0.3 if out_of_sample is None else out_of_sample,
        sampler=sampler,
        trials=trials,
        seed=seed,
        batch=batch,
        min_trades=min_trades,
        constraints=tuple(parse_constraint(text) for text in constraint or ()),
        cluster=_parse_cluster(cluster, tls),
    )
    flags = [] if strategy is None else ["--strategy", strategy]
    for text in param or ():
        flags += ["--param", text]
    chosen = load_backtest_from_flags([*flags, *context.args], "optimize")
    config = chosen.config
    stop = exit_on_signal("stopped; to continue, run the same command again")
    if walk_forward is not None:
        from backtester.rendering.walk_forward_page import show_walk_forward
        from onetape.optimization.walk_forward_run import run_walk_forward
        from onetape.optimization.windows import parse_scheme

        scheme = parse_scheme(walk_forward, is_anchored=anchored, boundary=boundary or "close")
        with chosen.places.add_places_to_errors(), stop:
            walked = run_walk_forward(config, options, scheme, show_progress)
        show_walk_forward(walked, as_json=json_)
        return
    with chosen.places.add_places_to_errors(), stop:
        found = run_optimization(config, options, show_progress)
    show_optimization(found, context.args, as_json=json_)
    failure = find_no_result_error(found)
    if failure is not None:
        raise failure


def _refuse_flags_without_effect(
    walk_forward: str | None, anchored: bool, boundary: str | None, out_of_sample: float | None
) -> None:
    """Raise `UsageError` for a flag that the chosen kind of search would ignore."""
    if walk_forward is not None and out_of_sample is not None:
        raise UsageError(
            "--out-of-sample has no effect with --walk-forward, whose test parts are out of "
            "sample; leave it out"
        )
    given = "--anchored" if anchored else "--boundary" if boundary is not None else None
    if walk_forward is None and given is not None:
        raise UsageError(
            f"{given} has no effect without --walk-forward; add --walk-forward TRAIN/TEST, or "
            f"leave {given} out"
        )


def _parse_cluster(cluster: str | None, tls: Path | None) -> "ClusterAddress | None":
    """Return the address of the scheduler; None: processes of this computer evaluate."""
    if cluster is None:
        if tls is not None:
            raise UsageError("--tls is for a cluster; add --cluster ADDRESS")
        return None
    from onetape.optimization.cluster.address import parse_address

    return parse_address(cluster, tls, "--cluster")
