"""The simulator: an offline exchange with an invented market, for tests, demos and practice."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from onetape.cli.output import note, print_json, print_line
from onetape.cli.program import run_app
from onetape.core.errors import UsageError
from onetape.simulator.defaults import DEFAULT_PORT, DEFAULT_SEED, DEFAULT_URL

if TYPE_CHECKING:
    from onetape.simulator.faults.registry import Faults
    from onetape.simulator.recorded.replay import Replay
    from onetape.simulator.server.simulator import Simulator

app = typer.Typer(add_completion=False, rich_markup_mode=None)


_Port = Annotated[
    int, typer.Option(min=0, max=65_535, metavar="PORT", help="Port to listen on; 0: any free one.")
]
_Seed = Annotated[
    int,
    typer.Option(metavar="N", help="Seed of the invented market; equal seeds give equal markets."),
]
_Speed = Annotated[
    float, typer.Option(metavar="X", help="Market time runs X times as fast as real time.")
]
_Start = Annotated[
    str | None,
    typer.Option(
        metavar="YYYY-MM-DD",
        help="Start of market time, UTC; also YYYY-MM-DDTHH:MM.  [default: now; with --data "
        "after its first 500 candles]",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Replay these candles: an Onetape database, .csv or .csv.gz."
    ),
]
_DataSymbol = Annotated[
    str | None, typer.Option(metavar="BASE/QUOTE", help="Only this market of --data.")
]
_DataTimeframe = Annotated[
    str | None, typer.Option(metavar="TF", help="Only candles of this timeframe of --data.")
]
_DataExchange = Annotated[
    str | None, typer.Option(metavar="ID", help="Only candles of this exchange of --data.")
]
_Symbols = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        metavar="N",
        help="Number of markets; most get invented names.  [default: the built-in ones]",
    ),
]
_Stepped = Annotated[
    bool, typer.Option("--stepped", help="The clock moves only by POST /simulator/clock.")
]
_Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen on, of this machine only.")
]
_AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach.")
]
_Faults = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML timeline of faults to inject."),
]
_Limits = Annotated[bool, typer.Option("--limits", help="Enforce Binance's request limits.")]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print every fault that fires, on stderr.")
]
_Balance = Annotated[
    str | None,
    typer.Option(
        metavar="ASSET=AMOUNT,...",
        help="Start balances of the account, such as USDT=10000,BTC=0.5.  [default: USDT=10000]",
    ),
]


@app.callback(invoke_without_command=True)
def simulate(
    context: typer.Context,
    *,
    port: _Port = DEFAULT_PORT,
    seed: _Seed = DEFAULT_SEED,
    speed: _Speed = 1.0,
    start: _Start = None,
    data: _Data = None,
    data_symbol: _DataSymbol = None,
    data_timeframe: _DataTimeframe = None,
    data_exchange: _DataExchange = None,
    symbols: _Symbols = None,
    stepped: _Stepped = False,
    host: _Host = "127.0.0.1",
    allow_remote: _AllowRemote = False,
    faults: _Faults = None,
    limits: _Limits = False,
    verbose: _Verbose = False,
    balance: _Balance = None,
) -> None:
    """Serve an invented market, or recorded candles, as Binance spot would, until Ctrl-C.

    Trading programs connect with --exchange simulator. The market spans 2010 to 2041 and depends
    on the seed alone, not on the clock. With --data the closed candles are those of the file, and
    prices inside them are invented to fit; market time begins after the first 500 candles. The
    account's API key and its secret are both "simulator"; the key "reader" may read, but not
    trade.
    """
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from onetape.simulator.market.clock import make_clock
    from onetape.simulator.market.symbols import SYMBOLS, make_symbols
    from onetape.simulator.server.simulator import Simulator
    from onetape.simulator.trading.account_service import parse_balance

    replay = _load_replay(data, data_symbol, data_timeframe, data_exchange)
    if start is not None:
        start_ms = _parse_market_ms(start)
    else:
        start_ms = None if replay is None else replay.start_ms
    simulator = Simulator(
        seed=seed,
        clock=make_clock(start_ms=start_ms, speed=speed, stepped=stepped),
        host=host,
        port=port,
        allow_remote=allow_remote,
        symbols=SYMBOLS if symbols is None else make_symbols(symbols),
        replay=replay,
        balance=None if balance is None else parse_balance(balance),
        faults=_load_faults(faults),
        limits=limits,
    )
    if verbose:
        simulator.faults.listener = lambda fired: note(f"simulator: {fired.format_line()}")
    asyncio.run(_serve(simulator))


@app.command()
def play(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings, JSON.")],
    *,
    port: _Port = DEFAULT_PORT + 1,
    in_order: Annotated[
        bool,
        typer.Option(
            "--in-order", help="Ignore query strings: give the replies of a path in their order."
        ),
    ] = False,
    route: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=REQUEST",
            help="Request of the items NAME that have no path: 'http_ohlc=GET /0/public/OHLC'; "
            "repeat for several.",
        ),
    ] = None,
    host: _Host = "127.0.0.1",
    allow_remote: _AllowRemote = False,
) -> None:
    """Serve recorded replies of any exchange as they were recorded, until Ctrl-C.

    A file is {"items": [...]}. A reply has method, path, query, status, headers and body; a
    WebSocket message has message. A request that was not recorded gets a 404.
    """
    from onetape.simulator.recorded.play_command import play_recordings

    play_recordings(
        files, route or [], in_order=in_order, host=host, port=port, allow_remote=allow_remote
    )


@app.command()
def ledger(
    *,
    url: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of the simulator.")
    ] = DEFAULT_URL,
    symbol: Annotated[
        str | None,
        typer.Option(metavar="BASE/QUOTE", help="Add this market's closed candles."),
    ] = None,
    timeframe: Annotated[
        str, typer.Option("--timeframe", "-t", metavar="TF", help="Timeframe of these candles.")
    ] = "1h",
    start: Annotated[
        str, typer.Option("--from", metavar="YYYY-MM-DD", help="First candle, UTC.")
    ] = "2010-01-01",
    end: Annotated[
        str, typer.Option("--to", metavar="YYYY-MM-DD", help="Stop before this day, UTC.")
    ] = "2041-11-24",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document with every row.")
    ] = False,
) -> None:
    """Show the ledger of a running simulator: balances, orders, fills.

    With --json: "account" (free and locked amounts by asset), "orders" (a row for each event of an
    order), "fills", "balances" (a row for each change), and "candles" with --symbol.
    """
    from onetape.simulator.trading.ledger_command import format_summary, read_ledger

    candles = None
    if symbol is not None:
        candles = {
            "symbol": symbol,
            "interval": timeframe,
            "startTime": str(_parse_market_ms(start, "--from")),
            "endTime": str(_parse_market_ms(end, "--to")),
        }
    document = read_ledger(url, candles)
    if as_json:
        print_json(document)
    else:
        print_line(format_summary(document))


def _load_replay(
    file: Path | None, symbol: str | None, timeframe: str | None, exchange: str | None
) -> "Replay | None":
    from onetape.simulator.recorded.replay import read_replay

    if file is None:
        return None
    return read_replay(file, symbol=symbol, timeframe=timeframe, exchange=exchange)


def _load_faults(file: Path | None) -> "Faults":
    from onetape.simulator.faults.registry import Faults
    from onetape.simulator.faults.timeline import read_timeline

    if file is None:
        return Faults()
    timeline = read_timeline(file)
    return Faults(timeline.faults, seed=timeline.seed)


async def _serve(simulator: "Simulator") -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        print_line(_format_greeting(simulator))
        await stop.wait()


def _format_greeting(simulator: "Simulator") -> str:
    from onetape.core.clock import format_utc
    from onetape.simulator.market.clock import REAL, STEPPED, get_clock_kind, get_clock_speed

    kind = get_clock_kind(simulator.clock)
    pace = {REAL: "in real time", STEPPED: "stepped by its driver"}.get(
        kind, f"{get_clock_speed(simulator.clock):g} times as fast as the clock"
    )
    now = format_utc(simulator.clock.now_ms() // 1_000)
    source = "invented market"
    if simulator.replay is not None:
        source = f"replay of {simulator.replay.path}"
    return (
        f"simulator: {source}, seed {simulator.market.seed}, at {simulator.url}; "
        f"market time {now} UTC, {pace}. Ctrl-C stops it."
    )


def _parse_market_ms(text: str, option: str = "--start") -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} was not understood; write 2024-01-31 or 2024-01-31T14:00, UTC"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "simulator")


if __name__ == "__main__":
    run()
