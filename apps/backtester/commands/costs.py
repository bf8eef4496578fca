"""`backtester costs`: the spread of the traded symbols, measured from stored tickers."""

from pathlib import Path
from typing import Annotated

import typer

from onetape.cli import options

_Write = Annotated[
    bool,
    typer.Option(
        "--write",
        help="Write the spread as spread_bps into FILE of --config, by default into "
        "user/config/backtester.yaml.",
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="YAML file.  [default: config/backtester.yaml]"
    ),
]


def print_costs(
    *,
    write: _Write = False,
    exchange: options.Exchange = None,
    symbol: options.Symbols = None,
    db: options.Database = None,
    config: _Config = None,
    json_: options.Json = False,
) -> None:
    """Measure the spread of each symbol from the bid and ask that a trader stored.

    Prints the median and the 90th percentile of the spread in basis points (0.01 %) of the mid
    price, and half of the median, which a market order pays. --write stores the largest median as
    a setting: backtests read the setting, never the tickers, so their results do not change when
    more tickers are stored. Exit code 4 where too few tickers are stored, and 3 where the file
    cannot be written; nothing is changed then.
    """
    from backtester.measured_costs import measure_costs, write_costs
    from backtester.rendering.costs import format_costs, make_costs_document
    from onetape.cli.output import note, print_json, print_line

    measured = measure_costs({"exchange": exchange, "symbol": symbol, "db": db, "config": config})
    if write:
        measured = write_costs(measured)
    if json_:
        print_json(make_costs_document(measured))
    else:
        for line in format_costs(measured):
            print_line(line)
    charged_bps = measured.charged_bps
    if charged_bps is not None and charged_bps != float(measured.spread_bps):
        note(
            f"note: the variable BACKTESTER__ACCOUNT__SPREAD_BPS takes precedence over "
            f"{measured.file}: backtests pay a spread of {charged_bps:g} bps until it is unset"
        )
