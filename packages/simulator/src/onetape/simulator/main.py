"""The simulator: an offline exchange with an invented market, for tests, demos and practice."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from onetape.cli.program import run_app
from onetape.core.errors import UsageError
from onetape.simulator.embedded import DEFAULT_PORT, DEFAULT_SEED

if TYPE_CHECKING:
    from onetape.simulator.server import Simulator

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def simulate(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="PORT", help="Listen here; 0 takes any.")
    ] = DEFAULT_PORT,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Which market is invented; the same seed, the same.")
    ] = DEFAULT_SEED,
    speed: Annotated[
        float, typer.Option(metavar="X", help="Run X times as fast as the wall clock.")
    ] = 1.0,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Market time to begin at, UTC; a time may follow.  [default: now]",
        ),
    ] = None,
    stepped: Annotated[
        bool, typer.Option("--stepped", help="Stand still until POST /simulator/clock.")
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on, of this machine only.")
    ] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Permit an address that others can reach.")
    ] = False,
) -> None:
    """Serve an invented market as Binance spot would, until Ctrl-C.

    Trading programs connect with --exchange simulator. The market can be read from 2010 to 2041
    and is the same for the same seed, whatever the clock does.
    """
    import asyncio

    from onetape.simulator.clock import make_clock
    from onetape.simulator.server import Simulator

    start_ms = None if start is None else _market_ms(start)
    clock = make_clock(start_ms=start_ms, speed=speed, stepped=stepped)
    simulator = Simulator(seed=seed, clock=clock, host=host, port=port, allow_remote=allow_remote)
    asyncio.run(_serve(simulator))


async def _serve(simulator: "Simulator") -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        typer.echo(_greeting(simulator))
        await stop.wait()


def _greeting(simulator: "Simulator") -> str:
    from onetape.core.clock import utc_text
    from onetape.simulator.clock import REAL, STEPPED, clock_kind, clock_speed

    kind = clock_kind(simulator.clock)
    pace = {REAL: "in real time", STEPPED: "stepped by its driver"}.get(
        kind, f"{clock_speed(simulator.clock):g} times as fast as the clock"
    )
    now = utc_text(simulator.clock.now_ms() // 1_000)
    return (
        f"simulator: invented market, seed {simulator.market.seed}, at {simulator.url}; "
        f"market time {now} UTC, {pace}. Ctrl-C stops it."
    )


def _market_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--start {text!r} was not understood; write 2024-01-31 or 2024-01-31T14:00, UTC"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "simulator")


if __name__ == "__main__":
    run()
