"""Types of command parameters for flags that several commands have, with their help texts.

Commands that have only some of the settings use them; `flags.takes_settings` adds all settings.
"""

from pathlib import Path
from typing import Annotated

import typer

from onetape.cli.common_settings import (
    DATABASE,
    EXCHANGE,
    SIMULATOR_URL,
    STRATEGY,
    SYMBOL,
    TIMEFRAME,
)
from onetape.cli.flags import make_option

Symbol = Annotated[str | None, make_option(SYMBOL)]
Symbols = Annotated[list[str] | None, make_option(SYMBOL, is_several=True)]
Exchange = Annotated[str | None, make_option(EXCHANGE)]
Exchanges = Annotated[list[str] | None, make_option(EXCHANGE, is_several=True)]
OneTimeframe = Annotated[str | None, make_option(TIMEFRAME)]
Timeframes = Annotated[
    list[str] | None, make_option(TIMEFRAME._replace(short=("-t",)), is_several=True)
]
StrategyName = Annotated[str | None, make_option(STRATEGY)]
Database = Annotated[Path | None, make_option(DATABASE)]
SimulatorUrl = Annotated[str | None, make_option(SIMULATOR_URL)]
Timerange = Annotated[
    str | None,
    typer.Option(metavar="START-END", help="--from and --to as in freqtrade: 20240101-20240201."),
]
ParamsFrom = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Take strategy and parameters from a saved optimization (its best combination) or "
        "walk-forward (the choice of its newest window); --param replaces single values.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
