"""`backtester cluster`: certificates, scheduler and workers for optimizations on many computers."""

from pathlib import Path
from typing import Annotated, Final

import typer

from onetape.core.folders import DATA_FOLDER

app = typer.Typer(
    help="Evaluate the combinations of an optimization on several computers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls",
        metavar="FOLDER",
        help="Certificates; required for addresses that other computers can reach.",
    ),
]
_FOLDER: Final = DATA_FOLDER / "cluster"


@app.command("certs")
def write_certificates(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New folder for the certificates.")
    ],
) -> None:
    """Make the certificates once; copy the folder to each computer of the cluster."""
    from onetape.cli.output import print_line
    from onetape.optimization.cluster.certificates import VALID_DAYS, make_certificates

    make_certificates(folder)
    print_line(
        f"{folder}: certificates for {VALID_DAYS // 365} years; copy the folder to each computer, "
        "and do not let other people read it"
    )


@app.command("start")
def start_scheduler(
    *,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Address to listen at.")
    ] = "127.0.0.1:8786",
    tls: _Tls = None,
) -> None:
    """Run the scheduler, which distributes combinations, until Ctrl-C or SIGTERM."""
    from onetape.cli.output import print_line
    from onetape.optimization.cluster.address import parse_address
    from onetape.optimization.cluster.processes import run_scheduler

    run_scheduler(parse_address(listen, tls, "--listen"), print_line)


@app.command("join")
def join_cluster(
    *,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Scheduler, such as tls://10.0.0.1:8786.")
    ],
    tls: _Tls = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, metavar="N", help="Number of workers.  [default: all cores]"
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Folder for received candles.")
    ] = _FOLDER,
) -> None:
    """Evaluate combinations for a scheduler, until Ctrl-C, SIGTERM or the scheduler's end.

    This computer needs the same version of Onetape and, for a strategy of your own, the same file.
    """
    from onetape.backtest.parallel import count_processors
    from onetape.cli.output import print_line
    from onetape.optimization.cluster.address import parse_address
    from onetape.optimization.cluster.processes import run_workers

    run_workers(
        parse_address(address, tls, "ADDRESS"), jobs or count_processors(), folder, print_line
    )
